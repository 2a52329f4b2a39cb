#include "journal/memory_file_system.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>

namespace pyledger::journal {
namespace {

class Copy : public Mapping {
 public:
  explicit Copy(std::vector<uint8_t> bytes) : bytes_(std::move(bytes)) {}
  std::span<const uint8_t> bytes() const noexcept override { return bytes_; }

 private:
  std::vector<uint8_t> bytes_;
};

constexpr size_t kNowhere = SIZE_MAX;

}  // namespace

// Every call counts, so that a fault may strike at each.
void MemoryFileSystem::count_call(const char* name, const std::string& path) {
  calls++;
  if (fault.kind == Fault::kKill && calls > fault.call) throw FileError(path, EIO);
  if (fault_now(Fault::kError)) struck[std::string(name) + ": " + std::strerror(fault.code)]++;
  if (fault_now(Fault::kKill)) struck[std::string(name) + ": killed"]++;
}

void MemoryFileSystem::changed() {
  if (after_change) after_change();
}

MemoryFileSystem::Handle& MemoryFileSystem::handle(int file) {
  const auto found = handles_.find(file);
  if (found == handles_.end()) throw FileError("file " + std::to_string(file), EBADF);
  return found->second;
}

size_t MemoryFileSystem::find(const std::string& path) const {
  const auto found = names_.find(path);
  return found == names_.end() ? kNowhere : found->second;
}

int MemoryFileSystem::add_handle(Handle handle) {
  handles_.emplace(next_handle_, std::move(handle));
  return next_handle_++;
}

int MemoryFileSystem::open(const std::string& path, OpenMode mode, bool direct) {
  const std::lock_guard<std::mutex> lock(mutex_);
  count_call("open", path);
  if (fault_now(Fault::kError)) throw FileError(path, fault.code);
  if (direct && !takes_direct) throw FileError(path, EINVAL);
  size_t inode = find(path);
  if (mode != OpenMode::kCreate) {
    if (inode == kNowhere) throw FileError(path, ENOENT);
    return add_handle({inode, direct, {}});
  }
  if (inode != kNowhere) throw FileError(path, EEXIST);
  inode = inodes_.size();
  inodes_.emplace_back();
  change_name({{}, path, inode});
  return add_handle({inode, direct, {}});
}

void MemoryFileSystem::close(int file) noexcept {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = handles_.find(file);
  if (found == handles_.end()) return;
  locked_.erase(found->second.locked);
  handles_.erase(found);
}

uint64_t MemoryFileSystem::size(int file) {
  const std::lock_guard<std::mutex> lock(mutex_);
  count_call("size", "size");
  if (fault_now(Fault::kError)) throw FileError("size", fault.code);
  return inodes_[handle(file).inode].seen.size();
}

size_t MemoryFileSystem::read(int file, uint8_t* data, size_t size_bytes, uint64_t offset) {
  const std::lock_guard<std::mutex> lock(mutex_);
  count_call("read", "read");
  if (fault_now(Fault::kError)) throw FileError("read", fault.code);
  const std::vector<uint8_t>& bytes = inodes_[handle(file).inode].seen;
  if (offset >= bytes.size() || size_bytes == 0) return 0;  // of nothing, data may be null
  const size_t got = std::min<uint64_t>(size_bytes, bytes.size() - offset);
  std::memcpy(data, bytes.data() + offset, got);
  return got;
}

size_t MemoryFileSystem::write(int file, std::span<const Part> parts, uint64_t offset) {
  const std::lock_guard<std::mutex> lock(mutex_);
  count_call("write", "write");
  const Handle& to = handle(file);
  std::vector<uint8_t> bytes;
  for (const Part& part : parts) {
    const bool aligned = reinterpret_cast<uintptr_t>(part.data) % kPageBytes == 0 && part.size_bytes % kPageBytes == 0;
    if (to.direct && (!aligned || offset % kPageBytes != 0)) throw FileError("write", EINVAL);
    bytes.insert(bytes.end(), part.data, part.data + part.size_bytes);
  }
  const bool cut_short =
      (fault.kind == Fault::kShortWrite && calls >= fault.call) || fault_now(Fault::kError) || fault_now(Fault::kKill);
  if (fault.kind == Fault::kShortWrite && cut_short) struck["write: short"]++;
  if (cut_short) bytes.resize(draw_() % (bytes.size() / kSectorBytes + 1) * kSectorBytes);
  if (!bytes.empty()) change(inodes_[to.inode], {Change::kWrite, offset, bytes});
  changed();
  if (fault_now(Fault::kError)) throw FileError("write", fault.code);
  if (fault_now(Fault::kKill)) throw FileError("write", EIO);
  if (cut_short) {
    fault.kind = Fault::kNone;
    if (bytes.empty()) throw FileError("write", ENOSPC);
  }
  return bytes.size();
}

void MemoryFileSystem::change(Inode& inode, FileChange change) {
  apply(inode.seen, change);
  inode.changes.push_back(std::move(change));
}

void MemoryFileSystem::settle(int file, bool cuts_too, const char* name) {
  const std::lock_guard<std::mutex> lock(mutex_);
  count_call(name, name);
  Inode& inode = inodes_[handle(file).inode];
  const bool fails = fault_now(Fault::kError) || fault_now(Fault::kKill);
  if (lies.contains(name) && !fails) return;
  for (FileChange& change : inode.changes) {
    if (change.kind == Change::kTruncate && !cuts_too) continue;
    if (fault_now(Fault::kError)) change.forgotten = !change.durable;
    if (!fails && !change.forgotten) change.durable = true;
  }
  if (fails) throw FileError(name, fault.code);
  const auto durable = [](const FileChange& change) { return change.durable; };
  if (std::ranges::all_of(inode.changes, durable)) {
    for (const FileChange& change : inode.changes) apply(inode.durable, change);
    inode.changes.clear();
  }
  changed();
}

void MemoryFileSystem::sync_data(int file) { settle(file, false, "sync_data"); }

void MemoryFileSystem::sync(int file) { settle(file, true, "sync"); }

void MemoryFileSystem::truncate(int file, uint64_t size) {
  const std::lock_guard<std::mutex> lock(mutex_);
  count_call("truncate", "truncate");
  if (fault_now(Fault::kError)) throw FileError("truncate", fault.code);
  if (lies.contains("truncate")) return;
  change(inodes_[handle(file).inode], {Change::kTruncate, size, {}});
  changed();
}

bool MemoryFileSystem::allocate(int file, uint64_t offset, uint64_t size_bytes) {
  const std::lock_guard<std::mutex> lock(mutex_);
  count_call("allocate", "allocate");
  if (fault_now(Fault::kError)) throw FileError("allocate", fault.code);
  if (!has_room_to_allocate) return false;
  Inode& inode = inodes_[handle(file).inode];
  if (offset + size_bytes > inode.seen.size()) change(inode, {Change::kGrow, offset + size_bytes, {}});
  changed();
  return true;
}

void MemoryFileSystem::change_name(NameChange change) {
  apply(names_, change);
  name_changes_.push_back(std::move(change));
  changed();
}

void MemoryFileSystem::rename(const std::string& from, const std::string& to) {
  const std::lock_guard<std::mutex> lock(mutex_);
  count_call("rename", from);
  if (fault_now(Fault::kError)) throw FileError(from, fault.code);
  if (find(from) == kNowhere) throw FileError(from, ENOENT);
  change_name({from, to, find(from)});
}

void MemoryFileSystem::remove(const std::string& path) {
  const std::lock_guard<std::mutex> lock(mutex_);
  count_call("remove", path);
  if (fault_now(Fault::kError)) throw FileError(path, fault.code);
  if (find(path) == kNowhere) throw FileError(path, ENOENT);
  change_name({path, {}, kNowhere});
}

void MemoryFileSystem::sync_folder(const std::string& path) {
  const std::lock_guard<std::mutex> lock(mutex_);
  count_call("sync_folder", path);
  if (fault_now(Fault::kKill)) throw FileError(path, EIO);
  if (fault_now(Fault::kError)) throw FileError(path, fault.code);
  if (lies.contains("sync_folder")) return;
  std::erase_if(name_changes_, [&](const NameChange& change) {
    if (!(change.added.empty() ? change.removed : change.added).starts_with(path + "/")) return false;
    apply(durable_names_, change);
    return true;
  });
  changed();
}

std::vector<std::string> MemoryFileSystem::list(const std::string& folder) {
  const std::lock_guard<std::mutex> lock(mutex_);
  count_call("list", folder);
  if (fault_now(Fault::kError)) throw FileError(folder, fault.code);
  std::vector<std::string> names;
  for (const auto& [path, inode] : names_) {
    if (path.starts_with(folder + "/")) names.push_back(path.substr(folder.size() + 1));
  }
  return names;
}

int MemoryFileSystem::lock(const std::string& path) {
  const std::lock_guard<std::mutex> lock(mutex_);
  count_call("lock", path);
  if (fault_now(Fault::kError)) throw FileError(path, fault.code);
  if (!locked_.insert(path).second) return -1;
  return add_handle({kNowhere, false, path});
}

std::unique_ptr<Mapping> MemoryFileSystem::map(int file) {
  const std::lock_guard<std::mutex> lock(mutex_);
  count_call("map", "map");
  if (fault_now(Fault::kError)) throw FileError("map", fault.code);
  return std::make_unique<Copy>(inodes_[handle(file).inode].seen);
}

void MemoryFileSystem::apply(std::map<std::string, size_t>& names, const NameChange& change) {
  if (!change.removed.empty()) names.erase(change.removed);
  if (!change.added.empty()) names[change.added] = change.inode;
}

void MemoryFileSystem::apply(std::vector<uint8_t>& bytes, const FileChange& change) {
  switch (change.kind) {
    case Change::kWrite:
      if (bytes.size() < change.offset + change.bytes.size()) bytes.resize(change.offset + change.bytes.size());
      std::ranges::copy(change.bytes, bytes.begin() + static_cast<std::ptrdiff_t>(change.offset));
      return;
    case Change::kGrow:
      if (bytes.size() < change.offset) bytes.resize(change.offset);
      return;
    case Change::kTruncate:
      bytes.resize(change.offset);
  }
}

// A part of a write: each sector is there or not. The modes reach the states that matter sooner than fair coins do:
// single pages lost or alone, beginnings, ends.
void MemoryFileSystem::apply_torn(std::vector<uint8_t>& bytes, const FileChange& change, unsigned mode,
                                  std::mt19937_64& draw) {
  const uint64_t sectors = (change.bytes.size() + kSectorBytes - 1) / kSectorBytes;
  const uint64_t mark = draw() % (sectors + 1), page = mark / 8;
  const bool grown = draw() % 2;  // the size may be there without the bytes
  if (grown) apply(bytes, {Change::kGrow, change.offset + change.bytes.size(), {}});
  uint64_t coins = 0;
  for (uint64_t sector = 0; sector < sectors; sector++) {
    if (sector % 64 == 0) coins = draw();
    const bool chosen[] = {sector < mark,
                           sector >= mark,
                           sector / 8 == page,
                           sector / 8 != page,
                           sector == mark,
                           sector != mark,
                           (coins >> sector % 64 & 1) != 0};
    if (!chosen[mode % std::size(chosen)]) continue;
    const auto from = change.bytes.begin() + static_cast<std::ptrdiff_t>(sector * kSectorBytes);
    const size_t size_bytes = std::min<uint64_t>(kSectorBytes, change.bytes.size() - sector * kSectorBytes);
    apply(bytes,
          {Change::kWrite, change.offset + sector * kSectorBytes, std::vector<uint8_t>(from, from + size_bytes)});
  }
}

std::unique_ptr<MemoryFileSystem> MemoryFileSystem::crash(std::mt19937_64& draw) const {
  auto left = std::make_unique<MemoryFileSystem>(draw());
  left->takes_direct = takes_direct;
  left->has_room_to_allocate = has_room_to_allocate;
  left->lies = lies;
  const unsigned bias = draw() % 4;  // of 4: how probably a change is lost
  const unsigned torn_mode = draw() % 16;
  const auto lost = [&] { return draw() % 4 < bias; };
  left->names_ = durable_names_;
  for (const NameChange& change : name_changes_) {
    if (!lost()) apply(left->names_, change);
  }
  left->durable_names_ = left->names_;
  for (const Inode& inode : inodes_) {
    std::vector<uint8_t> bytes = inode.durable;
    for (const FileChange& change : inode.changes) {
      const unsigned fate = change.durable ? 3 : draw() % 4;
      if (!change.durable && lost()) continue;
      if (fate == 0 && change.kind == Change::kWrite) {
        apply_torn(bytes, change, torn_mode, draw);
      } else {
        apply(bytes, change);
      }
    }
    left->inodes_.push_back({bytes, bytes, {}});
  }
  return left;
}

void MemoryFileSystem::kill() noexcept {
  const std::lock_guard<std::mutex> lock(mutex_);
  handles_.clear();
  locked_.clear();
  fault = {};
}

uint64_t MemoryFileSystem::digest() const {
  uint64_t digest = 0;
  const auto add = [&](uint64_t word) { digest = std::rotl(digest ^ word, 23) * 0x9E3779B97F4A7C15u; };
  for (const auto& [path, inode] : names_) {
    for (const char c : path) add(static_cast<uint8_t>(c));
    const std::vector<uint8_t>& bytes = inodes_[inode].seen;
    add(bytes.size());
    for (size_t i = 0; i < bytes.size(); i += 8) {
      uint64_t word = 0;
      std::memcpy(&word, bytes.data() + i, std::min<size_t>(8, bytes.size() - i));
      if (word != 0) add(word + i);
    }
  }
  return digest;
}

std::vector<uint8_t>& MemoryFileSystem::bytes(const std::string& path) {
  static std::vector<uint8_t> none;
  return find(path) == kNowhere ? none : inodes_[find(path)].seen;
}

void MemoryFileSystem::put(const std::string& path, std::vector<uint8_t> bytes) {
  names_[path] = durable_names_[path] = inodes_.size();
  inodes_.push_back({bytes, bytes, {}});
}

}  // namespace pyledger::journal
