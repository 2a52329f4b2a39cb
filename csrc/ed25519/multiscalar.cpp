#include "ed25519/multiscalar.h"

#include <algorithm>
#include <cstdlib>

#include "ed25519/select.h"
#include "ed25519/tables.h"

namespace pyledger::ed25519 {
namespace {

constexpr int kLongBits = 253;
constexpr int kBitsMin = 4, kBitsMax = 12;  // 8 buckets fill the widest row
constexpr size_t kWindowsMax = kLongBits / kBitsMin + 1;

size_t windows_for(int scalar_bits, int bits) { return static_cast<size_t>(scalar_bits / bits + 1); }

// Field products of a whole run: 7 a point added; reduce_buckets takes 17 a bucket for as many windows as it has lanes.
int choose_bits(size_t shorts, size_t longs, size_t lanes) {
  int best_bits = kBitsMin;
  size_t best_cost = ~size_t{0};
  for (int bits = kBitsMin; bits <= kBitsMax; bits++) {
    const size_t windows = windows_for(kLongBits, bits), groups = (windows + lanes - 1) / lanes;
    const size_t additions = shorts * windows_for(kShortBits, bits) + longs * windows;
    const size_t cost = 7 * additions / lanes + 17 * groups * (size_t{1} << (bits - 1));
    if (cost < best_cost) best_cost = cost, best_bits = bits;
  }
  return best_bits;
}

// Sorts the points of one window into its buckets' lists.
class WindowLists {
 public:
  WindowLists(const std::vector<const Entry*>& points, size_t buckets)
      : points_(points), terms_(points.size()), starts_(buckets + 1), order_(buckets) {}

  // digits[i] belongs to point i, for i in [0, count).
  BucketLists sort(const int16_t* digits, size_t count) {
    const size_t buckets = order_.size();
    std::fill(starts_.begin(), starts_.end(), 0);
    for (size_t i = 0; i < count; i++) {
      if (digits[i] != 0) starts_[static_cast<size_t>(std::abs(digits[i])) - 1]++;
    }
    order_by_length();
    uint32_t total = 0;
    for (size_t b = 0; b <= buckets; b++) starts_[b] = total += starts_[b];
    for (size_t i = count; i-- > 0;) {
      if (digits[i] == 0) continue;
      const Term term = reinterpret_cast<Term>(points_[i]) | static_cast<Term>(digits[i] < 0);
      terms_[--starts_[static_cast<size_t>(std::abs(digits[i])) - 1]] = term;
    }
    return {terms_.data(), starts_.data(), order_.data(), buckets, &kZeroEntry};
  }

 private:
  // Buckets of similar length side by side: a counting sort over the lengths that stand in starts_.
  void order_by_length() {
    constexpr size_t kLengths = 256;
    uint32_t places[kLengths + 1] = {};
    const auto length = [&](size_t b) { return std::min<size_t>(starts_[b], kLengths - 1); };
    for (size_t b = 0; b < order_.size(); b++) places[length(b) + 1]++;
    for (size_t i = 1; i <= kLengths; i++) places[i] += places[i - 1];
    for (size_t b = 0; b < order_.size(); b++) order_[places[length(b)]++] = static_cast<uint32_t>(b);
  }

  const std::vector<const Entry*>& points_;
  std::vector<Term> terms_;
  std::vector<uint32_t> starts_, order_;
};

// digits[window * longs.size() + ...]: longs first, so that the windows above the short scalars see a prefix only.
std::vector<int16_t> make_digits(const std::vector<ScaledPoint>& longs, const std::vector<ScaledPoint>& shorts,
                                 int bits) {
  const size_t count = longs.size() + shorts.size();
  const size_t long_windows = windows_for(kLongBits, bits), short_windows = windows_for(kShortBits, bits);
  std::vector<int16_t> digits(long_windows * count);
  int16_t row[kWindowsMax];
  for (size_t i = 0; i < count; i++) {
    const bool is_long = i < longs.size();
    const size_t windows = is_long ? long_windows : short_windows;
    recode(is_long ? longs[i].scalar : shorts[i - longs.size()].scalar, bits, static_cast<int>(windows), row);
    for (size_t j = 0; j < windows; j++) digits[j * count + i] = row[j];
  }
  return digits;
}

}  // namespace

bool is_sum_of_small_order(const std::vector<ScaledPoint>& shorts, const std::vector<ScaledPoint>& longs,
                           const Scalar& base) {
  const Row& row = row_for(kEveryLane);
  const int bits = choose_bits(shorts.size(), longs.size(), row.lanes);
  const size_t buckets = size_t{1} << (bits - 1), count = longs.size() + shorts.size();
  const size_t windows = windows_for(kLongBits, bits), short_windows = windows_for(kShortBits, bits);
  const std::vector<int16_t> digits = make_digits(longs, shorts, bits);
  std::vector<const Entry*> points;
  points.reserve(count);
  for (const ScaledPoint& scaled : longs) points.push_back(scaled.point);
  for (const ScaledPoint& scaled : shorts) points.push_back(scaled.point);

  WindowLists lists(points, buckets);
  const WorkspaceMemory sums(row.bucket_bytes * buckets), workspace(row);
  std::vector<Entry> totals(windows + row.lanes);
  for (size_t first = 0; first < windows; first += row.lanes) {
    for (size_t lane = 0; lane < row.lanes; lane++) {
      const size_t j = first + lane;
      const size_t used = j >= windows ? 0 : j < short_windows ? count : longs.size();
      row.sum_buckets(lists.sort(digits.data() + (j < windows ? j * count : 0), used), lane, sums.get());
    }
    row.reduce_buckets(sums.get(), buckets, workspace.get(), &totals[first]);
  }
  const BaseTable table = base_table(1);
  Term terms[kBaseTermsMax];
  write_terms(table.entries, table.shape, base, true, terms, 1);
  return kRowScalar.check_windows(totals.data(), windows, bits, terms, static_cast<size_t>(table.shape.windows));
}

}  // namespace pyledger::ed25519
