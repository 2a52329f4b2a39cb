#include "journal/system_calls.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <utility>

namespace pyledger::journal {

SystemCalls& system_calls() {
  static SystemCalls calls;
  return calls;
}

void SystemCalls::start() {
  const std::lock_guard<std::mutex> lock(mutex_);
  done_.clear();
  failing_.clear();
  shortened_.clear();
  struck_ = times_ = 0;
  pretending_ = false;
}

std::vector<std::string> SystemCalls::done() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return done_;
}

void SystemCalls::add(const std::string& line) {
  const std::lock_guard<std::mutex> lock(mutex_);
  done_.push_back(line);
}

void SystemCalls::fail(const char* call, int code, unsigned times) {
  const std::lock_guard<std::mutex> lock(mutex_);
  failing_ = call;
  code_ = code;
  times_ = times;
}

void SystemCalls::shorten(const char* call, size_t size_bytes) {
  const std::lock_guard<std::mutex> lock(mutex_);
  shortened_ = call;
  bytes_max_ = size_bytes;
}

unsigned SystemCalls::struck() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return struck_;
}

int SystemCalls::failure(const char* call) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (times_ == 0 || failing_ != call) return 0;
  times_--;
  struck_++;
  return code_;
}

size_t SystemCalls::bytes_max(const char* call) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (shortened_ != call) return SIZE_MAX;
  shortened_.clear();
  struck_++;
  return bytes_max_;
}

namespace {

std::string path_of(int file) {
  char target[PATH_MAX];
  const ssize_t size = readlink(("/proc/self/fd/" + std::to_string(file)).c_str(), target, sizeof target);
  return size > 0 ? std::string(target, static_cast<size_t>(size)) : "file " + std::to_string(file);
}

bool is_folder(int file) {
  struct stat about;
  return fstat(file, &about) == 0 && S_ISDIR(about.st_mode);
}

// A call with the errors it is told to make; what it did is written down, in words made then.
template <class Call, class Words>
auto watched(const char* name, const Call& call, const Words& words) -> decltype(call()) {
  if (const int code = system_calls().failure(name)) {
    errno = code;
    return -1;
  }
  const auto result = call();
  const int code = errno;
  if (result >= 0) {
    if (const std::string line = words(result); !line.empty()) system_calls().add(line);
  }
  errno = code;
  return result;
}

// The first bytes of some parts.
std::vector<iovec> cut(const iovec* parts, int count, size_t size_bytes) {
  std::vector<iovec> left(parts, parts + count);
  for (iovec& part : left) {
    part.iov_len = std::min(part.iov_len, size_bytes);
    size_bytes -= part.iov_len;
  }
  return left;
}

}  // namespace
}  // namespace pyledger::journal

namespace words = pyledger::journal::words;
using pyledger::journal::cut;
using pyledger::journal::is_folder;
using pyledger::journal::path_of;
using pyledger::journal::system_calls;
using pyledger::journal::watched;

extern "C" {

int __real_open(const char* path, int flags, ...);
ssize_t __real_pread(int file, void* data, size_t size_bytes, off_t offset);
ssize_t __real_pwritev(int file, const iovec* parts, int count, off_t offset);
int __real_fdatasync(int file);
int __real_fsync(int file);
int __real_ftruncate(int file, off_t size);
int __real_fallocate(int file, int mode, off_t offset, off_t size_bytes);
int __real_rename(const char* from, const char* to);
int __real_unlink(const char* path);
int __real_flock(int file, int operation);

int __wrap_open(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = flags & O_CREAT ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  const auto describe = [&](int) -> std::string {
    const bool creates = flags & O_CREAT;
    const bool locks = creates && !(flags & O_EXCL);  // flock tells of it
    if ((flags & O_ACCMODE) == O_RDONLY || locks) return {};
    return words::open(path, creates, flags & O_DIRECT);
  };
  return watched("open", [&] { return __real_open(path, flags, mode); }, describe);
}

ssize_t __wrap_pread(int file, void* data, size_t size_bytes, off_t offset) {
  const auto call = [&] {
    return __real_pread(file, data, std::min(size_bytes, system_calls().bytes_max("pread")), offset);
  };
  return watched("pread", call, [](ssize_t) { return std::string(); });
}

ssize_t __wrap_pwritev(int file, const iovec* parts, int count, off_t offset) {
  const auto call = [&]() -> ssize_t {
    if (system_calls().pretending()) {
      size_t sum = 0;
      for (int i = 0; i < count; i++) sum += parts[i].iov_len;
      return static_cast<ssize_t>(sum);
    }
    const size_t size_bytes = system_calls().bytes_max("pwritev");
    if (size_bytes == 0) return 0;
    return __real_pwritev(file, cut(parts, count, size_bytes).data(), count, offset);
  };
  return watched("pwritev", call, [&](ssize_t written) { return words::write(path_of(file), offset, written); });
}

int __wrap_fdatasync(int file) {
  return watched(
      "fdatasync", [&] { return __real_fdatasync(file); }, [&](int) { return "sync_data " + path_of(file); });
}

int __wrap_fsync(int file) {
  const auto describe = [&](int) { return (is_folder(file) ? "sync_folder " : "sync ") + path_of(file); };
  return watched("fsync", [&] { return __real_fsync(file); }, describe);
}

int __wrap_ftruncate(int file, off_t size) {
  const auto describe = [&](int) { return words::truncate(path_of(file), size); };
  return watched("ftruncate", [&] { return __real_ftruncate(file, size); }, describe);
}

int __wrap_fallocate(int file, int mode, off_t offset, off_t size_bytes) {
  const auto describe = [&](int) {
    return words::allocate(path_of(file), offset, size_bytes) + (mode == 0 ? "" : ", mode " + std::to_string(mode));
  };
  return watched("fallocate", [&] { return __real_fallocate(file, mode, offset, size_bytes); }, describe);
}

int __wrap_rename(const char* from, const char* to) {
  return watched("rename", [&] { return __real_rename(from, to); }, [&](int) { return words::rename(from, to); });
}

int __wrap_unlink(const char* path) {
  return watched("unlink", [&] { return __real_unlink(path); }, [&](int) { return std::string("remove ") + path; });
}

int __wrap_flock(int file, int operation) {
  return watched("flock", [&] { return __real_flock(file, operation); }, [&](int) { return "lock " + path_of(file); });
}

}  // extern "C"
