#include "ed25519/tables.h"

#include <algorithm>
#include <atomic>
#include <memory>

#include "ed25519/select.h"

namespace pyledger::ed25519 {
namespace {

constexpr Entry make_zero_entry() {
  Entry entry{};
  for (int k = 0; k < 16; k++) entry.word[k] = kBias;
  entry.word[0]++;
  entry.word[5]++;
  return entry;
}

constexpr size_t kAlignment = 64;
constexpr size_t kWideUsedFrom = 8, kWideBuiltFrom = 512;

Entry decode_base() {
  uint8_t encoding[32], status;
  std::fill_n(encoding, 32, uint8_t{0x66});
  encoding[0] = 0x58;  // y = 4/5 (RFC 8032, section 5.1)
  const uint8_t* rows[1] = {encoding};
  Entry base;
  kRowScalar.decode(rows, 1, &base, &status);
  return base;
}

std::unique_ptr<Entry[]> build_base_table(const TableShape& shape) {
  return build_table(row_for(kEveryLane), decode_base(), shape);
}

}  // namespace

constinit const Entry kZeroEntry = make_zero_entry();

WorkspaceMemory::WorkspaceMemory(size_t size_bytes)
    : bytes_(new uint8_t[size_bytes + kAlignment]), start_(bytes_.get()) {
  size_t space = size_bytes + kAlignment;
  std::align(kAlignment, size_bytes, start_, space);
}

std::unique_ptr<Entry[]> build_table(const Row& row, const Entry& point, const TableShape& shape) {
  std::unique_ptr<Entry[]> table(new Entry[shape.entries()]);
  Entry bases[kBasesMax];
  const auto windows = static_cast<size_t>(shape.windows);
  kRowScalar.shift_bases(point, shape.bits, windows, WorkspaceMemory(kRowScalar).get(), bases);  // one point: no lanes
  row.build_multiples(bases, windows, shape.multiples(), WorkspaceMemory(row).get(), table.get());
  return table;
}

void write_terms(const Entry* table, const TableShape& shape, const Scalar& scalar, bool negative, Term* terms,
                 size_t stride) noexcept {
  int16_t digits[kBaseTermsMax];
  recode(scalar, shape.bits, shape.windows, digits);
  for (int j = 0; j < shape.windows; j++, table += shape.multiples(), terms += stride) {
    const int magnitude = std::abs(digits[j]);
    const Entry* entry = magnitude == 0 ? &kZeroEntry : table + magnitude - 1;
    *terms = reinterpret_cast<Term>(entry) | static_cast<Term>((digits[j] < 0) != negative);
  }
}

BaseTable base_table(size_t signatures) {
  static std::atomic<bool> wide_is_built{false};
  const bool uses_wide = wide_is_built.load(std::memory_order_acquire) && signatures >= kWideUsedFrom;
  if (uses_wide || signatures >= kWideBuiltFrom) {
    static const std::unique_ptr<Entry[]> table = build_base_table(kWideShape);
    wide_is_built.store(true, std::memory_order_release);
    return {table.get(), kWideShape};
  }
  static const std::unique_ptr<Entry[]> table = build_base_table(kKeyShape);
  return {table.get(), kKeyShape};
}

}  // namespace pyledger::ed25519
