// The journal's system calls on Linux and macOS.
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "journal/file_system.h"

namespace pyledger::journal {
namespace {

// Linux takes 1024 parts a call; POSIX promises 16.
constexpr size_t kPartsMax = 256;

[[noreturn]] void fail(const std::string& path) { throw FileError(path, errno); }

template <class Call>
auto retried(const Call& call) {
  for (;;) {
    const auto result = call();
    if (result >= 0 || errno != EINTR) return result;
  }
}

class PosixMapping : public Mapping {
 public:
  PosixMapping(void* data, size_t size_bytes) : data_(data), size_bytes_(size_bytes) {}
  ~PosixMapping() override {
    if (size_bytes_ != 0) munmap(data_, size_bytes_);
  }
  std::span<const uint8_t> bytes() const noexcept override { return {static_cast<const uint8_t*>(data_), size_bytes_}; }

 private:
  void* data_;
  size_t size_bytes_;
};

int flags_of(OpenMode mode, bool direct) {
  int flags = O_CLOEXEC | (mode == OpenMode::kRead ? O_RDONLY : O_RDWR);
  if (mode == OpenMode::kCreate) flags |= O_CREAT | O_EXCL;
#if defined(O_DIRECT)
  if (direct) flags |= O_DIRECT;
#else
  (void)direct;
#endif
  return flags;
}

class PosixFileSystem : public FileSystem {
 public:
  int open(const std::string& path, OpenMode mode, bool direct) override {
#if !defined(O_DIRECT)
    if (direct) throw FileError(path, EINVAL);
#endif
    const int file = retried([&] { return ::open(path.c_str(), flags_of(mode, direct), 0644); });
    if (file < 0) fail(path);
    return file;
  }

  void close(int file) noexcept override { ::close(file); }

  uint64_t size(int file) override {
    struct stat about;
    if (fstat(file, &about) != 0) fail(path_of(file));
    return static_cast<uint64_t>(about.st_size);
  }

  size_t read(int file, uint8_t* data, size_t size_bytes, uint64_t offset) override {
    size_t done = 0;
    while (done < size_bytes) {
      const ssize_t got = retried([&] { return pread(file, data + done, size_bytes - done, offset + done); });
      if (got < 0) fail(path_of(file));
      if (got == 0) break;
      done += static_cast<size_t>(got);
    }
    return done;
  }

  size_t write(int file, std::span<const Part> parts, uint64_t offset) override {
    iovec vectors[kPartsMax];
    const size_t count = std::min(parts.size(), kPartsMax);
    size_t left = size_t{1} << 30;  // a call takes no more than 2 GiB less a page
    size_t used = 0;
    for (; used < count && left != 0; used++) {
      const size_t size_bytes = std::min(parts[used].size_bytes, left);
      vectors[used] = {const_cast<uint8_t*>(parts[used].data), size_bytes};
      left -= size_bytes;
    }
    const ssize_t written = retried([&] { return pwritev(file, vectors, static_cast<int>(used), offset); });
    if (written < 0) fail(path_of(file));
    if (written == 0) throw FileError(path_of(file), ENOSPC);  // POSIX leaves open what that means
    return static_cast<size_t>(written);
  }

#if defined(__APPLE__)
  // fsync leaves the data in the drive's cache there.
  void sync_data(int file) override { sync(file); }
  void sync(int file) override {
    if (retried([&] { return fcntl(file, F_FULLFSYNC); }) >= 0) return;
    if (retried([&] { return fsync(file); }) < 0) fail(path_of(file));  // a file system that knows no other
  }
  bool allocate(int, uint64_t, uint64_t) override { return false; }
#else
  void sync_data(int file) override {
    if (retried([&] { return fdatasync(file); }) < 0) fail(path_of(file));
  }
  void sync(int file) override {
    if (retried([&] { return fsync(file); }) < 0) fail(path_of(file));
  }
  bool allocate(int file, uint64_t offset, uint64_t size_bytes) override {
    if (retried([&] { return fallocate(file, 0, offset, size_bytes); }) == 0) return true;
    const int refusals[] = {ENOSPC, EDQUOT, EFBIG, EOPNOTSUPP, ENOSYS, EINVAL};
    if (std::ranges::find(refusals, errno) == std::end(refusals)) fail(path_of(file));
    return false;
  }
#endif

  void truncate(int file, uint64_t size) override {
    if (retried([&] { return ftruncate(file, static_cast<off_t>(size)); }) < 0) fail(path_of(file));
  }

  void rename(const std::string& from, const std::string& to) override {
    if (::rename(from.c_str(), to.c_str()) != 0) fail(from);
  }

  void remove(const std::string& path) override {
    if (::unlink(path.c_str()) != 0) fail(path);
  }

  void sync_folder(const std::string& path) override {
    const File folder(*this, retried([&] { return ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); }));
    if (!folder || retried([&] { return fsync(folder.number()); }) < 0) fail(path);
  }

  std::vector<std::string> list(const std::string& folder) override {
    const std::unique_ptr<DIR, int (*)(DIR*)> stream(opendir(folder.c_str()), closedir);
    if (!stream) fail(folder);
    std::vector<std::string> names;
    for (;;) {
      errno = 0;
      const dirent* entry = readdir(stream.get());
      if (entry == nullptr) break;
      names.emplace_back(entry->d_name);
    }
    if (errno != 0) fail(folder);
    return names;
  }

  int lock(const std::string& path) override {
    File file(*this, retried([&] { return ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644); }));
    if (!file) fail(path);
    if (retried([&] { return flock(file.number(), LOCK_EX | LOCK_NB); }) != 0) {
      if (errno != EWOULDBLOCK) fail(path);
      return -1;
    }
    return file.release();
  }

  std::unique_ptr<Mapping> map(int file) override {
    const uint64_t size_bytes = size(file);
    if (size_bytes == 0) return std::make_unique<PosixMapping>(nullptr, 0);
    void* data = mmap(nullptr, size_bytes, PROT_READ, MAP_PRIVATE, file, 0);
    if (data == MAP_FAILED) fail(path_of(file));
    return std::make_unique<PosixMapping>(data, size_bytes);
  }

 private:
  // For messages only.
  static std::string path_of(int file) {
    const int code = errno;
    std::string path = "file " + std::to_string(file);
#if defined(__linux__)
    char target[PATH_MAX];
    const ssize_t size = readlink(("/proc/self/fd/" + std::to_string(file)).c_str(), target, sizeof target);
    if (size > 0) path.assign(target, static_cast<size_t>(size));
#elif defined(__APPLE__)
    char target[PATH_MAX];
    if (fcntl(file, F_GETPATH, target) == 0) path = target;
#endif
    errno = code;
    return path;
  }
};

}  // namespace

FileSystem& posix_file_system() {
  static PosixFileSystem files;
  return files;
}

}  // namespace pyledger::journal
