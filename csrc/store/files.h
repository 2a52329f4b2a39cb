// Files as the store needs them: read at a place, mapped for reading, written once from front to back.
//
// All of these throw std::system_error, which names the file, where the system refuses, and Damaged where a file is not
// what it should be.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace pyledger::store {

// A file of the store is missing, cut short or holds other bits than were written. Everything in it can be computed
// again from the blocks.
struct Damaged : std::runtime_error {
  using std::runtime_error::runtime_error;
};

[[noreturn]] void throw_system_error(const std::string& path);

// A descriptor that is closed at the end.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor();

  int get() const { return fd_; }

 private:
  int fd_ = -1;
};

Descriptor open_for_reading(const std::string& path);

// Exactly so many bytes from an offset.
void read_at(const Descriptor& file, const std::string& path, uint64_t offset, void* out, size_t bytes);

// A whole file in memory, read-only.
class MappedFile {
 public:
  explicit MappedFile(const std::string& path);
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  const uint8_t* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  const uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

// Writes a new file beside its name, which it gets by finish(): a file under its own name is whole. Without finish() it
// vanishes. `header_bytes` are left free at the front for finish() to fill.
class FileWriter {
 public:
  FileWriter(std::string path, size_t header_bytes);
  ~FileWriter();

  void append(const void* data, size_t bytes);
  // Bytes so far, the header's included.
  uint64_t size() const { return flushed_ + buffer_.size(); }
  // Checksum of each chunk of kChunkBytes behind the header, the last one shorter, of all bytes appended so far.
  const std::vector<uint64_t>& finish_checksums();
  void finish(const void* header, size_t bytes);

  static constexpr size_t kChunkBytes = size_t{1} << 16;

 private:
  void flush();
  void write_all(const uint8_t* data, size_t bytes, uint64_t offset);

  std::string path_, temporary_;
  Descriptor file_;
  size_t header_bytes_;
  uint64_t flushed_;
  std::vector<uint8_t> buffer_;
  std::vector<uint64_t> checksums_;
  bool checksums_done_ = false, finished_ = false;
};

}  // namespace pyledger::store
