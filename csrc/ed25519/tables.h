// Tables of multiples: entry j * 2^(bits - 1) + m - 1 is m * 2^(bits * j) * P, so that a scalar times P is the sum of
// one entry for each signed digit of the scalar.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "ed25519/rows.h"
#include "ed25519/scalar.h"

namespace pyledger::ed25519 {

struct TableShape {
  int bits;
  int windows;

  size_t multiples() const { return size_t{1} << (bits - 1); }
  size_t entries() const { return multiples() * static_cast<size_t>(windows); }
};

inline constexpr TableShape kKeyShape{8, 32};
inline constexpr TableShape kWideShape{12, 22};

// Memory that a kernel may use, aligned.
class WorkspaceMemory {
 public:
  explicit WorkspaceMemory(const Row& row) : WorkspaceMemory(row.workspace_bytes) {}
  explicit WorkspaceMemory(size_t size_bytes);
  void* get() const { return start_; }

 private:
  std::unique_ptr<uint8_t[]> bytes_;
  void* start_;
};

std::unique_ptr<Entry[]> build_table(const Row& row, const Entry& point, const TableShape& shape);

extern const Entry kZeroEntry;  // the identity

// Writes one term for each window: terms[stride * j], their sum being scalar * P, or -scalar * P if `negative`.
void write_terms(const Entry* table, const TableShape& shape, const Scalar& scalar, bool negative, Term* terms,
                 size_t stride) noexcept;

// The table of the base point B for a batch of so many signatures; built on first use. The wide one takes 5.5 MiB and
// some milliseconds to build and saves ten additions a signature: a large batch builds it, and from then on all but the
// smallest use it.
struct BaseTable {
  const Entry* entries;
  TableShape shape;
};
BaseTable base_table(size_t signatures);

}  // namespace pyledger::ed25519
