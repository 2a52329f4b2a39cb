#include "journal/snapshot_file.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <set>

#include "hash/sha256.h"
#include "journal/scan.h"
#include "merkle/root.h"
#include "parallel/pool.h"

namespace pyledger::journal {
namespace {

constexpr char kMagic[8] = {'P', 'L', 'S', 'N', 'A', 'P', 'S', '\0'};
constexpr uint16_t kSnapshotVersion = 1;
constexpr size_t kPieceBytes = size_t{8} << 20;
constexpr size_t kTaskBytes = size_t{1} << 20;
constexpr const char* kPartSuffix = ".snapshot.part";

struct HeaderBytes {
  char magic[8];
  uint16_t version;
  uint8_t zero[6];
  uint64_t height;
  uint64_t sections;
  uint64_t file_bytes;
  Digest binding;
  Digest table_digest;
  uint8_t zero_too[8];
  std::array<uint8_t, 16> check;  // first half of SHA-256 of the bytes before
};
static_assert(sizeof(HeaderBytes) == kHeaderBytes);

struct EntryBytes {
  char name[kSectionNameBytesMax + 1];
  uint64_t offset;
  uint64_t size_bytes;
  Digest root;
  uint8_t zero[32];
};
static_assert(sizeof(EntryBytes) == 128);

bool is_name(std::string_view name) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-';
  };
  return !name.empty() && name.size() <= kSectionNameBytesMax && std::ranges::all_of(name, allowed);
}

std::array<uint8_t, 16> check_of(const HeaderBytes& header) {
  Digest digest;
  hash::sha256(reinterpret_cast<const uint8_t*>(&header), offsetof(HeaderBytes, check), digest.data());
  std::array<uint8_t, 16> check;
  std::copy_n(digest.begin(), check.size(), check.begin());
  return check;
}

uint64_t table_bytes(size_t sections) { return to_pages(sections * sizeof(EntryBytes)); }

// Entries without their roots: sections follow the table and each other, each at a page.
std::vector<EntryBytes> lay_out(std::span<const SectionSize> sections) {
  std::vector<EntryBytes> entries(sections.size());
  std::set<std::string_view> names;
  uint64_t offset = kPageBytes + table_bytes(sections.size());
  for (size_t i = 0; i < sections.size(); i++) {
    const SectionSize& section = sections[i];
    if (!is_name(section.name)) throw StorageFailure("snapshot: '" + section.name + "' can't name a section");
    if (!names.insert(section.name).second) throw StorageFailure("snapshot: two sections named " + section.name);
    std::memcpy(entries[i].name, section.name.data(), section.name.size());
    entries[i].offset = offset;
    entries[i].size_bytes = section.size_bytes;
    offset += to_pages(section.size_bytes);
  }
  if (sections.size() > kSectionsMax) {
    throw StorageFailure("snapshot: expected at most " + std::to_string(kSectionsMax) + " sections");
  }
  return entries;
}

uint64_t file_bytes(const std::vector<EntryBytes>& entries) {
  if (entries.empty()) return kPageBytes + table_bytes(0);
  return entries.back().offset + to_pages(entries.back().size_bytes);
}

// A new file under a name that no reader looks at; gone again unless it is renamed.
class PartFile {
 public:
  PartFile(FileSystem& files, const std::string& folder, uint64_t height)
      : files_(files), path_(folder + "/" + numbered_name(height, kPartSuffix)) {
    for (const std::string& name : files.list(folder)) {
      if (height_of_name(name, kPartSuffix)) files.remove(folder + "/" + name);
    }
    plain_ = File(files, files.open(path_, OpenMode::kCreate, false));
    try {
      direct_ = File(files, files.open(path_, OpenMode::kWrite, true));
    } catch (const FileError& error) {
      if (error.code != EINVAL) throw;
    }
  }
  ~PartFile() {
    if (renamed_) return;
    try {
      files_.remove(path_);
    } catch (const FileError&) {  // the next snapshot removes it
    }
  }

  void allocate(uint64_t size_bytes) { files_.allocate(plain_.number(), 0, size_bytes); }

  // Pages from page-aligned memory.
  void write(const uint8_t* data, size_t size_bytes, uint64_t offset) {
    const Part part{data, size_bytes};
    try {
      write_all(files_, direct_ ? direct_.number() : plain_.number(), {&part, 1}, offset);
    } catch (const FileError& error) {
      if (!direct_ || error.code != EINVAL) throw;
      direct_.reset();
      write_all(files_, plain_.number(), {&part, 1}, offset);
    }
  }

