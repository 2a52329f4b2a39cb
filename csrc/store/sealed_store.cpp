#include "store/sealed_store.h"

#include <algorithm>

namespace pyledger::store {
namespace {

uint64_t ids_of(const Segment& segment) { return segment.name().count + segment.failed_count(); }

}  // namespace

void SealedStore::open(const std::vector<SegmentName>& names) {
  std::vector<SegmentPointer> segments;
  Position end = 0;
  uint64_t expiries = 0, ids = 0;
  for (const SegmentName& name : names) {
    segments.push_back(Segment::open(folder_, name));
    const Segment& segment = *segments.back();
    if (name.first != end || segment.first_expiry() != expiries || segment.hash_check() != hash_check_) {
      throw Damaged(folder_ + "/" + name.file_name() + ": does not belong behind the segment before it");
    }
    end = name.end();
    expiries += segment.expiry_count();
    ids += ids_of(segment);
  }
  filter_ = IdFilter(std::max(kFilterIdsMin, ids + ids / 2));
  filter_ids_ = ids;
  for (const SegmentPointer& segment : segments) segment->add_to(filter_, hash_);
  segments_ = std::move(segments);
}

uint64_t SealedStore::expiry_end() const {
  return segments_.empty() ? 0 : segments_.back()->first_expiry() + segments_.back()->expiry_count();
}

std::vector<SegmentName> SealedStore::names() const {
  std::vector<SegmentName> names;
  for (const SegmentPointer& segment : segments_) names.push_back(segment->name());
  return names;
}

uint64_t SealedStore::file_bytes() const {
  uint64_t bytes = 0;
  for (const SegmentPointer& segment : segments_) bytes += segment->file_bytes();
  return bytes;
}

std::optional<Position> SealedStore::find(u128 id, uint64_t hash) const {
  const auto same = [&](Position position) {
    u128 found;
    blocks_.read_id(position, reinterpret_cast<uint8_t*>(&found));
    if (found == id) return true;
    // Blocks are not checked as a whole when they are read here. An id that changed must not pass for a new one.
    if (key_of(hash_(found)) != key_of(hash)) {
      throw Damaged(blocks_.place_of(position) + ": the id is not that which was sealed; the block is damaged");
    }
    return false;
  };
  for (auto segment = segments_.rbegin(); segment != segments_.rend(); segment++) {
    if (const auto position = (*segment)->find(hash, same)) return position;
  }
  return std::nullopt;
}

bool SealedStore::has_failed(u128 id) const {
  return std::any_of(segments_.rbegin(), segments_.rend(),
                     [&](const auto& segment) { return segment->has_failed(id); });
}

std::optional<Resolved> SealedStore::resolved(Position position) const {
  for (auto segment = segments_.rbegin(); segment != segments_.rend(); segment++) {
    if (const auto found = (*segment)->resolved(position)) return found;
  }
  return std::nullopt;
}

const Segment& SealedStore::segment_of(Position position) const {
  const auto after =
      std::upper_bound(segments_.begin(), segments_.end(), position,
                       [](Position wanted, const SegmentPointer& segment) { return wanted < segment->name().first; });
  return **std::prev(after);
}

const Expiry& SealedStore::expiry(uint64_t number) const {
  const auto after =
      std::upper_bound(segments_.begin(), segments_.end(), number,
                       [](uint64_t wanted, const SegmentPointer& segment) { return wanted < segment->first_expiry(); });
  return (*std::prev(after))->expiry(number);
}

void SealedStore::add(SegmentPointer segment) {
  if (segment->name().first != end()) throw std::invalid_argument("segment: does not begin where the store ends");
  segments_.push_back(std::move(segment));
  add_to_filter(*segments_.back());
}

void SealedStore::add_to_filter(const Segment& segment) {
  if (filter_.capacity() == 0) filter_ = IdFilter(kFilterIdsMin);
  filter_ids_ += ids_of(segment);
  segment.add_to(filter_, hash_);
}

std::optional<SealedStore::Work> SealedStore::work_due() const {
  Work work;
  work.folder = folder_;
  work.hash = hash_;
  if (filter_ids_ > filter_.capacity()) {
    work.grows_filter = true;
    work.filter_ids = filter_ids_ + filter_ids_ / 2;
    work.parts = segments_;
    return work;
  }
  // Levels fall from the oldest segment to the newest; the oldest eight of a level are merged.
  for (size_t i = 0; i + kParts <= segments_.size(); i++) {
    const SegmentName& oldest = segments_[i]->name();
    const SegmentName& newest = segments_[i + kParts - 1]->name();
    if (oldest.level != newest.level || newest.end() - oldest.first >= uint64_t{1} << 32) continue;
    work.parts.assign(segments_.begin() + static_cast<ptrdiff_t>(i),
                      segments_.begin() + static_cast<ptrdiff_t>(i + kParts));
    return work;
  }
  return std::nullopt;
}

void SealedStore::do_work(Work& work) {
  if (!work.grows_filter) {
    work.merged = Segment::merge(work.folder, work.parts);
    return;
  }
  work.filter = IdFilter(work.filter_ids);
  for (const SegmentPointer& part : work.parts) part->add_to(work.filter, work.hash);
}

// Segments may have been added since; none of those that the work began with is gone.
void SealedStore::install(Work work) {
  if (work.grows_filter) {
    filter_ = std::move(work.filter);
    const Position end = work.parts.empty() ? 0 : work.parts.back()->name().end();
    for (const SegmentPointer& segment : segments_) {
      if (segment->name().first >= end) segment->add_to(filter_, hash_);
    }
    return;
  }
  const auto first = std::find(segments_.begin(), segments_.end(), work.parts.front());
  *first = std::move(work.merged);
  segments_.erase(first + 1, first + static_cast<ptrdiff_t>(work.parts.size()));
}

}  // namespace pyledger::store
