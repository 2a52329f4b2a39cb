// Snapshots: named arrays of bytes as they were at one height, each with its digest, in one file that is either whole
// and durable or not there. docs/journal-format.md gives the bytes.
//
// A snapshot is written to a file of another name, synced, renamed, and the folder synced; only then is all but the two
// newest removed. Reading takes the newest whole one and names the damaged ones that it passed over.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "journal/file_system.h"
#include "journal/format.h"

namespace pyledger::journal {

inline constexpr const char* kSnapshotSuffix = ".snapshot";
inline constexpr size_t kSectionNameBytesMax = 47;
inline constexpr size_t kSectionsMax = 4096;
inline constexpr size_t kSnapshotsKept = 2;

struct Section {
  std::string name;  // of a-z, 0-9, '_', '.', '-'
  std::span<const uint8_t> bytes;
};

struct SnapshotHeader {
  uint64_t height = 0;
  Digest binding{};  // what the snapshot is of, such as a block hash; the caller compares it
};

struct SectionSize {
  std::string name;
  uint64_t size_bytes;
};

// A snapshot in the making, which need never be in memory as a whole. Until finish() returns the older ones are as they
// were; a writer that goes before that leaves nothing.
class SnapshotWriter {
 public:
  // Throws StorageFailure for names that repeat or do not fit, FileError if there is no room.
  SnapshotWriter(FileSystem& files, std::string folder, const SnapshotHeader& header,
                 std::span<const SectionSize> sections, unsigned threads);
  ~SnapshotWriter();

  // The next bytes of a section, whole pages unless they are its last. Sections may be written in turn.
  void append(size_t section, std::span<const uint8_t> bytes);

  // Makes it durable under its name, then removes all but it and the newest other one. Throws StorageFailure if bytes
  // are missing, FileError if it could not be made durable.
  void finish();

 private:
  struct Draft;
  std::unique_ptr<Draft> draft_;
};

// The same in one call.
void write_snapshot(FileSystem& files, const std::string& folder, const SnapshotHeader& header,
                    std::span<const Section> sections, unsigned threads);

// A whole snapshot; the sections' bytes live as long as it does.
struct Snapshot {
  std::string path;
  SnapshotHeader header;
  std::vector<Section> sections;
  std::unique_ptr<Mapping> mapping;
};

// Throws Corruption if it is not whole; every byte is checked.
Snapshot read_snapshot(FileSystem& files, const std::string& path, unsigned threads);

struct FoundSnapshot {
  std::optional<Snapshot> newest;
  std::vector<std::string> damaged;  // what is wrong with newer ones
};

// The newest whole one of a height up to height_max.
FoundSnapshot find_snapshot(FileSystem& files, const std::string& folder, uint64_t height_max, unsigned threads);

}  // namespace pyledger::journal