  void make_durable_as(const std::string& path, const std::string& folder) {
    files_.sync(plain_.number());
    files_.rename(path_, path);
    renamed_ = true;
    files_.sync_folder(folder);
  }

 private:
  FileSystem& files_;
  std::string path_;
  File plain_, direct_;
  bool renamed_ = false;
};

void write_head(PartFile& file, const SnapshotHeader& header, const std::vector<EntryBytes>& entries) {
  const size_t size_bytes = kPageBytes + table_bytes(entries.size());
  AlignedBuffer head(size_bytes);
  std::memset(head.data(), 0, size_bytes);
  uint8_t* table = head.data() + kPageBytes;
  if (!entries.empty()) std::memcpy(table, entries.data(), entries.size() * sizeof(EntryBytes));
  HeaderBytes bytes{};
  std::memcpy(bytes.magic, kMagic, sizeof bytes.magic);
  bytes.version = kSnapshotVersion;
  bytes.height = header.height;
  bytes.sections = entries.size();
  bytes.file_bytes = file_bytes(entries);
  bytes.binding = header.binding;
  hash::sha256(table, entries.size() * sizeof(EntryBytes), bytes.table_digest.data());
  bytes.check = check_of(bytes);
  std::memcpy(head.data(), &bytes, sizeof bytes);
  file.write(head.data(), size_bytes, 0);
}

std::vector<uint64_t> list_snapshots(FileSystem& files, const std::string& folder) {
  std::vector<uint64_t> heights;
  for (const std::string& name : files.list(folder)) {
    if (const auto height = height_of_name(name, kSnapshotSuffix)) heights.push_back(*height);
  }
  std::ranges::sort(heights, std::greater());
  return heights;
}

std::string path_of(const std::string& folder, uint64_t height) {
  return folder + "/" + numbered_name(height, kSnapshotSuffix);
}

// Reading -------------------------------------------------------------------------------------------------------------

[[noreturn]] void refuse(const std::string& path, const std::string& what) { throw Corruption(path + ": " + what); }

std::vector<uint8_t> read_bytes(FileSystem& files, const File& file, const std::string& path, uint64_t offset,
                                size_t size_bytes) {
  std::vector<uint8_t> bytes(size_bytes);
  if (files.read(file.number(), bytes.data(), size_bytes, offset) != size_bytes) refuse(path, "ends too early");
  return bytes;
}

HeaderBytes read_header(FileSystem& files, const File& file, const std::string& path) {
  const std::vector<uint8_t> page = read_bytes(files, file, path, 0, kPageBytes);
  HeaderBytes bytes;
  std::memcpy(&bytes, page.data(), sizeof bytes);
  const bool whole = std::memcmp(bytes.magic, kMagic, sizeof bytes.magic) == 0 && bytes.version == kSnapshotVersion &&
                     all_zero(bytes.zero) && all_zero(bytes.zero_too) && bytes.check == check_of(bytes) &&
                     all_zero(std::span(page).subspan(sizeof bytes)) && bytes.sections <= kSectionsMax;
  if (!whole) refuse(path, "the header of a snapshot is corrupt");
  if (bytes.file_bytes != files.size(file.number())) refuse(path, "does not have the size that its header says");
  return bytes;
}

std::vector<EntryBytes> read_table(FileSystem& files, const File& file, const std::string& path,
                                   const HeaderBytes& header) {
  const size_t used = header.sections * sizeof(EntryBytes);
  const std::vector<uint8_t> table = read_bytes(files, file, path, kPageBytes, table_bytes(header.sections));
  Digest digest;
  hash::sha256(table.data(), used, digest.data());
  if (digest != header.table_digest || !all_zero(std::span(table).subspan(used))) {
    refuse(path, "the table of a snapshot is corrupt");
  }
  std::vector<EntryBytes> entries(header.sections);
  if (used != 0) std::memcpy(entries.data(), table.data(), used);
  return entries;
}

