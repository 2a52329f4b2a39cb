// The system calls that posix_file_system.cpp makes, seen, bent and written down where they leave the program: the
// linker puts these wrappers before the calls (--wrap, see CMakeLists.txt). For tests on Linux.
//
// Only what changes a disk is written down, when the system has done it, in the words of `words`: so the real layer can
// be held against a file system in memory that was asked for the same.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

namespace pyledger::journal {

namespace words {

inline std::string open(const std::string& path, bool creates, bool direct) {
  return (creates ? "create " : "open ") + path + (direct ? ", direct" : "");
}
inline std::string write(const std::string& path, uint64_t offset, uint64_t size_bytes) {
  return "write " + path + " at " + std::to_string(offset) + ", bytes: " + std::to_string(size_bytes);
}
inline std::string allocate(const std::string& path, uint64_t offset, uint64_t size_bytes) {
  return "allocate " + path + " from " + std::to_string(offset) + ", bytes: " + std::to_string(size_bytes);
}
inline std::string truncate(const std::string& path, uint64_t size) {
  return "truncate " + path + " to " + std::to_string(size);
}
inline std::string rename(const std::string& from, const std::string& to) { return "rename " + from + " to " + to; }

}  // namespace words

class SystemCalls {
 public:
  // Forgets everything and writes down what is done from now on.
  void start();
  // What was done since start().
  std::vector<std::string> done() const;
  void add(const std::string& line);

  // The next calls of that name fail with `code` and do nothing.
  void fail(const char* call, int code, unsigned times = 1);
  // The next call of that name, of pread and pwritev, moves no more than so many bytes.
  void shorten(const char* call, size_t size_bytes);
  // Calls of pwritev do nothing, say that they wrote it all, and are written down.
  void pretend_to_write() { pretending_ = true; }
  // How many calls were made to fail or be short since start().
  unsigned struck() const;

  // For the wrappers: the error that a call has to fail with, or 0; how many bytes it may move; whether it pretends.
  int failure(const char* call);
  size_t bytes_max(const char* call);
  bool pretending() const { return pretending_; }

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> done_;
  std::string failing_, shortened_;
  int code_ = 0;
  unsigned times_ = 0;
  size_t bytes_max_ = 0;
  unsigned struck_ = 0;
  bool pretending_ = false;
};

SystemCalls& system_calls();

}  // namespace pyledger::journal
