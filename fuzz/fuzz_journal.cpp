// Arbitrary bytes as segments and snapshots. What is opened is opened alike again, stays whole when a block is added,
// and reads as what its own checks say; an opened snapshot has every byte where the one layout puts it.
//
// Byte 0 says what the rest is. As no fuzzer finds a digest, a segment is a whole journal of two groups with a crash's
// tail, over which the input is laid: runs of (offset, length, bytes), checks of headers made right again on request.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "hash/sha256.h"
#include "journal/journal.h"
#include "journal/memory_file_system.h"
#include "journal/snapshot_file.h"

namespace {

using namespace pyledger::journal;

constexpr Digest kGenesis{7};
constexpr const char* kSegment = "j/000000000001.blocks";
constexpr const char* kSnapshot = "s/000000000001.snapshot";

void require(bool condition) {
  if (!condition) std::abort();
}

JournalOptions options(bool read_only) {
  JournalOptions options;
  options.read_only = read_only;
  options.background = false;
  options.segment_bytes = 16 * kPageBytes;
  options.scan.threads = 1;
  return options;
}

const std::vector<uint8_t>& whole_segment() {
  static const std::vector<uint8_t> bytes = [] {
    MemoryFileSystem files;
    Journal journal(files, "j", kGenesis, options(false));
    for (uint64_t height = 1; height <= 6; height++) {
      const std::vector<uint8_t> payload(height * 1500, static_cast<uint8_t>(height));
      const Part part{payload.data(), payload.size()};
      journal.submit(height, {&part, 1});
      if (height % 3 == 0) journal.wait(height);
    }
    return files.bytes(kSegment);
  }();
  return bytes;
}

const std::vector<uint8_t>& whole_snapshot() {
  static const std::vector<uint8_t> bytes = [] {
    MemoryFileSystem files;
    const std::vector<uint8_t> first(5000, 1), second(300, 2);
    const std::vector<Section> sections{{"first", first}, {"second", second}, {"none", {}}};
    write_snapshot(files, "s", {1, kGenesis}, sections, 1);
    return files.bytes(kSnapshot);
  }();
  return bytes;
}

// Makes the check of a header right, so that what it says is looked at.
void mend_header(uint8_t* header, const uint8_t* salt, size_t salt_bytes) {
  std::vector<uint8_t> message(salt, salt + salt_bytes);
  message.insert(message.end(), header, header + kHeaderBytes - 16);
  Digest digest;
  pyledger::hash::sha256(message.data(), message.size(), digest.data());
  std::memcpy(header + kHeaderBytes - 16, digest.data(), 16);
}

std::vector<uint8_t> overlaid(std::vector<uint8_t> bytes, const uint8_t* data, size_t size_bytes) {
  while (size_bytes >= 4) {
    const size_t offset = (data[0] | data[1] << 8 | data[2] << 16) % (bytes.size() + kPageBytes), length = data[3] % 65;
    data += 4;
    size_bytes -= 4;
    const size_t taken = std::min(length, size_bytes);
    if (bytes.size() < offset + taken) bytes.resize(offset + taken);
    if (taken != 0) std::memcpy(bytes.data() + offset, data, taken);
    data += taken;
    size_bytes -= taken;
  }
  return bytes;
}

void check_journal(MemoryFileSystem& files) {
  std::vector<std::vector<uint8_t>> payloads;
  try {
    Journal reader(files, "j", kGenesis, options(true));
    for (uint64_t height = 1; height <= reader.height(); height++) {
      payloads.emplace_back(reader.payload_bytes(height));
      reader.read(height, payloads.back().data());
    }
  } catch (const StorageFailure&) {
    return;
  }
  {
    Journal writer(files, "j", kGenesis, options(false));  // what a reader opens, a writer opens
    require(writer.height() == payloads.size());
    const uint8_t byte = 1;
    const Part part{&byte, 1};
    writer.append(writer.height() + 1, {&part, 1});
  }
  Journal again(files, "j", kGenesis, options(true));
  require(again.height() == payloads.size() + 1 && again.torn_bytes() == 0);
  for (uint64_t height = 1; height <= payloads.size(); height++) {
    std::vector<uint8_t> payload(again.payload_bytes(height));
    again.read(height, payload.data());
    require(payload == payloads[height - 1]);
  }
}

void check_snapshot(MemoryFileSystem& files) {
  const FoundSnapshot found = find_snapshot(files, "s", UINT64_MAX, 1);
  require(found.newest.has_value() != (found.damaged.size() == 1));
  if (!found.newest) return;
  const Snapshot& snapshot = *found.newest;
  MemoryFileSystem written;
  write_snapshot(written, "s", snapshot.header, snapshot.sections, 1);
  require(written.bytes(kSnapshot) == files.bytes(kSnapshot));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size_bytes) {
  if (size_bytes == 0) return 0;
  const unsigned kind = data[0];
  data++;
  size_bytes--;
  MemoryFileSystem files;
  if (kind & 1) {
    std::vector<uint8_t> bytes =
        kind & 2 ? std::vector<uint8_t>(data, data + size_bytes) : overlaid(whole_snapshot(), data, size_bytes);
    if (kind & 4 && bytes.size() >= 2 * kPageBytes) {
      const size_t used = std::min<size_t>(bytes[24], 32) * 128;
      pyledger::hash::sha256(bytes.data() + kPageBytes, used, bytes.data() + 72);
      mend_header(bytes.data(), nullptr, 0);
    }
    files.put(kSnapshot, bytes);
    check_snapshot(files);
    return 0;
  }
  std::vector<uint8_t> bytes =
      kind & 2 ? std::vector<uint8_t>(data, data + size_bytes) : overlaid(whole_segment(), data, size_bytes);
  if (kind & 4) {
    const Salt none{};
    if (bytes.size() >= kPageBytes) mend_header(bytes.data(), none.data(), none.size());
    for (size_t page = kPageBytes; page + kHeaderBytes <= bytes.size(); page += kPageBytes) {
      if (std::memcmp(bytes.data() + page, "PLFRAME", 8) == 0 || std::memcmp(bytes.data() + page, "PLCLOSE", 8) == 0) {
        mend_header(bytes.data() + page, bytes.data() + 88, kSaltBytes);
      }
    }
  }
  files.put(kSegment, bytes);
  check_journal(files);
  return 0;
}
