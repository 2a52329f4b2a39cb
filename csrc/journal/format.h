// The bytes of a segment: its header, the headers of its frames, and the digest of a payload.
// docs/journal-format.md describes them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "journal/file_system.h"
#include "merkle/digest.h"

namespace pyledger::journal {

using merkle::Digest;

inline constexpr uint16_t kVersion = 2;
inline constexpr size_t kHeaderBytes = 128;
inline constexpr size_t kSaltBytes = 16;
inline constexpr uint64_t kPayloadBytesMax = uint64_t{1} << 31;
inline constexpr size_t kChunkBytes = 4096;  // leaf of a payload's tree

// Random, new for each segment, and part of the check of each frame header in it: bytes of a payload that look like a
// frame are not taken for one, and neither is what another segment left on the disk.
using Salt = std::array<uint8_t, kSaltBytes>;

struct SegmentHeader {
  uint64_t first_height;
  Digest genesis_hash;
  Digest previous;  // chain digest of the frame before the first
  Salt salt;
};

enum class FrameKind {
  kBlock,
  kClose,  // the writer closed: everything up to this height was synced, and nothing follows
};

struct FrameHeader {
  FrameKind kind;
  uint64_t height;
  uint64_t payload_bytes;
  uint64_t durable_height;  // all frames up to it were synced before this one was written
  Digest previous;          // chain digest of the frame before
  Digest payload_root;
};

// Each writes kHeaderBytes.
void write_segment_header(const SegmentHeader& header, uint8_t* out);
void write_frame_header(const FrameHeader& header, const Salt& salt, uint8_t* out);

// Nothing unless these kHeaderBytes are what the writers above write.
std::optional<SegmentHeader> read_segment_header(const uint8_t* bytes);
std::optional<FrameHeader> read_frame_header(const uint8_t* bytes, const Salt& salt);

// Whether a file begins as version 1 did, which was never released.
bool is_version_1(const uint8_t* header);

// What the next frame carries as `previous`.
Digest chain_digest(const uint8_t* frame_header);

constexpr uint64_t frame_bytes(uint64_t payload_bytes) { return to_pages(kHeaderBytes + payload_bytes); }

bool all_zero(std::span<const uint8_t> bytes);

// Digest of a payload: the RFC 6962 root over its chunks of kChunkBytes, the last one as long as it is.
class PayloadHasher {
 public:
  // Every piece but the last is whole chunks.
  void add(const uint8_t* data, size_t size_bytes);
  Digest root() const;

 private:
  std::vector<uint8_t> leaf_hashes_;
};

Digest payload_root(const uint8_t* payload, size_t size_bytes);

// Segments are named by the height of their first frame.
std::string segment_name(uint64_t first_height);
std::optional<uint64_t> height_of_name(const std::string& name, const char* suffix);
std::string numbered_name(uint64_t height, const char* suffix);

inline constexpr const char* kSegmentSuffix = ".blocks";

}  // namespace pyledger::journal