// The one layout that a writer makes: a table that says anything else was not written by one, whatever its digest.
std::vector<Section> read_layout(const std::string& path, const std::vector<EntryBytes>& entries, uint64_t size) {
  std::vector<Section> sections;
  std::set<std::string_view> names;
  uint64_t offset = kPageBytes + table_bytes(entries.size());
  for (const EntryBytes& entry : entries) {
    const size_t length = strnlen(entry.name, sizeof entry.name);
    const std::string_view name(entry.name, length);
    const std::span<const char> rest(entry.name + length, sizeof entry.name - length);
    const bool fits = is_name(name) && names.insert(name).second &&
                      std::ranges::all_of(rest, [](char c) { return !c; }) && all_zero(entry.zero) &&
                      entry.offset == offset && entry.size_bytes <= size - offset;
    if (!fits || to_pages(entry.size_bytes) > size - offset) refuse(path, "the table of a snapshot is not possible");
    offset += to_pages(entry.size_bytes);
    sections.push_back({std::string(name), {}});
  }
  if (offset != size) refuse(path, "the table of a snapshot does not cover the file");
  return sections;
}

bool section_is_whole(FileSystem& files, const File& file, const EntryBytes& entry, unsigned threads) {
  const uint64_t padded = to_pages(entry.size_bytes);
  const size_t chunks = (entry.size_bytes + kChunkBytes - 1) / kChunkBytes;
  std::vector<uint8_t> hashes(merkle::kDigestBytes * chunks);
  std::atomic<bool> whole{true};
  auto check = [&](size_t task) {
    static thread_local AlignedBuffer buffer(kTaskBytes);
    const uint64_t first = task * kTaskBytes;
    const size_t wanted = std::min<uint64_t>(kTaskBytes, padded - first);
    const size_t size_bytes = std::min<uint64_t>(wanted, entry.size_bytes - first);
    if (files.read(file.number(), buffer.data(), wanted, entry.offset + first) != wanted ||
        !all_zero({buffer.data() + size_bytes, wanted - size_bytes})) {
      whole = false;
      return;
    }
    uint8_t* out = hashes.data() + merkle::kDigestBytes * (first / kChunkBytes);
    const size_t full = size_bytes / kChunkBytes, rest = size_bytes % kChunkBytes;
    merkle::leaf_hashes(buffer.data(), kChunkBytes, full, 1, out);
    if (rest == 0) return;
    const Digest last = merkle::leaf_hash(buffer.data() + kChunkBytes * full, rest);
    std::memcpy(out + merkle::kDigestBytes * full, last.data(), last.size());
  };
  parallel::run(threads, (padded + kTaskBytes - 1) / kTaskBytes, check);
  return whole && merkle::root_of_leaf_hashes(hashes.data(), chunks, threads) == entry.root;
}

}  // namespace

struct SnapshotWriter::Draft {
  struct Progress {
    uint64_t done_bytes = 0;
    std::vector<uint8_t> chunk_hashes;
  };

  FileSystem& files;
  std::string folder;
  SnapshotHeader header;
  unsigned threads;
  std::vector<EntryBytes> entries;
  std::vector<Progress> progress;
  PartFile file;
  AlignedBuffer piece;

  uint64_t missing_bytes(size_t section) const { return entries[section].size_bytes - progress[section].done_bytes; }
  void write(uint64_t offset, std::span<const uint8_t> bytes);
  void hash(std::span<const uint8_t> bytes, std::vector<uint8_t>& hashes) const;
};

void SnapshotWriter::Draft::write(uint64_t offset, std::span<const uint8_t> bytes) {
  for (size_t done = 0; done < bytes.size(); done += kPieceBytes) {
    const size_t size_bytes = std::min(kPieceBytes, bytes.size() - done);
    std::memcpy(piece.data(), bytes.data() + done, size_bytes);
    std::memset(piece.data() + size_bytes, 0, to_pages(size_bytes) - size_bytes);
    file.write(piece.data(), to_pages(size_bytes), offset + done);
  }
}

void SnapshotWriter::Draft::hash(std::span<const uint8_t> bytes, std::vector<uint8_t>& hashes) const {
  const size_t chunks = bytes.size() / kChunkBytes, rest = bytes.size() % kChunkBytes, before = hashes.size();
  hashes.resize(before + merkle::kDigestBytes * (chunks + (rest != 0)));
  merkle::leaf_hashes(bytes.data(), kChunkBytes, chunks, threads, hashes.data() + before);
  if (rest == 0) return;
  const Digest last = merkle::leaf_hash(bytes.data() + kChunkBytes * chunks, rest);
  std::ranges::copy(last, hashes.end() - merkle::kDigestBytes);
}

