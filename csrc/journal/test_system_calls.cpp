// The real file system under the journal: it makes the system calls that the file system in memory takes it to make, in
// the same order, and tells of each that fails. The crash states are drawn from the one in memory, so what they show
// holds for the real one by this.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <stdlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <string>

#include "journal/journal.h"
#include "journal/memory_file_system.h"
#include "journal/snapshot_file.h"
#include "journal/system_calls.h"

using namespace pyledger::journal;

template <>
struct doctest::StringMaker<std::vector<std::string>> {
  static String convert(const std::vector<std::string>& lines) {
    std::string text;
    for (const std::string& line : lines) text += "\n    " + line;
    return text.c_str();
  }
};

namespace {

constexpr Digest kGenesis{7};
using Lines = std::vector<std::string>;
using Bytes = std::vector<uint8_t>;

// An empty folder, and system calls that nothing is wrong with.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    system_calls().start();
    std::string pattern = (std::filesystem::temp_directory_path() / "journal-XXXXXX").string();
    REQUIRE(mkdtemp(pattern.data()) != nullptr);
    path = pattern;
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path); }

  std::string first_segment() const { return path + "/000000000001.blocks"; }
  Bytes bytes(const std::string& name) const {
    std::ifstream file(path + "/" + name, std::ios::binary);
    return Bytes(std::istreambuf_iterator<char>(file), {});
  }
  std::string path;
};

// Writes down what it is asked for, in the words of the system calls.
class Recording : public MemoryFileSystem {
 public:
  int open(const std::string& path, OpenMode mode, bool direct) override {
    const int file = MemoryFileSystem::open(path, mode, direct);
    paths_[file] = path;
    if (mode != OpenMode::kRead) done.push_back(words::open(path, mode == OpenMode::kCreate, direct));
    return file;
  }
  size_t write(int file, std::span<const Part> parts, uint64_t offset) override {
    const size_t written = MemoryFileSystem::write(file, parts, offset);
    done.push_back(words::write(paths_[file], offset, written));
    return written;
  }
  void sync_data(int file) override {
    MemoryFileSystem::sync_data(file);
    done.push_back("sync_data " + paths_[file]);
  }
  void sync(int file) override {
    MemoryFileSystem::sync(file);
    done.push_back("sync " + paths_[file]);
  }
  void truncate(int file, uint64_t size) override {
    MemoryFileSystem::truncate(file, size);
    done.push_back(words::truncate(paths_[file], size));
  }
  bool allocate(int file, uint64_t offset, uint64_t size_bytes) override {
    const bool there = MemoryFileSystem::allocate(file, offset, size_bytes);
    if (there) done.push_back(words::allocate(paths_[file], offset, size_bytes));
    return there;
  }
  void rename(const std::string& from, const std::string& to) override {
    MemoryFileSystem::rename(from, to);
    done.push_back(words::rename(from, to));
  }
  void remove(const std::string& path) override {
    MemoryFileSystem::remove(path);
    done.push_back("remove " + path);
  }
  void sync_folder(const std::string& path) override {
    MemoryFileSystem::sync_folder(path);
    done.push_back("sync_folder " + path);
  }
  int lock(const std::string& path) override {
    const int file = MemoryFileSystem::lock(path);
    if (file >= 0) done.push_back("lock " + path);
    return file;
  }

  Lines done;

 private:
  std::map<int, std::string> paths_;
};

// What a caller does with a file system, and where it notes what it was told is durable.
using Tell = std::function<void(const std::string&)>;
using Scenario = std::function<void(FileSystem& files, const std::string& folder, const Tell& tell)>;
using Files = std::map<std::string, Bytes>;

// The one in memory takes O_DIRECT and makes room if the disk under the folder does.
void make_alike(Recording& files, const TemporaryFolder& folder) {
  FileSystem& real = posix_file_system();
  const std::string probe = folder.path + "/probe";
  const File file(real, real.open(probe, OpenMode::kCreate, false));
  files.has_room_to_allocate = real.allocate(file.number(), 0, kPageBytes);
  try {
    const File direct(real, real.open(probe, OpenMode::kWrite, true));
  } catch (const FileError& error) {
    REQUIRE(error.code == EINVAL);
    files.takes_direct = false;
  }
  real.remove(probe);
}

