#include "journal/format.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "hash/sha256.h"
#include "merkle/root.h"

namespace pyledger::journal {
namespace {

static_assert(std::endian::native == std::endian::little, "headers are read and written as they stand in memory");

constexpr char kSegmentMagic[8] = {'P', 'L', 'S', 'E', 'G', 'M', 'N', 'T'};
constexpr char kBlockMagic[8] = {'P', 'L', 'F', 'R', 'A', 'M', 'E', '\0'};
constexpr char kCloseMagic[8] = {'P', 'L', 'C', 'L', 'O', 'S', 'E', '\0'};
constexpr char kVersion1Magic[8] = {'P', 'L', 'B', 'L', 'O', 'C', 'K', '\0'};

constexpr size_t kCheckBytes = 16;
using Check = std::array<uint8_t, kCheckBytes>;

struct SegmentBytes {
  char magic[8];
  uint16_t version;
  uint8_t zero[6];
  uint64_t first_height;
  Digest genesis_hash;
  Digest previous;
  Salt salt;
  uint8_t zero_too[8];
  Check check;
};
static_assert(sizeof(SegmentBytes) == kHeaderBytes && offsetof(SegmentBytes, check) == kHeaderBytes - kCheckBytes);

struct FrameBytes {
  char magic[8];
  uint16_t version;
  uint8_t zero[6];
  uint64_t height;
  uint64_t payload_bytes;
  uint64_t durable_height;
  Digest previous;
  Digest payload_root;
  uint8_t zero_too[8];
  Check check;
};
static_assert(sizeof(FrameBytes) == kHeaderBytes && offsetof(FrameBytes, check) == kHeaderBytes - kCheckBytes);

// The first half of SHA-256(salt || the bytes before the check).
Check check_of(const uint8_t* header, const Salt& salt) {
  uint8_t message[kSaltBytes + kHeaderBytes - kCheckBytes];
  std::memcpy(message, salt.data(), kSaltBytes);
  std::memcpy(message + kSaltBytes, header, kHeaderBytes - kCheckBytes);
  Digest digest;
  hash::sha256(message, sizeof message, digest.data());
  Check check;
  std::memcpy(check.data(), digest.data(), check.size());
  return check;
}

template <class Bytes>
bool is_well_formed(const Bytes& bytes, const uint8_t* raw, const Salt& salt) {
  return bytes.version == kVersion && all_zero(bytes.zero) && all_zero(bytes.zero_too) &&
         bytes.check == check_of(raw, salt);
}

constexpr Salt kNoSalt{};

}  // namespace

void write_segment_header(const SegmentHeader& header, uint8_t* out) {
  SegmentBytes bytes{};
  std::memcpy(bytes.magic, kSegmentMagic, sizeof bytes.magic);
  bytes.version = kVersion;
  bytes.first_height = header.first_height;
  bytes.genesis_hash = header.genesis_hash;
  bytes.previous = header.previous;
  bytes.salt = header.salt;
  std::memcpy(out, &bytes, sizeof bytes);
  bytes.check = check_of(out, kNoSalt);
  std::memcpy(out, &bytes, sizeof bytes);
}

void write_frame_header(const FrameHeader& header, const Salt& salt, uint8_t* out) {
  FrameBytes bytes{};
  std::memcpy(bytes.magic, header.kind == FrameKind::kBlock ? kBlockMagic : kCloseMagic, sizeof bytes.magic);
  bytes.version = kVersion;
  bytes.height = header.height;
  bytes.payload_bytes = header.payload_bytes;
  bytes.durable_height = header.durable_height;
  bytes.previous = header.previous;
  bytes.payload_root = header.payload_root;
  std::memcpy(out, &bytes, sizeof bytes);
  bytes.check = check_of(out, salt);
  std::memcpy(out, &bytes, sizeof bytes);
}

std::optional<SegmentHeader> read_segment_header(const uint8_t* raw) {
  SegmentBytes bytes;
  std::memcpy(&bytes, raw, sizeof bytes);
  if (std::memcmp(bytes.magic, kSegmentMagic, sizeof bytes.magic) != 0) return std::nullopt;
  if (!is_well_formed(bytes, raw, kNoSalt) || bytes.first_height == 0) return std::nullopt;
  return SegmentHeader{bytes.first_height, bytes.genesis_hash, bytes.previous, bytes.salt};
}

std::optional<FrameHeader> read_frame_header(const uint8_t* raw, const Salt& salt) {
  FrameBytes bytes;
  std::memcpy(&bytes, raw, sizeof bytes);
  const bool block = std::memcmp(bytes.magic, kBlockMagic, sizeof bytes.magic) == 0;
  if (!block && std::memcmp(bytes.magic, kCloseMagic, sizeof bytes.magic) != 0) return std::nullopt;
  if (!is_well_formed(bytes, raw, salt)) return std::nullopt;
  const bool possible = block ? bytes.durable_height < bytes.height && bytes.payload_bytes <= kPayloadBytesMax
                              : bytes.durable_height == bytes.height && bytes.payload_bytes == 0;
  if (!possible) return std::nullopt;
  return FrameHeader{block ? FrameKind::kBlock : FrameKind::kClose,
                     bytes.height,
                     bytes.payload_bytes,
                     bytes.durable_height,
                     bytes.previous,
                     bytes.payload_root};
}

bool is_version_1(const uint8_t* header) {
  return std::memcmp(header, kVersion1Magic, sizeof kVersion1Magic) == 0 && header[8] == 1 && header[9] == 0;
}

Digest chain_digest(const uint8_t* frame_header) {
  Digest digest;
  hash::sha256(frame_header, kHeaderBytes, digest.data());
  return digest;
}

bool all_zero(std::span<const uint8_t> bytes) {
  return bytes.empty() || (bytes[0] == 0 && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

void PayloadHasher::add(const uint8_t* data, size_t size_bytes) {
  const size_t chunks = size_bytes / kChunkBytes, rest = size_bytes % kChunkBytes;
  const size_t before = leaf_hashes_.size();
  leaf_hashes_.resize(before + merkle::kDigestBytes * (chunks + (rest != 0)));
  uint8_t* out = leaf_hashes_.data() + before;
  merkle::leaf_hashes(data, kChunkBytes, chunks, 1, out);
  if (rest == 0) return;
  const Digest last = merkle::leaf_hash(data + kChunkBytes * chunks, rest);
  std::memcpy(out + merkle::kDigestBytes * chunks, last.data(), last.size());
}

Digest PayloadHasher::root() const {
  return merkle::root_of_leaf_hashes(leaf_hashes_.data(), leaf_hashes_.size() / merkle::kDigestBytes, 1);
}

Digest payload_root(const uint8_t* payload, size_t size_bytes) {
  PayloadHasher hasher;
  hasher.add(payload, size_bytes);
  return hasher.root();
}

std::string numbered_name(uint64_t height, const char* suffix) {
  std::string digits = std::to_string(height);
  return std::string(digits.size() < 12 ? 12 - digits.size() : 0, '0') + digits + suffix;
}

std::string segment_name(uint64_t first_height) { return numbered_name(first_height, kSegmentSuffix); }

std::optional<uint64_t> height_of_name(const std::string& name, const char* suffix) {
  const size_t digits = name.size() - std::min(name.size(), std::strlen(suffix));
  if (digits == 0 || digits > 19 || name.compare(digits, std::string::npos, suffix) != 0) return std::nullopt;
  uint64_t height = 0;
  for (size_t i = 0; i < digits; i++) {
    if (name[i] < '0' || name[i] > '9') return std::nullopt;
    height = 10 * height + static_cast<uint64_t>(name[i] - '0');
  }
  if (numbered_name(height, suffix) != name) return std::nullopt;
  return height;
}

}  // namespace pyledger::journal