SnapshotWriter::SnapshotWriter(FileSystem& files, std::string folder, const SnapshotHeader& header,
                               std::span<const SectionSize> sections, unsigned threads) {
  std::vector<EntryBytes> entries = lay_out(sections);
  const uint64_t size_bytes = file_bytes(entries);
  draft_.reset(new Draft{files, folder, header, threads, std::move(entries),
                         std::vector<Draft::Progress>(sections.size()), PartFile(files, folder, header.height),
                         AlignedBuffer(std::min<uint64_t>(kPieceBytes, size_bytes))});
  draft_->file.allocate(size_bytes);
}

SnapshotWriter::~SnapshotWriter() = default;

void SnapshotWriter::append(size_t section, std::span<const uint8_t> bytes) {
  Draft::Progress& progress = draft_->progress.at(section);
  const uint64_t missing = draft_->missing_bytes(section);
  if (bytes.size() > missing || (bytes.size() < missing && bytes.size() % kPageBytes != 0)) {
    throw StorageFailure("snapshot: " + std::string(draft_->entries[section].name) + ": expected whole pages of the " +
                         std::to_string(missing) + " bytes that are missing, got " + std::to_string(bytes.size()));
  }
  draft_->write(draft_->entries[section].offset + progress.done_bytes, bytes);
  draft_->hash(bytes, progress.chunk_hashes);
  progress.done_bytes += bytes.size();
}

void SnapshotWriter::finish() {
  Draft& draft = *draft_;
  for (size_t i = 0; i < draft.entries.size(); i++) {
    if (const uint64_t missing = draft.missing_bytes(i); missing != 0) {
      throw StorageFailure("snapshot: " + std::string(draft.entries[i].name) + ": " + std::to_string(missing) +
                           " bytes are missing");
    }
    const std::vector<uint8_t>& hashes = draft.progress[i].chunk_hashes;
    draft.entries[i].root =
        merkle::root_of_leaf_hashes(hashes.data(), hashes.size() / merkle::kDigestBytes, draft.threads);
  }
  write_head(draft.file, draft.header, draft.entries);
  draft.file.make_durable_as(path_of(draft.folder, draft.header.height), draft.folder);
  size_t kept = 0;
  for (const uint64_t height : list_snapshots(draft.files, draft.folder)) {
    if (height == draft.header.height || ++kept < kSnapshotsKept) continue;
    draft.files.remove(path_of(draft.folder, height));
  }
}

void write_snapshot(FileSystem& files, const std::string& folder, const SnapshotHeader& header,
                    std::span<const Section> sections, unsigned threads) {
  std::vector<SectionSize> sizes;
  for (const Section& section : sections) sizes.push_back({section.name, section.bytes.size()});
  SnapshotWriter writer(files, folder, header, sizes, threads);
  for (size_t i = 0; i < sections.size(); i++) writer.append(i, sections[i].bytes);
  writer.finish();
}

Snapshot read_snapshot(FileSystem& files, const std::string& path, unsigned threads) {
  const File file(files, files.open(path, OpenMode::kRead, false));
  const HeaderBytes header = read_header(files, file, path);
  const std::vector<EntryBytes> entries = read_table(files, file, path, header);
  Snapshot snapshot{path, {header.height, header.binding}, read_layout(path, entries, header.file_bytes), nullptr};
  for (size_t i = 0; i < entries.size(); i++) {
    if (!section_is_whole(files, file, entries[i], threads)) {
      refuse(path, "section " + snapshot.sections[i].name + " is corrupt");
    }
  }
  snapshot.mapping = files.map(file.number());
  const std::span<const uint8_t> bytes = snapshot.mapping->bytes();
  if (bytes.size() != header.file_bytes) refuse(path, "changed while it was read");
  for (size_t i = 0; i < entries.size(); i++) {
    snapshot.sections[i].bytes = bytes.subspan(entries[i].offset, entries[i].size_bytes);
  }
  return snapshot;
}

FoundSnapshot find_snapshot(FileSystem& files, const std::string& folder, uint64_t height_max, unsigned threads) {
  FoundSnapshot found;
  for (const uint64_t height : list_snapshots(files, folder)) {
    if (height > height_max) continue;
    try {
      found.newest = read_snapshot(files, path_of(folder, height), threads);
      if (found.newest->header.height == height) return found;
      found.damaged.push_back(found.newest->path + ": is of height " + std::to_string(found.newest->header.height));
      found.newest.reset();
    } catch (const Corruption& error) {
      found.damaged.push_back(error.what());
    } catch (const FileError& error) {
      found.damaged.push_back(error.what());
    }
  }
  return found;
}

}  // namespace pyledger::journal