// Plays it on the disk and in memory, beginning with the same files, and gives what was done, the same in both.
Lines play(const Scenario& scenario, const Files& before = {}) {
  const TemporaryFolder folder;
  Recording memory;
  make_alike(memory, folder);
  for (const auto& [name, bytes] : before) {
    memory.put(folder.path + "/" + name, bytes);
    std::ofstream(folder.path + "/" + name, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  }
  scenario(memory, folder.path, [&](const std::string& line) { memory.done.push_back(line); });
  system_calls().start();
  scenario(posix_file_system(), folder.path, [](const std::string& line) { system_calls().add(line); });
  CHECK(system_calls().done() == memory.done);
  Lines lines;
  for (std::string line : memory.done) {
    for (size_t at; (at = line.find(folder.path)) != std::string::npos;) line.replace(at, folder.path.size(), "F");
    lines.push_back(line);
  }
  return lines;
}

Lines tail(const Lines& lines, size_t count) {
  REQUIRE(lines.size() >= count);
  return Lines(lines.end() - static_cast<std::ptrdiff_t>(count), lines.end());
}

JournalOptions foreground(uint64_t segment_pages = 16) {
  JournalOptions options;
  options.background = false;
  options.segment_bytes = segment_pages * kPageBytes;
  options.scan.threads = 1;
  return options;
}

void submit(Journal& journal, const std::string& payload) {
  const Part part{reinterpret_cast<const uint8_t*>(payload.data()), payload.size()};
  journal.submit(journal.submitted_height() + 1, {&part, 1});
}

void post(Journal& journal, unsigned blocks, const Tell& tell) {
  for (unsigned i = 0; i < blocks; i++) submit(journal, "block");
  journal.wait(journal.submitted_height());
  tell("told " + std::to_string(journal.durable_height()));
}

std::string read(const Journal& journal, uint64_t height) {
  std::string payload(journal.payload_bytes(height), '\0');
  journal.read(height, reinterpret_cast<uint8_t*>(payload.data()));
  return payload;
}

void write_rows(FileSystem& files, const std::string& folder, uint64_t height) {
  const Bytes rows(9000, static_cast<uint8_t>(height));
  const std::vector<Section> sections{{"rows", rows}};
  write_snapshot(files, folder, {height, kGenesis}, sections, 1);
}

// What a killed writer of a group of three leaves, with the second block's header gone.
Files torn_journal() {
  MemoryFileSystem files;
  {
    Journal journal(files, "j", kGenesis, foreground());
    post(journal, 3, [](const std::string&) {});
    files.fault = {Fault::kKill, files.calls, 0};
  }
  files.kill();
  Bytes bytes = files.bytes("j/000000000001.blocks");
  bytes[2 * kPageBytes]++;
  return {{"000000000001.blocks", bytes}};
}

}  // namespace

TEST_CASE("a group is written, synced and only then told of, on a disk as in memory") {
  const Lines lines = play([](FileSystem& files, const std::string& folder, const Tell& tell) {
    Journal journal(files, folder, kGenesis, foreground());
    post(journal, 1, tell);
    post(journal, 5, tell);
  });
  CHECK(tail(lines, 7) == Lines{"write F/000000000001.blocks at 8192, bytes: 20480", "sync_data F/000000000001.blocks",
                                "told 6", "write F/000000000001.blocks at 28672, bytes: 4096",
                                "sync_data F/000000000001.blocks", "truncate F/000000000001.blocks to 32768",
                                "sync F/000000000001.blocks"});
}

TEST_CASE("a full segment is sealed, and the next one's header and name are durable before its blocks") {
  const Lines lines = play([](FileSystem& files, const std::string& folder, const Tell& tell) {
    Journal journal(files, folder, kGenesis, foreground(2));
    post(journal, 1, tell);
    tell("roll");
    post(journal, 1, tell);
  });
  const auto roll = std::ranges::find(lines, "roll");
  REQUIRE(lines.end() - roll > 6);
  CHECK(Lines(roll + 1, roll + 7) ==
        Lines{"truncate F/000000000001.blocks to 8192", "sync F/000000000001.blocks", "create F/000000000002.blocks",
              "write F/000000000002.blocks at 0, bytes: 4096", "sync F/000000000002.blocks", "sync_folder F"});
}

TEST_CASE("a torn tail is cut, and what is kept is written and synced again") {
  const Lines lines = play(
      [](FileSystem& files, const std::string& folder, const Tell& tell) {
        const Journal journal(files, folder, kGenesis, foreground());
        tell("opened at " + std::to_string(journal.height()));
      },
      torn_journal());
  REQUIRE(lines.size() > 6);
  CHECK(Lines(lines.begin(), lines.begin() + 2) == Lines{"lock F/lock", "sync_folder F"});
  CHECK(Lines(lines.begin() + 3, lines.begin() + 8) ==
        Lines{"truncate F/000000000001.blocks to 8192", "sync F/000000000001.blocks",
              "write F/000000000001.blocks at 0, bytes: 8192", "sync_data F/000000000001.blocks", "opened at 1"});
}

