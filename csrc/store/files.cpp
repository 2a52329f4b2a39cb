#include "store/files.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <system_error>

#include "store/checksum.h"

namespace pyledger::store {

void throw_system_error(const std::string& path) { throw std::system_error(errno, std::generic_category(), path); }

Descriptor::~Descriptor() {
  if (fd_ >= 0) close(fd_);
}

Descriptor open_for_reading(const std::string& path) {
  Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) throw_system_error(path);
  return file;
}

void read_at(const Descriptor& file, const std::string& path, uint64_t offset, void* out, size_t bytes) {
  auto* to = static_cast<uint8_t*>(out);
  while (bytes > 0) {
    const ssize_t got = pread(file.get(), to, bytes, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw_system_error(path);
    if (got == 0) throw Damaged(path + ": ends before offset " + std::to_string(offset + bytes));
    to += got;
    offset += static_cast<uint64_t>(got);
    bytes -= static_cast<size_t>(got);
  }
}

MappedFile::MappedFile(const std::string& path) {
  const Descriptor file = open_for_reading(path);
  struct stat status;
  if (fstat(file.get(), &status) != 0) throw_system_error(path);
  size_ = static_cast<size_t>(status.st_size);
  if (size_ == 0) return;
  void* region = mmap(nullptr, size_, PROT_READ, MAP_SHARED, file.get(), 0);
  if (region == MAP_FAILED) throw_system_error(path);
  data_ = static_cast<const uint8_t*>(region);
}

MappedFile::~MappedFile() {
  if (data_) munmap(const_cast<uint8_t*>(data_), size_);
}

FileWriter::FileWriter(std::string path, size_t header_bytes)
    : path_(std::move(path)), temporary_(path_ + ".part"), header_bytes_(header_bytes), flushed_(header_bytes) {
  file_ = Descriptor(open(temporary_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (file_.get() < 0) throw_system_error(temporary_);
  buffer_.reserve(kChunkBytes);
}

FileWriter::~FileWriter() {
  if (!finished_) unlink(temporary_.c_str());
}

void FileWriter::append(const void* data, size_t bytes) {
  const auto* from = static_cast<const uint8_t*>(data);
  while (bytes > 0) {
    const size_t part = std::min(bytes, kChunkBytes - buffer_.size());
    buffer_.insert(buffer_.end(), from, from + part);
    from += part;
    bytes -= part;
    if (buffer_.size() == kChunkBytes) flush();
  }
}

void FileWriter::flush() {
  if (buffer_.empty()) return;
  if (!checksums_done_) checksums_.push_back(checksum(buffer_.data(), buffer_.size()));
  write_all(buffer_.data(), buffer_.size(), flushed_);
  flushed_ += buffer_.size();
  buffer_.clear();
}

const std::vector<uint64_t>& FileWriter::finish_checksums() {
  flush();
  checksums_done_ = true;
  return checksums_;
}

void FileWriter::finish(const void* header, size_t bytes) {
  flush();
  write_all(static_cast<const uint8_t*>(header), std::min(bytes, header_bytes_), 0);
  if (rename(temporary_.c_str(), path_.c_str()) != 0) throw_system_error(path_);
  finished_ = true;
}

void FileWriter::write_all(const uint8_t* data, size_t bytes, uint64_t offset) {
  while (bytes > 0) {
    const ssize_t put = pwrite(file_.get(), data, bytes, static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) throw_system_error(temporary_);
    data += put;
    offset += static_cast<uint64_t>(put);
    bytes -= static_cast<size_t>(put);
  }
}

}  // namespace pyledger::store
