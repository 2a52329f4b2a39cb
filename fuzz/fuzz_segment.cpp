// Segment files from anyone: what opens can be searched through and through, what is not sound is refused.
//
// The target puts right what a checksum or a length would give away at once, so that the bytes behind them are reached.
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "store/checksum.h"
#include "store/files.h"
#include "store/segment.h"

using namespace pyledger::store;

namespace {

constexpr size_t kHeaderBytes = 256, kColumns = 6, kColumnsOffset = 56, kIdentityOffset = 168;

template <class T>
void put(std::vector<uint8_t>& bytes, size_t offset, T value) {
  std::memcpy(&bytes[offset], &value, sizeof value);
}

template <class T>
T get(const std::vector<uint8_t>& bytes, size_t offset) {
  T value;
  std::memcpy(&value, &bytes[offset], sizeof value);
  return value;
}

const std::string& folder() {
  static const std::string path = [] {
    char name[] = "segment-XXXXXX";
    const char* made = mkdtemp(name);
    if (made == nullptr) std::abort();
    std::atexit([] { [[maybe_unused]] const int result = rmdir(folder().c_str()); });
    return std::string(made);
  }();
  return path;
}

// The header's sums and the table of checksums, made to fit the rest.
void make_sound(std::vector<uint8_t>& bytes) {
  const uint64_t count = bytes[24] % 100;
  put<uint64_t>(bytes, 24, count);
  put<uint64_t>(bytes, 48, 8);  // bucket bits of so few, and zero
  const uint64_t sizes[kColumns] = {
      8 * count, 4 * 257, 10 * count, 16u * (bytes[0] % 8), 13u * (bytes[1] % 8), 34u * (bytes[2] % 8)};
  std::memcpy(bytes.data(), "PLSTORE\0\1\0\0\0\0\0\0", 16);
  uint64_t offset = kHeaderBytes;
  bytes.resize(4096);
  for (size_t column = 0; column < kColumns; column++) {
    const uint64_t size = sizes[column];
    put<uint64_t>(bytes, kColumnsOffset + column * 16, offset);
    put<uint64_t>(bytes, kColumnsOffset + column * 16 + 8, size);
    offset += size;
  }
  bytes.resize(offset);
  std::vector<uint64_t> sums;
  for (uint64_t at = kHeaderBytes; at < offset; at += FileWriter::kChunkBytes) {
    sums.push_back(checksum(&bytes[at], std::min<uint64_t>(FileWriter::kChunkBytes, offset - at)));
  }
  put<uint64_t>(bytes, 152, offset);
  put<uint64_t>(bytes, 160, checksum(sums.data(), 8 * sums.size()));
  put<uint64_t>(bytes, kIdentityOffset, checksum(bytes.data(), kIdentityOffset));
  for (const uint64_t sum : sums) {
    bytes.resize(bytes.size() + 8);
    put<uint64_t>(bytes, bytes.size() - 8, sum);
  }
}

void search(const Segment& segment) {
  IdFilter filter(64);
  segment.add_to(filter, [](u128 id) { return static_cast<uint64_t>(id); });
  for (uint64_t i = 0; i < 64; i++) {
    segment.find(i * 0x0410'4104'1041'0410, [](Position) { return false; });
    segment.has_failed(i);
    segment.resolved(i);
  }
  const SegmentName& name = segment.name();
  if (name.count) segment.links(name.first), segment.links(name.end() - 1);
  if (segment.expiry_count()) segment.expiry(segment.first_expiry() + segment.expiry_count() - 1);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < kHeaderBytes || size > (size_t{1} << 20)) return 0;
  std::vector<uint8_t> bytes(data, data + size);
  if (bytes[255] % 8 != 7) {
    std::fill(bytes.begin() + kIdentityOffset + 8, bytes.begin() + kHeaderBytes, 0);
    make_sound(bytes);
  }
  const SegmentName name{get<uint64_t>(bytes, 16), get<uint64_t>(bytes, 24), get<uint64_t>(bytes, kIdentityOffset),
                         get<uint32_t>(bytes, 12)};
  const std::string path = folder() + "/" + name.file_name();
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  try {
    search(*Segment::open(folder(), name));
  } catch (const Damaged&) {
  }
  unlink(path.c_str());
  return 0;
}
