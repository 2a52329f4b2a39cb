#include "journal/journal.h"

#include <algorithm>
#include <cstring>

namespace pyledger::journal {
namespace {

constexpr size_t kSpareBuffersMax = 4;

std::string number(uint64_t value) { return std::to_string(value); }

}  // namespace

Journal::Journal(FileSystem& files, const std::string& folder, const Digest& genesis_hash,
                 const JournalOptions& options)
    : files_(files), folder_(folder), options_(options), scanner_(files, folder, genesis_hash) {
  if (!options.read_only) {
    lock_file_ = File(files, files.lock(folder + "/lock"));
    if (!lock_file_) throw StorageFailure(folder + ": another process has this ledger open for writing");
  }
  scan();
  if (options.read_only) return;
  cut_bytes_ = scanner_.tail.torn_bytes;
  writer_ = std::make_unique<SegmentWriter>(files, folder, genesis_hash, options.segment_bytes, scanner_);
  submitted_ = scanner_.height();
}

Journal::~Journal() {
  try {
    close();
  } catch (...) {  // nobody waits for it any more
  }
}

// Beside a writer, a frame may be written between a look at its place and a look behind it, so that it seems to be
// corrupt. A second look then finds it.
void Journal::scan() {
  uint64_t height_before = UINT64_MAX;
  for (;;) {
    try {
      scanner_.advance(options_.scan, true);
      return;
    } catch (const Corruption&) {
      if (!options_.read_only || scanner_.height() == height_before) throw;
      height_before = scanner_.height();
    }
  }
}

void Journal::submit(uint64_t height, std::span<const Part> parts) { enqueue(height, parts, options_.background); }

void Journal::append(uint64_t height, std::span<const Part> parts) {
  enqueue(height, parts, false);
  wait(height);
}

void Journal::enqueue(uint64_t height, std::span<const Part> parts, bool background) {
  uint64_t payload_bytes = 0;
  for (const Part& part : parts) payload_bytes += part.size_bytes;
  if (payload_bytes > kPayloadBytesMax) {
    throw StorageFailure("journal: a block may hold " + number(kPayloadBytesMax) + " bytes, got " +
                         number(payload_bytes));
  }
  const std::lock_guard<std::mutex> turn(submitting_);
  {
    Lock lock(mutex_);
    require_writable();
    if (height != submitted_ + 1) {
      throw StateFailure("journal: expected height " + number(submitted_ + 1) + ", got " + number(height));
    }
    wait_for_room(lock, frame_bytes(payload_bytes));
  }
  Frame frame = gather(height, parts, payload_bytes);
  {
    const Lock lock(mutex_);
    require_writable();
    queued_bytes_ += frame.size_bytes();
    queue_.push_back(std::move(frame));
    submitted_ = height;
    if (background && !thread_.joinable()) thread_ = std::thread([this] { serve(); });
  }
  changed_.notify_all();
}

void Journal::wait_for_room(Lock& lock, uint64_t size_bytes) {
  while (queued_bytes_ != 0 && queued_bytes_ + size_bytes > options_.queue_bytes && failure_.empty()) {
    if (!writing_ && !queue_.empty()) {
      commit(lock);
    } else {
      changed_.wait(lock);
    }
  }
}

AlignedBuffer Journal::take_buffer(uint64_t size_bytes) {
  {
    const Lock lock(mutex_);
    for (AlignedBuffer& spare : spare_) {
      if (spare.size_bytes() < size_bytes || spare.size_bytes() > 4 * size_bytes) continue;
      AlignedBuffer buffer = std::move(spare);
      spare = std::move(spare_.back());
      spare_.pop_back();
      return buffer;
    }
  }
  return AlignedBuffer(size_bytes);
}

Frame Journal::gather(uint64_t height, std::span<const Part> parts, uint64_t payload_bytes) {
  Frame frame{height, payload_bytes, take_buffer(frame_bytes(payload_bytes))};
  uint8_t* out = frame.buffer.data() + kHeaderBytes;
  for (const Part& part : parts) {
    if (part.size_bytes != 0) std::memcpy(out, part.data, part.size_bytes);
    out += part.size_bytes;
  }
  std::memset(out, 0, frame.size_bytes() - kHeaderBytes - payload_bytes);
  return frame;
}

void Journal::wait(uint64_t height) {
  Lock lock(mutex_);
  if (height > submitted_) {
    throw StateFailure("journal: expected a height up to " + number(submitted_) + ", got " + number(height));
  }
  while (scanner_.height() < height && failure_.empty()) {
    if (!writing_ && !queue_.empty()) {
      commit(lock);
    } else {
      changed_.wait(lock);
    }
  }
  if (scanner_.height() < height) {
    failure_told_ = true;
    throw StorageFailure(failure_);
  }
}

// Writes all that is queued; the lock is let go meanwhile, writing_ keeps others off.
void Journal::commit(Lock& lock) {
  std::vector<Frame> group = std::move(queue_);
  queue_.clear();
  writing_ = true;
  lock.unlock();
  std::string failure;
  try {
    write_group(group);
  } catch (const FileError& error) {
    failure = std::strerror(error.code);
  } catch (const std::exception& error) {
    failure = error.what();
  }
  lock.lock();
  writing_ = false;
  if (!failure.empty()) {
    failure_ = folder_ + ": could not write block " + number(scanner_.height() + 1) + ": " + failure;
  }
  changed_.notify_all();
}

void Journal::write_group(std::vector<Frame>& group) {
  for (std::span<Frame> left = group; !left.empty();) {
    const std::vector<Place> places = writer_->write(left);
    publish(left.first(places.size()), places);
    left = left.subspan(places.size());
  }
}

void Journal::publish(std::span<Frame> frames, const std::vector<Place>& places) {
  {
    const Lock lock(mutex_);
    if (writer_->segments() != scanner_.segments.size()) scanner_.segments.push_back(writer_->segment());
    scanner_.places.insert(scanner_.places.end(), places.begin(), places.end());
    scanner_.durable_height = scanner_.height();
    for (Frame& frame : frames) {
      queued_bytes_ -= frame.size_bytes();
      if (spare_.size() < kSpareBuffersMax) spare_.push_back(std::move(frame.buffer));
    }
  }
  changed_.notify_all();
}

void Journal::serve() {
  Lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stopping_ || (!writing_ && !queue_.empty() && failure_.empty()); });
    if (stopping_) return;
    commit(lock);
  }
}

