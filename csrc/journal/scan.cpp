#include "journal/scan.h"

#include <algorithm>
#include <cstring>

#include "parallel/pool.h"

namespace pyledger::journal {
namespace {

constexpr size_t kPieceBytes = size_t{256} << 10;   // read at a time
constexpr uint64_t kTaskBytes = uint64_t{4} << 20;  // checked by one task
constexpr const char* kRefusal = "; refusing to open. Restore the segment from a copy";

std::string at(const std::string& path, uint64_t offset) { return path + ", offset " + std::to_string(offset); }

uint8_t* piece_buffer() {
  static thread_local AlignedBuffer buffer(kPieceBytes + kPageBytes);
  return buffer.data();
}

// Calls f(page, offset of the page) for every page of [begin, end) that is not all zero; the last page may be short.
template <class F>
void for_each_page(FileSystem& files, int file, uint64_t begin, uint64_t end, const F& f) {
  uint8_t* buffer = piece_buffer();
  for (uint64_t piece = begin; piece < end; piece += kPieceBytes) {
    const size_t got = files.read(file, buffer, std::min<uint64_t>(kPieceBytes, end - piece), piece);
    if (all_zero({buffer, got})) continue;
    for (size_t page = 0; page < got; page += kPageBytes) {
      const std::span<const uint8_t> bytes(buffer + page, std::min<size_t>(kPageBytes, got - page));
      if (!all_zero(bytes)) f(bytes, piece + page);
    }
  }
}

uint64_t end_of_last_nonzero_page(FileSystem& files, int file, uint64_t begin, uint64_t end) {
  uint64_t last = begin;
  for_each_page(files, file, begin, end,
                [&](std::span<const uint8_t> page, uint64_t offset) { last = offset + page.size(); });
  return last;
}

}  // namespace

Scanner::Scanner(FileSystem& files, std::string folder, const Digest& genesis_hash)
    : previous(genesis_hash), files_(files), folder_(std::move(folder)), genesis_hash_(genesis_hash) {}

void Scanner::advance(const ScanOptions& options, bool judge_tail) {
  const std::vector<uint64_t> first_heights = list_segments();
  tail.headless.clear();
  tail.torn_bytes = 0;
  tail.closed = false;
  for (size_t s = segments.empty() ? 0 : segments.size() - 1; s < first_heights.size(); s++) {
    const bool is_last = s + 1 == first_heights.size();
    if (s == segments.size() && !open_next_segment(first_heights[s], is_last)) break;
    const File file(files_, files_.open(segments[s].path, OpenMode::kRead, false));
    const uint64_t size = files_.size(file.number());
    const std::vector<Candidate> candidates = walk_headers(file.number(), size);
    take(candidates, count_whole(file.number(), candidates, is_last, options));
    if (!is_last && tail.end != size) {
      const std::string next = folder_ + "/" + segment_name(first_heights[s + 1]);
      throw Corruption(at(segments[s].path, tail.end) + ": block " + std::to_string(height() + 1) +
                       " is corrupt but good data follows at " + next + kRefusal);
    }
    if (is_last && judge_tail) judge(file.number(), size);
  }
  require_known(options);
}

std::vector<uint64_t> Scanner::list_segments() const {
  std::vector<uint64_t> heights;
  for (const std::string& name : files_.list(folder_)) {
    if (const auto height = height_of_name(name, kSegmentSuffix)) heights.push_back(*height);
  }
  std::ranges::sort(heights);
  if (heights.size() < segments.size()) throw Corruption(folder_ + ": a segment that was there is gone");
  return heights;
}

// False for a last segment that was never begun: its header is not whole and nothing is behind it. As a header is
// synced before a frame is written, frames behind a header that is not whole are corruption.
bool Scanner::open_next_segment(uint64_t first_height, bool is_last) {
  const std::string path = folder_ + "/" + segment_name(first_height);
  const File file(files_, files_.open(path, OpenMode::kRead, false));
  const uint64_t size = files_.size(file.number());
  uint8_t page[kPageBytes] = {};
  const size_t got = files_.read(file.number(), page, sizeof page, 0);
  const auto header = read_segment_header(page);
  if (got < sizeof page || !header || !all_zero({page + kHeaderBytes, sizeof page - kHeaderBytes})) {
    if (is_version_1(page)) {
      throw StorageFailure(path + ": written in version 1 of the format, which was never released; expected version " +
                           std::to_string(kVersion));
    }
    if (!is_last || end_of_last_nonzero_page(files_, file.number(), kPageBytes, size) > kPageBytes) {
      throw Corruption(at(path, 0) + ": the header of a segment is corrupt, or of a version to come" + kRefusal);
    }
    tail.headless = path;
    tail.torn_bytes = end_of_last_nonzero_page(files_, file.number(), 0, size);
    return false;
  }
  if (header->genesis_hash != genesis_hash_) throw StorageFailure(path + ": these are blocks of another ledger");
  if (header->first_height != first_height || first_height != height() + 1 || header->previous != previous) {
    throw Corruption(at(path, 0) + ": corrupt: expected a segment that continues with block " +
                     std::to_string(height() + 1) + ", found one of block " + std::to_string(header->first_height) +
                     kRefusal);
  }
  segments.push_back({path, first_height, header->salt});
  durable_height = std::max(durable_height, first_height - 1);
  tail.end = kPageBytes;
  return true;
}

std::vector<Scanner::Candidate> Scanner::walk_headers(int file, uint64_t size) const {
  const auto segment = static_cast<uint32_t>(segments.size() - 1);
  std::vector<Candidate> candidates;
  Digest chain = previous;
  uint8_t bytes[kHeaderBytes];
  for (uint64_t offset = tail.end; files_.read(file, bytes, sizeof bytes, offset) == sizeof bytes;) {
    const auto header = read_frame_header(bytes, segments.back().salt);
    const uint64_t next = height() + candidates.size() + 1;
    if (!header || header->kind != FrameKind::kBlock || header->height != next || header->previous != chain) break;
    if (frame_bytes(header->payload_bytes) > size - offset) break;
    chain = chain_digest(bytes);
    const Place place{segment, static_cast<uint32_t>(offset / kPageBytes),
                      static_cast<uint32_t>(header->payload_bytes)};
    candidates.push_back({place, *header, chain});
    offset += frame_bytes(header->payload_bytes);
  }
  return candidates;
}

// How many of the first candidates have whole payloads. Only those that are durable for certain may go unchecked.
size_t Scanner::count_whole(int file, const std::vector<Candidate>& candidates, bool is_last,
                            const ScanOptions& options) const {
  const uint64_t durable = is_last && !candidates.empty() ? candidates.back().header.durable_height : UINT64_MAX;
  const uint64_t unchecked = std::min(durable, options.verify_from - 1);
  std::vector<size_t> tasks;  // first candidate of each task, and the end
  uint64_t task_bytes = kTaskBytes;
  for (size_t i = 0; i < candidates.size(); i++) {
    if (candidates[i].header.height <= unchecked) continue;
    if (task_bytes >= kTaskBytes) {
      tasks.push_back(i);
      task_bytes = 0;
    }
    task_bytes += frame_bytes(candidates[i].place.payload_bytes);
  }
  if (tasks.empty()) return candidates.size();
  tasks.push_back(candidates.size());
  std::vector<size_t> bad(tasks.size() - 1);
  auto check = [&](size_t task) {
    size_t i = tasks[task];
    while (i < tasks[task + 1] && is_whole(file, candidates[i])) i++;
    bad[task] = i;
  };
  parallel::run(options.threads, bad.size(), check);
  for (size_t task = 0; task < bad.size(); task++) {
    if (bad[task] != tasks[task + 1]) return bad[task];
  }
  return candidates.size();
}

bool Scanner::is_whole(int file, const Candidate& candidate) const {
  uint8_t* buffer = piece_buffer();
  PayloadHasher hasher;
  uint64_t left = candidate.header.payload_bytes;
  uint64_t offset = candidate.place.page * kPageBytes + kHeaderBytes;
  const size_t padding = frame_bytes(left) - kHeaderBytes - left;
  for (;;) {
    const size_t size_bytes = std::min<uint64_t>(left, kPieceBytes);
    const size_t wanted = size_bytes + (size_bytes == left ? padding : 0);
    if (files_.read(file, buffer, wanted, offset) != wanted) return false;
    hasher.add(buffer, size_bytes);
    offset += size_bytes;
    left -= size_bytes;
    if (left == 0) return all_zero({buffer + size_bytes, padding}) && hasher.root() == candidate.header.payload_root;
  }
}

void Scanner::take(const std::vector<Candidate>& candidates, size_t count) {
  for (size_t i = 0; i < count; i++) {
    const Candidate& candidate = candidates[i];
    places.push_back(candidate.place);
    tail.end = candidate.place.page * kPageBytes + frame_bytes(candidate.place.payload_bytes);
    durable_height = std::max(durable_height, candidate.header.durable_height);
    previous = candidate.chain;
  }
}

void Scanner::judge(int file, uint64_t size) {
  const Salt& salt = segments.back().salt;
  uint64_t torn_from = tail.end, torn_to = tail.end;
  const auto look = [&](std::span<const uint8_t> page, uint64_t offset) {
    torn_to = offset + page.size();
    if (page.size() < kHeaderBytes) return;
    const auto header = read_frame_header(page.data(), salt);
    if (!header) return;
    if (header->durable_height > height()) {
      throw Corruption(at(segments.back().path, tail.end) + ": block " + std::to_string(height() + 1) +
                       " is corrupt but good data follows at " + at(segments.back().path, offset) + kRefusal);
    }
    const bool close_mark = offset == tail.end && header->kind == FrameKind::kClose && header->previous == previous &&
                            header->height == height() && page.size() == kPageBytes &&
                            all_zero(page.subspan(kHeaderBytes));
    if (close_mark) torn_from = offset + kPageBytes;
  };
  for_each_page(files_, file, tail.end, size, look);
  tail.closed = torn_from != tail.end && torn_to <= torn_from;
  tail.torn_bytes = torn_to > torn_from ? torn_to - torn_from : 0;
  if (torn_from != tail.end) durable_height = height();
}

void Scanner::require_known(const ScanOptions& options) const {
  if (height() >= options.known_height) return;
  const std::string end = segments.empty() ? folder_ : at(segments.back().path, tail.end);
  const std::string by = options.known_by.empty() ? "" : " (" + options.known_by + ")";
  throw Corruption(end + ": blocks up to " + std::to_string(options.known_height) + " are known to exist" + by +
                   ", found whole ones up to " + std::to_string(height()) +
                   "; refusing to open. Restore the journal from a copy");
}

}  // namespace pyledger::journal
