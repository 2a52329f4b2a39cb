#include "journal/bit_flips.h"

#include <algorithm>
#include <vector>

#include "journal/journal.h"
#include "journal/memory_file_system.h"

namespace pyledger::journal {
namespace {

constexpr Digest kGenesis{7};
constexpr const char* kPath = "j/000000000001.blocks";
constexpr unsigned kGroupBlocks = 3;
constexpr uint64_t kFullOpenEvery = 4096;  // flips between two that are opened from the first byte on, too

struct Verdict {
  bool refused = false;
  uint64_t height = 0;
  uint64_t torn_bytes = 0;

  bool operator==(const Verdict&) const = default;
};

// Blocks of one to four pages in groups, up to about so many bytes, zeros behind the last one.
void write_journal(MemoryFileSystem& files, uint64_t journal_bytes, bool closed) {
  JournalOptions options;
  options.background = false;
  options.segment_bytes = journal_bytes;
  Journal journal(files, "j", kGenesis, options);
  std::vector<uint8_t> payload;
  for (uint64_t height = 1; journal.size_bytes() + 16 * kPageBytes < journal_bytes;) {
    for (unsigned i = 0; i < kGroupBlocks; i++, height++) {
      payload.assign(1000 + height * 2654435761u % 14'000, static_cast<uint8_t>(height));
      const Part part{payload.data(), payload.size()};
      journal.submit(height, {&part, 1});
    }
    journal.wait(height - 1);
  }
  if (!closed) files.fault = {Fault::kKill, files.calls, 0};
  journal.close();
  files.kill();
}

// States of a scanner before each block, so that a flip costs one look at the blocks from there on.
std::vector<Scanner> scanners_before_blocks(MemoryFileSystem& files) {
  Scanner whole(files, "j", kGenesis);
  const ScanOptions options{.threads = 1};
  whole.advance(options, true);
  std::vector<Scanner> before;
  for (uint64_t height = 0; height <= whole.height(); height++) {
    Scanner scanner(files, "j", kGenesis);
    scanner.segments = whole.segments;
    scanner.places.assign(whole.places.begin(), whole.places.begin() + static_cast<std::ptrdiff_t>(height));
    const std::vector<uint8_t>& bytes = files.bytes(kPath);
    if (height != 0) {
      const Place& last = scanner.places.back();
      const uint8_t* header = bytes.data() + last.page * kPageBytes;
      scanner.previous = chain_digest(header);
      scanner.durable_height = read_frame_header(header, whole.segments[0].salt)->durable_height;
      scanner.tail.end = last.page * kPageBytes + frame_bytes(last.payload_bytes);
    } else {
      scanner.tail.end = kPageBytes;
    }
    before.push_back(std::move(scanner));
  }
  return before;
}

Verdict open(Scanner scanner) {
  try {
    scanner.advance({.threads = 1}, true);
    return {false, scanner.height(), scanner.tail.torn_bytes};
  } catch (const Corruption&) {
    return {true, 0, 0};
  }
}

}  // namespace

FlipReport flip_bits(uint64_t journal_bytes, bool closed, uint64_t first, uint64_t stride) {
  MemoryFileSystem files;
  write_journal(files, journal_bytes, closed);
  const std::vector<Scanner> before = scanners_before_blocks(files);
  const Scanner& whole = before.back();
  const uint64_t durable = closed ? whole.height() : whole.durable_height;
  std::vector<uint8_t>& bytes = files.bytes(kPath);
  FlipReport report;
  size_t block = 0;  // blocks that end before the flip
  for (uint64_t bit = first; bit < 8 * bytes.size(); bit += stride, report.flips++) {
    const uint64_t offset = bit / 8;
    while (block < whole.height() && before[block + 1].tail.end <= offset) block++;
    bytes[offset] ^= static_cast<uint8_t>(1u << bit % 8);
    const bool in_header = offset < kPageBytes, behind = block == whole.height();
    const Verdict found = open(in_header ? Scanner(files, "j", kGenesis) : before[block]);
    const bool full_open_differs =
        report.flips % kFullOpenEvery == 0 && !(open(Scanner(files, "j", kGenesis)) == found);
    bytes[offset] ^= static_cast<uint8_t>(1u << bit % 8);
    const bool must_refuse = in_header || (!behind && block < durable);
    report.refused += found.refused;
    report.cut += !found.refused && !behind;
    report.reported += !found.refused && behind;
    const bool right = must_refuse ? found.refused : !found.refused && found.height == block && found.torn_bytes != 0;
    if (right && !full_open_differs) continue;
    if (report.wrong++ == 0) report.first = "bit " + std::to_string(bit) + ", block " + std::to_string(block + 1);
  }
  return report;
}

}  // namespace pyledger::journal