uint64_t Journal::height() const {
  const Lock lock(mutex_);
  return scanner_.height();
}

uint64_t Journal::durable_height() const {
  const Lock lock(mutex_);
  return scanner_.durable_height;
}

uint64_t Journal::submitted_height() const {
  const Lock lock(mutex_);
  return options_.read_only ? scanner_.height() : submitted_;
}

uint64_t Journal::size_bytes() const {
  const Lock lock(mutex_);
  uint64_t sum = 0;
  for (const Place& place : scanner_.places) sum += frame_bytes(place.payload_bytes);
  return sum;
}

uint64_t Journal::torn_bytes() const {
  const Lock lock(mutex_);
  return scanner_.tail.torn_bytes;
}

bool Journal::direct() const {
  const Lock lock(mutex_);
  return writer_ && writer_->direct();
}

Place Journal::place_of(uint64_t height, Segment& segment) const {
  const Lock lock(mutex_);
  if (height == 0 || height > scanner_.height()) {
    throw StateFailure("journal: expected a height in [1, " + number(scanner_.height()) + "], got " + number(height));
  }
  const Place place = scanner_.places[height - 1];
  segment = scanner_.segments[place.segment];
  return place;
}

uint64_t Journal::payload_bytes(uint64_t height) const {
  Segment segment;
  return place_of(height, segment).payload_bytes;
}

std::pair<std::string, uint64_t> Journal::payload_place(uint64_t height) const {
  Segment segment;
  const Place place = place_of(height, segment);
  return {segment.path, place.page * kPageBytes + kHeaderBytes};
}

void Journal::read(uint64_t height, uint8_t* out) const {
  Segment segment;
  const Place place = place_of(height, segment);
  const uint64_t offset = place.page * kPageBytes;
  const File file(files_, files_.open(segment.path, OpenMode::kRead, false));
  uint8_t bytes[kHeaderBytes];
  const bool there = files_.read(file.number(), bytes, sizeof bytes, offset) == sizeof bytes &&
                     files_.read(file.number(), out, place.payload_bytes, offset + kHeaderBytes) == place.payload_bytes;
  const auto header = there ? read_frame_header(bytes, segment.salt) : std::nullopt;
  const bool whole = header && header->kind == FrameKind::kBlock && header->height == height &&
                     header->payload_bytes == place.payload_bytes &&
                     header->payload_root == payload_root(out, place.payload_bytes);
  if (!whole) {
    throw Corruption(segment.path + ", offset " + number(offset) + ": block " + number(height) + " is corrupt");
  }
}

uint64_t Journal::refresh() {
  const Lock lock(mutex_);
  if (options_.read_only) scanner_.advance(options_.scan, false);
  return scanner_.height();
}

void Journal::require_writable() {
  if (options_.read_only) throw StateFailure("journal: opened read-only");
  if (closed_) throw StorageFailure("journal: takes nothing more until it is opened again (closed)");
  if (!failure_.empty()) {
    failure_told_ = true;
    throw StorageFailure("journal: takes nothing more until it is opened again (" + failure_ + ")");
  }
}

// The thread ends, the last group is written to its end, and then the writer and the lock go.
void Journal::release() {
  {
    const Lock lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
  Lock lock(mutex_);
  changed_.wait(lock, [this] { return !writing_; });
  writer_.reset();
  lock_file_.reset();
}

void Journal::close() {
  const std::lock_guard<std::mutex> turn(submitting_);
  {
    const Lock lock(mutex_);
    if (closed_) return;
    closed_ = true;
  }
  try {
    if (writer_) finish();
  } catch (...) {
    release();
    throw;
  }
  release();
}

void Journal::finish() {
  {
    const Lock lock(mutex_);
    if (failure_told_) return;
  }
  wait(submitted_);
  Lock lock(mutex_);
  changed_.wait(lock, [this] { return !writing_; });
  try {
    writer_->write_close_mark();
  } catch (const FileError&) {  // every block is durable; only that nothing follows stays unmarked
  }
}

}  // namespace pyledger::journal
