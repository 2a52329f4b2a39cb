#include "store/block_files.h"

#include <algorithm>

namespace pyledger::store {
namespace {

constexpr size_t kAmountOffset = 48;  // of a record

}  // namespace

uint32_t BlockFiles::add_file(std::string path) {
  paths_.push_back(std::move(path));
  files_.emplace_back();
  return static_cast<uint32_t>(paths_.size()) - 1;
}

void BlockFiles::add(uint32_t file, uint64_t records_offset, uint64_t effects_offset, uint32_t count) {
  if (file >= paths_.size()) throw std::invalid_argument("file: there is no file " + std::to_string(file));
  if (count == 0) return;
  spans_.push_back({end_, records_offset, effects_offset, count, file});
  end_ += count;
}

void BlockFiles::truncate(Position end) {
  while (!spans_.empty() && spans_.back().first >= end) spans_.pop_back();
  end_ = spans_.empty() ? 0 : spans_.back().first + spans_.back().count;
}

const Span& BlockFiles::span_of(Position position) const {
  const auto after = std::upper_bound(spans_.begin(), spans_.end(), position,
                                      [](Position wanted, const Span& span) { return wanted < span.first; });
  return *std::prev(after);
}

const Descriptor& BlockFiles::file(uint32_t number) const {
  if (files_[number].get() < 0) files_[number] = open_for_reading(paths_[number]);
  return files_[number];
}

void BlockFiles::read(Position position, uint8_t* record) const {
  const Span& span = span_of(position);
  const uint64_t place = position - span.first;
  read_at(file(span.file), paths_[span.file], span.records_offset + place * kRecordBytes, record, kRecordBytes);
  if (span.effects_offset == 0) return;
  read_at(file(span.file), paths_[span.file], span.effects_offset + place * kAmountBytes, record + kAmountOffset,
          kAmountBytes);
}

void BlockFiles::read_many(Position first, uint64_t count, uint8_t* records) const {
  std::vector<uint8_t> amounts;
  while (count > 0) {
    const Span& span = span_of(first);
    const uint64_t place = first - span.first, here = std::min<uint64_t>(count, span.count - place);
    const std::string& path = paths_[span.file];
    read_at(file(span.file), path, span.records_offset + place * kRecordBytes, records, here * kRecordBytes);
    if (span.effects_offset != 0) {
      amounts.resize(here * kAmountBytes);
      read_at(file(span.file), path, span.effects_offset + place * kAmountBytes, amounts.data(), amounts.size());
      for (uint64_t i = 0; i < here; i++) {
        std::copy_n(&amounts[i * kAmountBytes], kAmountBytes, records + i * kRecordBytes + kAmountOffset);
      }
    }
    first += here;
    count -= here;
    records += here * kRecordBytes;
  }
}

void BlockFiles::read_id(Position position, uint8_t* id) const {
  const Span& span = span_of(position);
  read_at(file(span.file), paths_[span.file], span.records_offset + (position - span.first) * kRecordBytes, id, 16);
}

std::string BlockFiles::place_of(Position position) const {
  const Span& span = span_of(position);
  const uint64_t offset = span.records_offset + (position - span.first) * kRecordBytes;
  return paths_[span.file] + ", offset " + std::to_string(offset) + ", transfer " + std::to_string(position);
}

}  // namespace pyledger::store
