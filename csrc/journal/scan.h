// Finds the whole frames of a journal and judges what stands behind the last one.
//
// A frame counts if its header, its place in the chain, its payload's digest and its padding are right. The first one
// that is not ends the journal: as a torn tail, unless something shows that it had been synced, namely a later header
// in the segment whose durable height reaches it, a later segment (which is begun only after the one before was
// synced), or a height that the caller knows of. Then it is corruption.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "journal/file_system.h"
#include "journal/format.h"

namespace pyledger::journal {

// The journal can't be used; the message says what, where and what was expected.
struct StorageFailure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// What was synced is not there as it was written.
struct Corruption : StorageFailure {
  using StorageFailure::StorageFailure;
};

struct Place {
  uint32_t segment;
  uint32_t page;  // of the frame's header
  uint32_t payload_bytes;
};

struct Segment {
  std::string path;
  uint64_t first_height;
  Salt salt;
};

struct ScanOptions {
  uint64_t known_height = 0;  // blocks up to it exist for certain: without them nothing is opened, let alone cut
  uint64_t verify_from = 1;   // payloads below it are checked when they are read
  unsigned threads = 0;
  std::string known_by = {};  // what shows that they exist, for the message
};

// What stands behind the last whole frame, in the last segment.
struct Tail {
  uint64_t end = 0;         // offset behind the last whole frame
  uint64_t torn_bytes = 0;  // from there to the last byte that is not zero, apart from a close mark
  bool closed = false;      // a close mark stands there, and nothing follows
  std::string headless;     // a segment without frames whose header was never synced
};

class Scanner {
 public:
  Scanner(FileSystem& files, std::string folder, const Digest& genesis_hash);

  // Reads on from where the last call ended, to the last whole frame. `judge_tail` reads what follows, too.
  // Throws StorageFailure; what was found before a corrupt frame stays found.
  void advance(const ScanOptions& options, bool judge_tail);

  // State after the last whole frame.
  std::vector<Segment> segments;
  std::vector<Place> places;
  Digest previous;              // chain digest of the last frame
  uint64_t durable_height = 0;  // as far as the frames themselves say
  Tail tail;

  uint64_t height() const noexcept { return places.size(); }

 private:
  struct Candidate {
    Place place;
    FrameHeader header;
    Digest chain;
  };

  std::vector<uint64_t> list_segments() const;
  bool open_next_segment(uint64_t first_height, bool is_last);
  std::vector<Candidate> walk_headers(int file, uint64_t size) const;
  size_t count_whole(int file, const std::vector<Candidate>& candidates, bool is_last,
                     const ScanOptions& options) const;
  bool is_whole(int file, const Candidate& candidate) const;
  void take(const std::vector<Candidate>& candidates, size_t count);
  void judge(int file, uint64_t size);
  void require_known(const ScanOptions& options) const;

  FileSystem& files_;
  std::string folder_;
  Digest genesis_hash_;
};

}  // namespace pyledger::journal