TEST_CASE("a segment that was never begun is removed, and its name for good") {
  const Lines lines = play([](FileSystem& files, const std::string& folder,
                              const Tell&) { const Journal journal(files, folder, kGenesis, foreground()); },
                           {{"000000000001.blocks", Bytes(kPageBytes)}});
  CHECK(lines == Lines{"lock F/lock", "sync_folder F", "remove F/000000000001.blocks", "sync_folder F"});
}

TEST_CASE("a snapshot is synced, renamed, its name synced, and only then an old one removed") {
  const Lines lines = play([](FileSystem& files, const std::string& folder, const Tell& tell) {
    for (const uint64_t height : {1, 2}) write_rows(files, folder, height);
    tell("third");
    write_rows(files, folder, 3);
    tell("durable");
  });
  CHECK(tail(lines, 5) == Lines{"sync F/000000000003.snapshot.part",
                                "rename F/000000000003.snapshot.part to F/000000000003.snapshot", "sync_folder F",
                                "remove F/000000000001.snapshot", "durable"});
  CHECK(std::ranges::count(lines, "sync_folder F") == 3);
}

TEST_CASE("a call that a signal interrupts is made again") {
  for (const char* call : {"open", "pread", "pwritev", "fdatasync", "fsync", "ftruncate", "fallocate", "flock"}) {
    CAPTURE(call);
    const TemporaryFolder folder;
    std::vector<Lines> done;
    for (const unsigned times : {0, 2}) {  // and nothing else is done than without
      std::filesystem::remove_all(folder.path);
      std::filesystem::create_directory(folder.path);
      system_calls().start();
      system_calls().fail(call, EINTR, times);
      {
        Journal journal(posix_file_system(), folder.path, kGenesis, foreground());
        post(journal, 2, [](const std::string&) {});
        CHECK(read(journal, 2) == "block");
      }
      CHECK(system_calls().struck() == times);
      done.push_back(system_calls().done());
    }
    CHECK(done[0] == done[1]);
  }
}

TEST_CASE("the sync of a folder that a signal interrupts is made again") {
  const TemporaryFolder folder;
  system_calls().start();
  system_calls().fail("fsync", EINTR, 2);
  posix_file_system().sync_folder(folder.path);
  CHECK(system_calls().done() == Lines{"sync_folder " + folder.path});
}

TEST_CASE("a short write goes on where it ended and a short read is read on") {
  const TemporaryFolder folder;
  const std::string payload = std::string(5000, 'a') + std::string(5000, 'b');
  Journal journal(posix_file_system(), folder.path, kGenesis, foreground());
  submit(journal, payload);
  journal.wait(1);
  system_calls().start();
  system_calls().shorten("pwritev", kPageBytes);
  submit(journal, payload);
  journal.wait(2);
  const std::string path = folder.first_segment();
  CHECK(system_calls().struck() == 1);
  CHECK(system_calls().done() ==
        Lines{words::write(path, 16384, 4096), words::write(path, 20480, 8192), "sync_data " + path});
  system_calls().shorten("pread", 100);
  CHECK(read(journal, 2) == payload);
  CHECK(system_calls().struck() == 2);
}

TEST_CASE("a write of nothing is a full disk, and not tried for ever") {
  const TemporaryFolder folder;
  Journal journal(posix_file_system(), folder.path, kGenesis, foreground());
  post(journal, 1, [](const std::string&) {});
  system_calls().start();
  system_calls().shorten("pwritev", 0);
  submit(journal, "block");
  CHECK_THROWS_WITH_AS(journal.wait(2), doctest::Contains(strerror(ENOSPC)), StorageFailure);
}

TEST_CASE("more parts than a call takes are written in several, and no call is given more than it takes") {
  const TemporaryFolder folder;
  FileSystem& files = posix_file_system();
  const File file(files, files.open(folder.path + "/file", OpenMode::kCreate, false));
  Bytes bytes(1000);
  for (size_t i = 0; i < bytes.size(); i++) bytes[i] = static_cast<uint8_t>(i * 7 >> 2);
  std::vector<Part> parts;
  for (const uint8_t& byte : bytes) parts.push_back({&byte, 1});
  write_all(files, file.number(), parts, 0);
  CHECK(folder.bytes("file") == bytes);

  const Bytes large(size_t{64} << 20);
  system_calls().start();
  system_calls().pretend_to_write();
  write_all(files, file.number(), std::vector<Part>(40, Part{large.data(), large.size()}), 0);
  const std::string path = folder.path + "/file";
  constexpr uint64_t kGibibyte = uint64_t{1} << 30;
  CHECK(system_calls().done() == Lines{words::write(path, 0, kGibibyte), words::write(path, kGibibyte, kGibibyte),
                                       words::write(path, 2 * kGibibyte, kGibibyte / 2)});
  system_calls().start();
}

