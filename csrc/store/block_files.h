// Where the records of sealed transfers are read: in the blocks themselves, which hold each record once.
//
// A position counts transfers that took effect, from 0. Each block's records lie one after the other in some file, as
// submitted and with their timestamps; where an amount that took effect differs from the one submitted, all the
// block's amounts lie in a second column.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "store/files.h"

namespace pyledger::store {

using Position = uint64_t;

inline constexpr size_t kRecordBytes = 128;
inline constexpr size_t kAmountBytes = 16;

// The columns of one block; effects_offset is 0 where the amounts are those of the records.
struct Span {
  Position first;
  uint64_t records_offset;
  uint64_t effects_offset;
  uint32_t count;
  uint32_t file;
};

class BlockFiles {
 public:
  // Number of the file in add(); files are opened when they are first read.
  uint32_t add_file(std::string path);
  // The columns of the next block; throws std::invalid_argument if there is no such file.
  void add(uint32_t file, uint64_t records_offset, uint64_t effects_offset, uint32_t count);
  // Forgets the spans from a position on; one that begins before it and ends behind it must not be there.
  void truncate(Position end);

  Position end() const { return end_; }
  const std::vector<std::string>& paths() const { return paths_; }
  const std::vector<Span>& spans() const { return spans_; }

  // The record at a position below end(); amounts are overwritten by what took effect.
  void read(Position position, uint8_t* record) const;
  // The records of [first, first + count), one after the other.
  void read_many(Position first, uint64_t count, uint8_t* records) const;
  // Its first bytes only, the id.
  void read_id(Position position, uint8_t* id) const;
  // File and offset of a record, for messages.
  std::string place_of(Position position) const;

 private:
  const Span& span_of(Position position) const;
  const Descriptor& file(uint32_t number) const;

  std::vector<std::string> paths_;
  mutable std::vector<Descriptor> files_;  // opened late
  std::vector<Span> spans_;
  Position end_ = 0;
};

}  // namespace pyledger::store
