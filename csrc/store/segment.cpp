#include "store/segment.h"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstring>

#include "store/checksum.h"

namespace pyledger::store {

enum Column { kIds, kBuckets, kLinks, kFailed, kResolved, kExpiries, kColumns };

// Little-endian, as everything in the file; 256 bytes with zeros behind.
struct [[gnu::packed]] Segment::Header {
  char magic[8];
  uint32_t version;
  uint32_t level;
  uint64_t first;
  uint64_t count;
  uint64_t hash_check;
  uint64_t first_expiry;
  uint32_t bucket_bits;
  uint32_t zero;
  struct [[gnu::packed]] {
    uint64_t offset, bytes;
  } columns[kColumns];
  uint64_t checksums_offset;
  uint64_t checksums_checksum;
  uint64_t identity;  // checksum of all that stands before it
};

namespace {

constexpr char kMagic[8] = {'P', 'L', 'S', 'T', 'O', 'R', 'E', 0};
constexpr uint32_t kVersion = 1;
constexpr size_t kHeaderBytes = 256;
constexpr unsigned kTopBits = 8;  // of the key: what the entry doesn't hold
constexpr unsigned kBucketIdsLog2 = 5;
constexpr uint32_t kLevelMax = 20;
constexpr uint64_t kCountMax = (uint64_t{1} << 32) - 1;

unsigned bucket_bits_for(uint64_t count) {
  const unsigned bits = static_cast<unsigned>(std::bit_width(count >> kBucketIdsLog2));
  return std::clamp(bits, kTopBits, kKeyBits - kTopBits);
}

// Sorts by the upper 40 bits: a radix sort with digits of 8 bits, lowest first, which keeps the order of equal ones.
void sort_by_key(std::vector<uint64_t>& items) {
  std::vector<uint64_t> other(items.size());
  for (unsigned shift = 64 - kKeyBits; shift < 64; shift += 8) {
    size_t places[257] = {};
    for (const uint64_t item : items) places[(item >> shift & 255) + 1]++;
    for (int digit = 0; digit < 256; digit++) places[digit + 1] += places[digit];
    for (const uint64_t item : items) other[places[item >> shift & 255]++] = item;
    items.swap(other);
  }
}

u128 order_of(const FailedId& item) { return item.id; }
Position order_of(const Resolved& item) { return item.position; }

template <class T>
std::vector<T> sorted(std::vector<T> items) {
  std::sort(items.begin(), items.end(), [](const T& a, const T& b) { return order_of(a) < order_of(b); });
  return items;
}

// Both rising; writes the union, rising. Without branches on the data, which nobody could predict.
uint64_t* merge_rising(const uint64_t* a, const uint64_t* a_end, const uint64_t* b, const uint64_t* b_end,
                       uint64_t* out) {
  while (a != a_end && b != b_end) {
    const bool from_b = *b < *a;
    *out++ = from_b ? *b : *a;
    a += !from_b;
    b += from_b;
  }
  out = std::copy(a, a_end, out);
  return std::copy(b, b_end, out);
}

}  // namespace

std::string SegmentName::file_name() const {
  char name[64];
  std::snprintf(name, sizeof name, "%016llx-%08llx.segment", static_cast<unsigned long long>(first),
                static_cast<unsigned long long>(count));
  return name;
}

// Writes the columns one after the other, then the checksums, then the header.
class SegmentWriter {
 public:
  SegmentWriter(const std::string& folder, Position first, uint64_t count, uint32_t level, uint64_t hash_check)
      : folder_(folder), name_{first, count, 0, level}, file_(folder + "/" + name_.file_name(), kHeaderBytes) {
    std::memcpy(header_.magic, kMagic, sizeof kMagic);
    header_.version = kVersion;
    header_.level = level;
    header_.first = first;
    header_.count = count;
    header_.hash_check = hash_check;
    header_.bucket_bits = bucket_bits_for(count);
    buckets_.assign((size_t{1} << header_.bucket_bits) + 1, 0);
  }

