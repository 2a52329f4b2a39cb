// Writes frames behind the last whole one: preallocated segments, past the system's cache where it can be, durable when
// a call returns. One caller at a time; a call that throws leaves a writer that must not be used again.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "journal/file_system.h"
#include "journal/format.h"
#include "journal/scan.h"

namespace pyledger::journal {

// A payload in its frame: room for the header, the payload, zeros to the end of the page.
struct Frame {
  uint64_t height;
  uint64_t payload_bytes;
  AlignedBuffer buffer;

  uint64_t size_bytes() const noexcept { return frame_bytes(payload_bytes); }
};

class SegmentWriter {
 public:
  // Makes what the scanner found durable and cuts what is torn; afterwards the scanner's tail is clean.
  SegmentWriter(FileSystem& files, std::string folder, const Digest& genesis_hash, uint64_t segment_bytes,
                Scanner& scanner);

  // Writes and syncs as many of the frames as one segment takes, at least one. Everything before them is durable.
  // Returns their places; they are in segment().
  std::vector<Place> write(std::span<Frame> frames);
  const Segment& segment() const noexcept { return segment_; }
  size_t segments() const noexcept { return segments_; }

  // Marks that nothing follows, and gives preallocated room back.
  void write_close_mark();

  bool direct() const noexcept { return direct_; }

 private:
  void repair(Scanner& scanner);
  void rewrite(uint64_t from);
  void open(const Segment& segment);
  void open_buffered();
  void write_at(std::span<const Part> parts, uint64_t offset);
  void seal();
  void begin_segment(uint64_t first_height);
  size_t count_fitting(std::span<const Frame> frames) const;
  void make_room(uint64_t size_bytes);
  void finish_header(Frame& frame, uint64_t durable_height);

  FileSystem& files_;
  std::string folder_;
  Digest genesis_hash_;
  uint64_t segment_bytes_;

  File file_;
  Segment segment_;
  size_t segments_ = 0;  // how many there are
  bool direct_ = false;
  bool has_frames_ = false;
  bool closed_ = false;  // the file ends with a close mark
  bool preallocates_ = true;
  uint64_t end_ = 0;  // where the next frame goes
  uint64_t file_size_ = 0;
  uint64_t height_ = 0;
  Digest previous_;
};

}  // namespace pyledger::journal
