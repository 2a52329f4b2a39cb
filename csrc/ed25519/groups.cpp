#include "ed25519/groups.h"

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "ed25519/select.h"
#include "ed25519/tables.h"

namespace pyledger::ed25519 {
namespace {

constexpr int kBits = 4;
constexpr size_t kMultiples = size_t{1} << (kBits - 1);
constexpr size_t kLongPlaces = 253 / kBits + 1, kShortPlaces = 128 / kBits + 1;

// Rows of terms from the highest place down: at each place the digits of all A, at the lower ones those of all R too,
// and at the last one B's terms.
class Rows {
 public:
  Rows(size_t groups, size_t base_terms) : groups_(groups) {
    for (size_t place = kLongPlaces; place-- > 0;) {
      steps_.push_back(static_cast<uint32_t>(kGroupSize + (place < kShortPlaces ? kGroupSize : 0)));
      first_row_[place] = rows_;
      rows_ += steps_.back();
    }
    steps_.back() += static_cast<uint32_t>(base_terms);
    base_row_ = rows_;
    terms_.assign((rows_ + base_terms) * groups, reinterpret_cast<Term>(&kZeroEntry));
  }

  // Writes the digits of the scalar for member `slot` (R's behind all A's) of its group.
  void write(size_t group, size_t slot, const Entry* multiples, const Scalar& scalar) {
    int16_t digits[kLongPlaces];
    const size_t places = slot < kGroupSize ? kLongPlaces : kShortPlaces;
    recode(scalar, kBits, static_cast<int>(places), digits);
    for (size_t place = 0; place < places; place++) {
      if (digits[place] == 0) continue;
      const Entry* entry = multiples + std::abs(digits[place]) - 1;
      terms_[(first_row_[place] + slot) * groups_ + group] =
          reinterpret_cast<Term>(entry) | static_cast<Term>(digits[place] < 0);
    }
  }

  Term* base_terms(size_t group) { return &terms_[base_row_ * groups_ + group]; }
  const Term* terms() const { return terms_.data(); }
  const std::vector<uint32_t>& steps() const { return steps_; }

 private:
  size_t groups_, rows_ = 0, base_row_;
  size_t first_row_[kLongPlaces];
  std::vector<uint32_t> steps_;
  std::vector<Term> terms_;
};

}  // namespace

void check_groups(const WeightedEquation* equations, size_t count, uint8_t* holds) {
  const size_t groups = (count + kGroupSize - 1) / kGroupSize;
  const Row& row = row_for(groups);
  std::vector<Entry> points(2 * count), multiples(2 * count * kMultiples);
  for (size_t i = 0; i < count; i++) points[2 * i] = *equations[i].a, points[2 * i + 1] = *equations[i].r;
  const Row& table_row = row_for(points.size());
  table_row.build_multiples(points.data(), points.size(), kMultiples, WorkspaceMemory(table_row).get(),
                            multiples.data());

  const BaseTable base = base_table(count);
  Rows rows(groups, static_cast<size_t>(base.shape.windows));
  for (size_t i = 0; i < count; i++) {
    const size_t group = i / kGroupSize, member = i % kGroupSize;
    const Entry* table = &multiples[2 * i * kMultiples];
    rows.write(group, member, table, equations[i].zh);
    rows.write(group, kGroupSize + member, table + kMultiples, equations[i].z);
  }
  for (size_t group = 0; group < groups; group++) {
    Scalar sum{};
    for (size_t i = group * kGroupSize; i < std::min(count, (group + 1) * kGroupSize); i++) {
      sum = add(sum, equations[i].zs);
    }
    write_terms(base.entries, base.shape, sum, true, rows.base_terms(group), groups);
  }
  row.sum_places_and_check(rows.terms(), rows.steps().data(), rows.steps().size(), kBits, groups, groups, holds);
}

}  // namespace pyledger::ed25519