  void begin(Column column) {
    header_.columns[column].offset = file_.size();
    column_ = column;
  }
  void append(const void* data, size_t bytes) {
    file_.append(data, bytes);
    header_.columns[column_].bytes += bytes;
  }
  template <class T>
  void append_column(Column column, const std::vector<T>& items) {
    begin(column);
    append(items.data(), items.size() * sizeof(T));
  }

  // Entries of keys that begin with `top`, sorted.
  void append_ids(uint64_t top, const std::vector<uint64_t>& entries) {
    const unsigned shift = kKeyBits - header_.bucket_bits;
    for (const uint64_t entry : entries) buckets_[((top << 32 | entry >> 32) >> shift) + 1]++;
    append(entries.data(), entries.size() * sizeof(uint64_t));
  }
  void append_buckets() {
    for (size_t i = 1; i < buckets_.size(); i++) buckets_[i] += buckets_[i - 1];
    append_column(kBuckets, buckets_);
  }
  void set_first_expiry(uint64_t number) { header_.first_expiry = number; }

  SegmentPointer finish() {
    const std::vector<uint64_t> checksums = file_.finish_checksums();
    header_.checksums_offset = file_.size();
    header_.checksums_checksum = checksum(checksums.data(), checksums.size() * sizeof(uint64_t));
    file_.append(checksums.data(), checksums.size() * sizeof(uint64_t));
    header_.identity = checksum(&header_, offsetof(Segment::Header, identity));
    uint8_t bytes[kHeaderBytes] = {};
    std::memcpy(bytes, &header_, sizeof header_);
    file_.finish(bytes, sizeof bytes);
    name_.identity = header_.identity;
    std::shared_ptr<Segment> segment(new Segment(folder_ + "/" + name_.file_name()));
    segment->read_header(folder_ + "/" + name_.file_name());
    return segment;
  }

