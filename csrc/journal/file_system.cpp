#include "journal/file_system.h"

#include <cstdlib>
#include <cstring>
#include <new>

namespace pyledger::journal {

FileError::FileError(const std::string& path, int code)
    : std::runtime_error(path + ": " + std::strerror(code)), code(code) {}

void write_all(FileSystem& files, int file, std::span<const Part> parts, uint64_t offset) {
  std::vector<Part> left(parts.begin(), parts.end());
  for (size_t first = 0; first < left.size();) {
    size_t written = files.write(file, std::span(left).subspan(first), offset);
    offset += written;
    while (first < left.size() && written >= left[first].size_bytes) written -= left[first++].size_bytes;
    if (first == left.size()) return;
    left[first].data += written;
    left[first].size_bytes -= written;
  }
}

AlignedBuffer::AlignedBuffer(size_t size_bytes) : size_bytes_(to_pages(size_bytes)) {
  memory_.reset(static_cast<uint8_t*>(std::aligned_alloc(kPageBytes, size_bytes_)));
  if (!memory_ && size_bytes_ != 0) throw std::bad_alloc();
}

void AlignedBuffer::Free::operator()(uint8_t* memory) const noexcept { std::free(memory); }

}  // namespace pyledger::journal
