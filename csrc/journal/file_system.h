// Every system call that the journal and the snapshots make, as one small interface: the real one, and for tests one
// that records, fails at will or loses what was not synced.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace pyledger::journal {

// A system call failed. The message is "<path>: <what the system says>".
struct FileError : std::runtime_error {
  FileError(const std::string& path, int code);
  int code;  // errno
};

enum class OpenMode {
  kRead,
  kWrite,   // read and write what is there
  kCreate,  // the same for a file that must not be there yet
};

// Bytes that stand behind each other in a file but not in memory.
struct Part {
  const uint8_t* data;
  size_t size_bytes;
};

// A whole file, read-only in memory.
class Mapping {
 public:
  virtual ~Mapping() = default;
  virtual std::span<const uint8_t> bytes() const noexcept = 0;
};

// Files are small numbers, as the system gives them. Every call but close throws FileError.
class FileSystem {
 public:
  virtual ~FileSystem() = default;

  // direct: past the system's cache; buffers, sizes and offsets are then multiples of kPageBytes.
  virtual int open(const std::string& path, OpenMode mode, bool direct) = 0;
  virtual void close(int file) noexcept = 0;
  virtual uint64_t size(int file) = 0;

  // Fewer bytes than asked for only where the file ends.
  virtual size_t read(int file, uint8_t* data, size_t size_bytes, uint64_t offset) = 0;
  // May write fewer bytes than given, never none of some.
  virtual size_t write(int file, std::span<const Part> parts, uint64_t offset) = 0;
  // The data, and of the rest what reading them needs (fdatasync).
  virtual void sync_data(int file) = 0;
  // Everything about the file (fsync).
  virtual void sync(int file) = 0;
  virtual void truncate(int file, uint64_t size) = 0;
  // Makes room, which reads as zeros. False where the file system cannot or has no room: writing then grows the file.
  virtual bool allocate(int file, uint64_t offset, uint64_t size_bytes) = 0;

  virtual void rename(const std::string& from, const std::string& to) = 0;
  virtual void remove(const std::string& path) = 0;
  virtual void sync_folder(const std::string& path) = 0;
  virtual std::vector<std::string> list(const std::string& folder) = 0;
  // A file held against every other holder until it is closed, made if need be; -1 if another one holds it.
  virtual int lock(const std::string& path) = 0;
  virtual std::unique_ptr<Mapping> map(int file) = 0;
};

FileSystem& posix_file_system();

// Files are written in pages: what O_DIRECT and every disk of today takes whole.
inline constexpr uint64_t kPageBytes = 4096;

constexpr uint64_t to_pages(uint64_t size_bytes) { return (size_bytes + kPageBytes - 1) / kPageBytes * kPageBytes; }

// A file that closes itself.
class File {
 public:
  File() = default;
  File(FileSystem& files, int number) : files_(&files), number_(number) {}
  File(File&& other) noexcept : files_(other.files_), number_(std::exchange(other.number_, -1)) {}
  File& operator=(File&& other) noexcept {
    std::swap(files_, other.files_);
    std::swap(number_, other.number_);
    return *this;
  }
  ~File() { reset(); }

  explicit operator bool() const noexcept { return number_ >= 0; }
  int number() const noexcept { return number_; }
  int release() noexcept { return std::exchange(number_, -1); }
  void reset() noexcept {
    if (number_ >= 0) files_->close(number_);
    number_ = -1;
  }

 private:
  FileSystem* files_ = nullptr;
  int number_ = -1;
};

// Writes every byte; a short write is followed by another one, which says why (a full disk: ENOSPC).
void write_all(FileSystem& files, int file, std::span<const Part> parts, uint64_t offset);

// Heap memory that begins at a page.
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(size_t size_bytes);

  uint8_t* data() noexcept { return memory_.get(); }
  const uint8_t* data() const noexcept { return memory_.get(); }
  size_t size_bytes() const noexcept { return size_bytes_; }

 private:
  struct Free {
    void operator()(uint8_t* memory) const noexcept;
  };
  std::unique_ptr<uint8_t, Free> memory_;
  size_t size_bytes_ = 0;
};

}  // namespace pyledger::journal