 private:
  std::string folder_;
  SegmentName name_;
  FileWriter file_;
  Segment::Header header_{};
  std::vector<uint32_t> buckets_;
  Column column_ = kIds;
};

SegmentPointer Segment::open(const std::string& folder, const SegmentName& name) {
  const std::string path = folder + "/" + name.file_name();
  std::shared_ptr<Segment> segment;
  try {
    segment.reset(new Segment(path));
  } catch (const std::exception& error) {
    throw Damaged(error.what());
  }
  segment->read_header(path);
  if (segment->name_ != name) throw Damaged(path + ": another segment than expected");
  segment->check_content(path);
  segment->check_ids(path);
  return segment;
}

void Segment::read_header(const std::string& path) {
  const auto require = [&](bool holds) {
    if (!holds) throw Damaged(path + ": the header is not that of a segment");
  };
  Header header;
  require(file_.size() >= kHeaderBytes);
  std::memcpy(&header, file_.data(), sizeof header);
  const uint8_t* rest = file_.data() + sizeof header;
  require(std::all_of(rest, file_.data() + kHeaderBytes, [](uint8_t byte) { return byte == 0; }));
  require(std::memcmp(header.magic, kMagic, sizeof kMagic) == 0 && header.version == kVersion && header.zero == 0);
  require(header.identity == checksum(&header, offsetof(Header, identity)));
  require(header.count <= kCountMax && header.level <= kLevelMax &&
          header.bucket_bits == bucket_bits_for(header.count));
  uint64_t offset = kHeaderBytes;
  for (const auto& column : header.columns) {
    require(column.offset == offset && column.bytes <= file_.size() - offset);
    offset += column.bytes;
  }
  const uint64_t chunks = (offset - kHeaderBytes + FileWriter::kChunkBytes - 1) / FileWriter::kChunkBytes;
  require(header.checksums_offset == offset && file_.size() - offset == chunks * sizeof(uint64_t));
  const auto column = [&]<class T>(Column which, const T*& items, uint64_t& count) {
    require(header.columns[which].bytes % sizeof(T) == 0);
    items = reinterpret_cast<const T*>(file_.data() + header.columns[which].offset);
    count = header.columns[which].bytes / sizeof(T);
  };
  uint64_t ids = 0, buckets = 0, links = 0;
  column(kIds, ids_, ids);
  column(kBuckets, buckets_, buckets);
  column(kLinks, links_, links);
  column(kFailed, failed_, failed_count_);
  column(kResolved, resolved_, resolved_count_);
  column(kExpiries, expiries_, expiry_count_);
  require(ids == header.count && buckets == (uint64_t{1} << header.bucket_bits) + 1);
  require(links == header.count);
  name_ = {header.first, header.count, header.identity, header.level};
  hash_check_ = header.hash_check;
  bucket_bits_ = header.bucket_bits;
  first_expiry_ = header.first_expiry;
}

void Segment::check_content(const std::string& path) const {
  Header header;
  std::memcpy(&header, file_.data(), sizeof header);
  const uint8_t* table = file_.data() + header.checksums_offset;
  const size_t table_bytes = file_.size() - header.checksums_offset;
  if (checksum(table, table_bytes) != header.checksums_checksum) throw Damaged(path + ": checksums are damaged");
  for (uint64_t offset = kHeaderBytes, i = 0; offset < header.checksums_offset; i++) {
    const uint64_t bytes = std::min<uint64_t>(FileWriter::kChunkBytes, header.checksums_offset - offset);
    uint64_t expected;
    std::memcpy(&expected, table + i * sizeof expected, sizeof expected);
    if (checksum(file_.data() + offset, bytes) != expected) {
      throw Damaged(path + ": bytes from offset " + std::to_string(offset) + " are damaged");
    }
    offset += bytes;
  }
}

// A look-up may rely on this, whatever wrote the file.
void Segment::check_ids(const std::string& path) const {
  const size_t buckets = size_t{1} << bucket_bits_;
  bool sound = buckets_[0] == 0 && buckets_[buckets] == name_.count;
  for (size_t i = 0; i < buckets; i++) sound &= buckets_[i] <= buckets_[i + 1];
  for (uint64_t i = 0; i < name_.count; i++) sound &= (ids_[i] & 0xFFFF'FFFF) < name_.count;
  if (!sound) throw Damaged(path + ": its ids are not in order");
}

const uint64_t* Segment::lower_bound(uint64_t bucket, uint64_t fragment) const {
  return std::lower_bound(ids_ + buckets_[bucket], ids_ + buckets_[bucket + 1], fragment << 32);
}

std::pair<const uint64_t*, const uint64_t*> Segment::slab(uint64_t top) const {
  const unsigned shift = bucket_bits_ - kTopBits;
  return {ids_ + buckets_[top << shift], ids_ + buckets_[(top + 1) << shift]};
}

bool Segment::has_failed(u128 id) const {
  const FailedId* end = failed_ + failed_count_;
  const FailedId* at =
      std::lower_bound(failed_, end, id, [](const FailedId& item, u128 wanted) { return item.id < wanted; });
  return at != end && at->id == id;
}

std::optional<Resolved> Segment::resolved(Position position) const {
  const Resolved* end = resolved_ + resolved_count_;
  const Resolved* at = std::lower_bound(resolved_, end, position,
                                        [](const Resolved& item, Position wanted) { return item.position < wanted; });
  if (at == end || at->position != position) return std::nullopt;
  return *at;
}

void Segment::add_to(IdFilter& filter, const std::function<uint64_t(u128)>& hash) const {
  for (uint64_t top = 0; top < 1 << kTopBits; top++) {
    const auto [begin, end] = slab(top);
    for (const uint64_t* at = begin; at != end; at++) filter.add(top << 32 | *at >> 32);
  }
  for (uint64_t i = 0; i < failed_count_; i++) filter.add(key_of(hash(failed_[i].id)));
}

SegmentPointer Segment::write(const std::string& folder, uint64_t hash_check, const SegmentContent& content) {
  const uint64_t count = content.hashes.size();
  if (count > kContentMax) throw std::invalid_argument("segment: too many transfers at once");
  std::vector<uint64_t> items(count);
  for (uint64_t i = 0; i < count; i++) items[i] = key_of(content.hashes[i]) << (64 - kKeyBits) | i;
  sort_by_key(items);

  SegmentWriter writer(folder, content.first, count, 0, hash_check);
  writer.begin(kIds);
  std::vector<uint64_t> entries;
  auto item = items.begin();
  for (uint64_t top = 0; top < 1 << kTopBits; top++) {
    entries.clear();
    for (; item != items.end() && *item >> (64 - kTopBits) == top; item++) {
      entries.push_back((*item >> (64 - kKeyBits)) << 32 | (*item & (kContentMax - 1)));
    }
    writer.append_ids(top, entries);
  }
  writer.append_buckets();
  writer.append_column(kLinks, content.links);
  writer.append_column(kFailed, sorted(content.failed));
  writer.append_column(kResolved, sorted(content.resolved));
  writer.append_column(kExpiries, content.expiries);
  writer.set_first_expiry(content.first_expiry);
  return writer.finish();
}

namespace {

// The few items of several sorted columns, in one order.
template <class T>
void merge_columns(SegmentWriter& writer, std::vector<std::pair<const T*, const T*>> parts) {
  std::vector<T> buffer;
  for (;;) {
    std::pair<const T*, const T*>* least = nullptr;
    for (auto& part : parts) {
      if (part.first == part.second) continue;
      if (!least || order_of(*part.first) < order_of(*least->first)) least = &part;
    }
    if (least) buffer.push_back(*least->first++);
    if (!least || buffer.size() == 4096) {
      writer.append(buffer.data(), buffer.size() * sizeof(T));
      buffer.clear();
    }
    if (!least) return;
  }
}

}  // namespace

SegmentPointer Segment::merge(const std::string& folder, const std::vector<SegmentPointer>& parts) {
  const Position first = parts.front()->name_.first;
  const uint64_t count = parts.back()->name_.end() - first;
  if (count > kCountMax) throw std::invalid_argument("segment: too many transfers to merge");
  SegmentWriter writer(folder, first, count, parts.front()->name_.level + 1, parts.front()->hash_check_);

  // Within the keys that begin with the same 8 bits, an entry's order is that of its number.
  writer.begin(kIds);
  for (uint64_t top = 0; top < 1 << kTopBits; top++) {
    std::vector<std::vector<uint64_t>> rising;
    for (const SegmentPointer& part : parts) {
      const auto [begin, end] = part->slab(top);
      const uint64_t shift = part->name_.first - first;
      std::vector<uint64_t>& moved = rising.emplace_back(begin, end);
      for (uint64_t& entry : moved) entry += shift;
    }
    while (rising.size() > 1) {
      std::vector<std::vector<uint64_t>> merged;
      for (size_t i = 0; i + 1 < rising.size(); i += 2) {
        const auto &a = rising[i], &b = rising[i + 1];
        std::vector<uint64_t>& both = merged.emplace_back(a.size() + b.size());
        merge_rising(a.data(), a.data() + a.size(), b.data(), b.data() + b.size(), both.data());
      }
      if (rising.size() % 2) merged.push_back(std::move(rising.back()));
      rising = std::move(merged);
    }
    writer.append_ids(top, rising[0]);
  }
  writer.append_buckets();
  writer.begin(kLinks);
  for (const SegmentPointer& part : parts) writer.append(part->links_, part->name_.count * sizeof(Links));

  std::vector<std::pair<const FailedId*, const FailedId*>> failed;
  std::vector<std::pair<const Resolved*, const Resolved*>> resolved;
  for (const SegmentPointer& part : parts) {
    failed.emplace_back(part->failed_, part->failed_ + part->failed_count_);
    resolved.emplace_back(part->resolved_, part->resolved_ + part->resolved_count_);
  }
  writer.begin(kFailed);
  merge_columns(writer, std::move(failed));
  writer.begin(kResolved);
  merge_columns(writer, std::move(resolved));
  writer.begin(kExpiries);
  for (const SegmentPointer& part : parts) writer.append(part->expiries_, part->expiry_count_ * sizeof(Expiry));
  writer.set_first_expiry(parts.front()->first_expiry_);
  return writer.finish();
}

}  // namespace pyledger::store