TEST_CASE("after a call that failed the journal takes nothing more and makes no more calls") {
  for (const bool rolls : {false, true}) {
    const Lines calls = rolls ? Lines{"ftruncate", "fsync", "open", "pwritev", "fallocate", "fdatasync"}
                              : Lines{"pwritev", "fdatasync"};
    for (const std::string& call : calls) {
      CAPTURE(call);
      const TemporaryFolder folder;
      const JournalOptions options = foreground(rolls ? 2 : 16);
      {
        Journal journal(posix_file_system(), folder.path, kGenesis, options);
        post(journal, 1, [](const std::string&) {});
        system_calls().start();
        system_calls().fail(call.c_str(), EIO);
        submit(journal, "second");
        const std::string message = folder.path + ": could not write block 2: " + strerror(EIO);
        CHECK_THROWS_WITH_AS(journal.wait(2), message.c_str(), StorageFailure);
        CHECK(system_calls().struck() == 1);
        system_calls().start();
        CHECK_THROWS_AS(journal.wait(2), StorageFailure);
        CHECK_THROWS_AS(submit(journal, "second"), StorageFailure);
        CHECK(journal.durable_height() == 1);
      }
      CHECK(system_calls().done() == Lines{});
      CHECK(read(Journal(posix_file_system(), folder.path, kGenesis, options), 1) == "block");
    }
  }
}

TEST_CASE("a snapshot that could not be made durable is told of and removes no other") {
  for (const std::string call : {"open", "fallocate", "pwritev", "fsync", "rename"}) {
    CAPTURE(call);
    const TemporaryFolder folder;
    for (const uint64_t height : {1, 2}) write_rows(posix_file_system(), folder.path, height);
    system_calls().start();
    system_calls().fail(call.c_str(), EIO);
    CHECK_THROWS_AS(write_rows(posix_file_system(), folder.path, 3), FileError);
    CHECK(system_calls().struck() == 1);
    const Lines names = posix_file_system().list(folder.path);
    for (const char* kept : {"000000000001.snapshot", "000000000002.snapshot"}) {
      CHECK(std::ranges::find(names, kept) != names.end());
    }
    CHECK(names.size() == 2 + 2);  // with . and ..
  }
}

TEST_CASE("an error names its file, and its code is the system's") {
  const TemporaryFolder folder;
  FileSystem& files = posix_file_system();
  const std::string path = folder.path + "/file";
  const File file(files, files.open(path, OpenMode::kCreate, false));
  const std::vector<std::pair<const char*, std::function<void()>>> calls{
      {"fdatasync", [&] { files.sync_data(file.number()); }},
      {"fsync", [&] { files.sync(file.number()); }},
      {"ftruncate", [&] { files.truncate(file.number(), 0); }},
      {"fallocate", [&] { files.allocate(file.number(), 0, kPageBytes); }},
      {"pread",
       [&] {
         uint8_t byte;
         files.read(file.number(), &byte, 1, 0);
       }},
      {"rename", [&] { files.rename(path, path + "2"); }},
      {"unlink", [&] { files.remove(path); }},
      {"open", [&] { files.open(path, OpenMode::kCreate, false); }},
      {"flock", [&] { files.lock(path); }},
  };
  for (const auto& [name, call] : calls) {
    CAPTURE(name);
    system_calls().start();
    system_calls().fail(name, EIO);
    CHECK_THROWS_WITH_AS(call(), (path + ": " + strerror(EIO)).c_str(), FileError);
  }
  system_calls().start();
  system_calls().fail("fsync", EIO);
  CHECK_THROWS_WITH_AS(files.sync_folder(folder.path), (folder.path + ": " + strerror(EIO)).c_str(), FileError);
  CHECK_THROWS_AS(files.sync_folder(path), FileError);                     // is no folder
  CHECK_THROWS_AS(files.open(path, OpenMode::kCreate, false), FileError);  // is there already
}

TEST_CASE("where there is no room to allocate, files grow") {
  const TemporaryFolder folder;
  for (const int code : {ENOSPC, EDQUOT, EFBIG, EOPNOTSUPP, ENOSYS, EINVAL}) {
    std::filesystem::remove_all(folder.path);
    std::filesystem::create_directory(folder.path);
    system_calls().start();
    system_calls().fail("fallocate", code);
    Journal journal(posix_file_system(), folder.path, kGenesis, foreground());
    post(journal, 2, [](const std::string&) {});
    CHECK(system_calls().struck() == 1);
    CHECK(folder.bytes("000000000001.blocks").size() == 3 * kPageBytes);
  }
}

TEST_CASE("a lock that another one holds is not given") {
  const TemporaryFolder folder;
  FileSystem& files = posix_file_system();
  const std::string path = folder.path + "/lock";
  {
    const File held(files, files.lock(path));
    CHECK(files.lock(path) == -1);
  }
  CHECK(File(files, files.lock(path)).number() >= 0);
}
