#include "journal/writer.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <random>

namespace pyledger::journal {
namespace {

// Room is made in steps as large as the file is already, so that small ledgers stay small.
constexpr uint64_t kStepBytesMin = uint64_t{1} << 20;
constexpr uint64_t kStepBytesMax = uint64_t{64} << 20;
constexpr size_t kPieceBytes = size_t{1} << 20;

Salt new_salt() {
  std::random_device source;
  Salt salt;
  for (size_t i = 0; i < salt.size(); i += 4) {
    const uint32_t word = source();
    std::memcpy(salt.data() + i, &word, sizeof word);
  }
  return salt;
}

}  // namespace

SegmentWriter::SegmentWriter(FileSystem& files, std::string folder, const Digest& genesis_hash, uint64_t segment_bytes,
                             Scanner& scanner)
    : files_(files), folder_(std::move(folder)), genesis_hash_(genesis_hash), segment_bytes_(segment_bytes) {
  repair(scanner);
  segments_ = scanner.segments.size();
  height_ = scanner.height();
  previous_ = scanner.previous;
}

// What was read may be in memory only: the process that wrote it may have been killed before it synced, or its sync may
// have failed, after which the system forgets what it did not write. So everything that no later mark shows to be
// durable is written again, and then synced.
void SegmentWriter::repair(Scanner& scanner) {
  files_.sync_folder(folder_);
  if (!scanner.tail.headless.empty()) {
    files_.remove(scanner.tail.headless);
    files_.sync_folder(folder_);
  }
  if (!scanner.segments.empty()) {
    const Segment& segment = scanner.segments.back();
    open(segment);
    end_ = scanner.tail.end;
    has_frames_ = end_ > kPageBytes;
    closed_ = scanner.tail.closed;
    if (scanner.tail.torn_bytes != 0 && scanner.tail.headless.empty()) {
      files_.truncate(file_.number(), end_);
      files_.sync(file_.number());
    }
    file_size_ = files_.size(file_.number());
    if (scanner.durable_height < segment.first_height) {
      rewrite(0);
    } else if (scanner.durable_height < scanner.height()) {
      rewrite(scanner.places[scanner.durable_height].page * kPageBytes);
    }
  }
  scanner.durable_height = scanner.height();
  scanner.tail.torn_bytes = 0;
  scanner.tail.headless.clear();
}

void SegmentWriter::rewrite(uint64_t from) {
  AlignedBuffer buffer(std::min<uint64_t>(kPieceBytes, end_ - from));
  const File reader(files_, files_.open(segment_.path, OpenMode::kRead, false));
  for (uint64_t offset = from; offset < end_; offset += kPieceBytes) {
    const size_t size_bytes = std::min<uint64_t>(kPieceBytes, end_ - offset);
    if (files_.read(reader.number(), buffer.data(), size_bytes, offset) != size_bytes)
      throw FileError(segment_.path, EIO);
    const Part part{buffer.data(), size_bytes};
    write_at({&part, 1}, offset);
  }
  files_.sync_data(file_.number());
}

void SegmentWriter::open(const Segment& segment) {
  segment_ = segment;
  preallocates_ = true;
  direct_ = true;
  try {
    file_ = File(files_, files_.open(segment.path, OpenMode::kWrite, true));
  } catch (const FileError& error) {
    if (error.code != EINVAL) throw;
    open_buffered();
  }
}

void SegmentWriter::open_buffered() {
  file_ = File(files_, files_.open(segment_.path, OpenMode::kWrite, false));
  direct_ = false;
}

// Not every file system takes O_DIRECT: some refuse it when a file is opened, some when it is written.
void SegmentWriter::write_at(std::span<const Part> parts, uint64_t offset) {
  try {
    write_all(files_, file_.number(), parts, offset);
  } catch (const FileError& error) {
    if (!direct_ || error.code != EINVAL) throw;
    open_buffered();
    write_all(files_, file_.number(), parts, offset);
  }
}

void SegmentWriter::seal() {
  files_.truncate(file_.number(), end_);
  files_.sync(file_.number());
}

// The header and the folder's entry are durable before a frame is written.
void SegmentWriter::begin_segment(uint64_t first_height) {
  if (file_) seal();
  const Segment segment{folder_ + "/" + segment_name(first_height), first_height, new_salt()};
  AlignedBuffer page(kPageBytes);
  std::memset(page.data(), 0, kPageBytes);
  write_segment_header({first_height, genesis_hash_, previous_, segment.salt}, page.data());
  {
    const File created(files_, files_.open(segment.path, OpenMode::kCreate, false));
    const Part part{page.data(), kPageBytes};
    write_all(files_, created.number(), {&part, 1}, 0);
    files_.sync(created.number());
  }
  files_.sync_folder(folder_);
  open(segment);
  segments_++;
  has_frames_ = false;
  end_ = file_size_ = kPageBytes;
}

size_t SegmentWriter::count_fitting(std::span<const Frame> frames) const {
  size_t count = 0;
  for (uint64_t end = end_; count < frames.size(); count++) {
    end += frames[count].size_bytes();
    if (end > segment_bytes_ && (has_frames_ || count != 0)) break;
  }
  return count;
}

void SegmentWriter::make_room(uint64_t size_bytes) {
  const uint64_t needed = end_ + size_bytes;
  if (needed <= file_size_) return;
  const uint64_t step = std::clamp(file_size_, kStepBytesMin, kStepBytesMax);
  const uint64_t wanted = std::max(needed, std::min(to_pages(segment_bytes_), file_size_ + step));
  preallocates_ = preallocates_ && files_.allocate(file_.number(), file_size_, wanted - file_size_);
  file_size_ = preallocates_ ? wanted : needed;
}

void SegmentWriter::finish_header(Frame& frame, uint64_t durable_height) {
  uint8_t* bytes = frame.buffer.data();
  const Digest root = payload_root(bytes + kHeaderBytes, frame.payload_bytes);
  write_frame_header({FrameKind::kBlock, frame.height, frame.payload_bytes, durable_height, previous_, root},
                     segment_.salt, bytes);
  previous_ = chain_digest(bytes);
}

std::vector<Place> SegmentWriter::write(std::span<Frame> frames) {
  if (!file_ || count_fitting(frames) == 0) begin_segment(height_ + 1);
  frames = frames.first(count_fitting(frames));
  std::vector<Part> parts;
  std::vector<Place> places;
  uint64_t end = end_;
  for (Frame& frame : frames) {
    finish_header(frame, height_);
    parts.push_back({frame.buffer.data(), frame.size_bytes()});
    places.push_back({static_cast<uint32_t>(segments_ - 1), static_cast<uint32_t>(end / kPageBytes),
                      static_cast<uint32_t>(frame.payload_bytes)});
    end += frame.size_bytes();
  }
  make_room(end - end_);
  closed_ = false;
  write_at(parts, end_);
  files_.sync_data(file_.number());
  end_ = end;
  height_ += frames.size();
  has_frames_ = true;
  return places;
}

void SegmentWriter::write_close_mark() {
  if (!file_ || closed_) return;
  AlignedBuffer page(kPageBytes);
  std::memset(page.data(), 0, kPageBytes);
  const Digest nothing = merkle::empty_root();
  write_frame_header({FrameKind::kClose, height_, 0, height_, previous_, nothing}, segment_.salt, page.data());
  const Part part{page.data(), kPageBytes};
  write_at({&part, 1}, end_);
  files_.sync_data(file_.number());
  files_.truncate(file_.number(), end_ + kPageBytes);
  files_.sync(file_.number());
  closed_ = true;
}

}  // namespace pyledger::journal
