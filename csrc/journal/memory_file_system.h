// A file system in memory that knows what a crash may leave: for tests and fuzzing, not part of the library.
//
// Beside what its callers see, it keeps what is durable and every later change in order. After a crash each change that
// no sync covers may be there or not, whatever came before or after it, and a write sector by sector. A sync of a file
// covers its bytes and size but not its name; a sync of the folder covers names; a data sync does not cover cuts. A
// sync that fails covers nothing, and no later sync covers what it should have covered: the system has forgotten it. It
// is stricter than the file systems in use.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "journal/file_system.h"

namespace pyledger::journal {

// A call at a given number fails. Reads, opens and lists count, too.
struct Fault {
  enum Kind {
    kNone,
    kError,       // fails with `code` and does nothing, except that a write may have done a part
    kShortWrite,  // the next write from there on is short
    kKill,        // the process is gone: this call may have done a part, all later ones do nothing
  };
  Kind kind = kNone;
  uint64_t call = 0;
  int code = 0;
};

class MemoryFileSystem : public FileSystem {
 public:
  static constexpr uint64_t kSectorBytes = 512;

  explicit MemoryFileSystem(uint64_t seed = 1) : draw_(seed) {}

  int open(const std::string& path, OpenMode mode, bool direct) override;
  void close(int file) noexcept override;
  uint64_t size(int file) override;
  size_t read(int file, uint8_t* data, size_t size_bytes, uint64_t offset) override;
  size_t write(int file, std::span<const Part> parts, uint64_t offset) override;
  void sync_data(int file) override;
  void sync(int file) override;
  void truncate(int file, uint64_t size) override;
  bool allocate(int file, uint64_t offset, uint64_t size_bytes) override;
  void rename(const std::string& from, const std::string& to) override;
  void remove(const std::string& path) override;
  void sync_folder(const std::string& path) override;
  std::vector<std::string> list(const std::string& folder) override;
  int lock(const std::string& path) override;
  std::unique_ptr<Mapping> map(int file) override;

  // What a crash now may leave, drawn from `draw`.
  std::unique_ptr<MemoryFileSystem> crash(std::mt19937_64& draw) const;
  // The process is gone, the machine is not: all files closed, nothing else changed.
  void kill() noexcept;

  // Of names and bytes as callers see them.
  uint64_t digest() const;
  // The bytes of a file as its callers see them; empty if there is none.
  std::vector<uint8_t>& bytes(const std::string& path);
  void put(const std::string& path, std::vector<uint8_t> bytes);

  Fault fault;
  uint64_t calls = 0;
  std::map<std::string, uint64_t> struck;  // how often a fault struck, by "<call>: <fault>"
  bool takes_direct = true;
  bool has_room_to_allocate = true;
  std::set<std::string> lies;          // names of calls that succeed and do nothing
  std::function<void()> after_change;  // called after every call that changes something

 private:
  enum class Change { kWrite, kGrow, kTruncate };

  struct FileChange {
    Change kind;
    uint64_t offset;  // of a write; otherwise the new size
    std::vector<uint8_t> bytes;
    bool durable = false;
    bool forgotten = false;  // a sync that should have covered it failed
  };

  struct Inode {
    std::vector<uint8_t> seen;     // by callers
    std::vector<uint8_t> durable;  // before the changes
    std::vector<FileChange> changes;
  };

  struct NameChange {
    std::string removed, added;  // either may be empty
    size_t inode;
  };

  struct Handle {
    size_t inode;
    bool direct;
    std::string locked;
  };

  void count_call(const char* name, const std::string& path);
  void changed();
  bool fault_now(Fault::Kind kind) const { return fault.kind == kind && calls == fault.call; }
  Handle& handle(int file);
  size_t find(const std::string& path) const;
  int add_handle(Handle handle);
  void change(Inode& inode, FileChange change);
  void settle(int file, bool cuts_too, const char* name);
  void change_name(NameChange change);
  static void apply(std::map<std::string, size_t>& names, const NameChange& change);
  static void apply(std::vector<uint8_t>& bytes, const FileChange& change);
  static void apply_torn(std::vector<uint8_t>& bytes, const FileChange& change, unsigned mode, std::mt19937_64& draw);

  std::mutex mutex_;
  std::mt19937_64 draw_;
  std::vector<Inode> inodes_;
  std::map<std::string, size_t> names_, durable_names_;
  std::vector<NameChange> name_changes_;
  std::map<int, Handle> handles_;
  std::set<std::string> locked_;
  int next_handle_ = 3;
};

}  // namespace pyledger::journal
