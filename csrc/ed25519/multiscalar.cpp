#include "ed25519/multiscalar.h"

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "ed25519/parts.h"
#include "ed25519/select.h"
#include "ed25519/tables.h"

namespace pyledger::ed25519 {
namespace {

constexpr int kLongBits = 253;
constexpr int kBitsMin = 4, kBitsMax = 12;  // 8 buckets fill the widest row
constexpr size_t kWindowsMax = kLongBits / kBitsMin + 1;

size_t windows_for(int scalar_bits, int bits) { return static_cast<size_t>(scalar_bits / bits + 1); }

size_t round_up(size_t count, size_t unit) { return (count + unit - 1) / unit * unit; }

// How a sum is cut: digits of `bits` bits, and windows in groups, at most one group a lane's worth, as many for each
// thread.
struct Plan {
  int bits;
  size_t buckets, windows, short_windows, groups;

  Plan(int bits_wanted, size_t lanes, size_t threads)
      : bits(bits_wanted),
        buckets(size_t{1} << (bits - 1)),
        windows(windows_for(kLongBits, bits)),
        short_windows(windows_for(kShortBits, bits)),
        groups(std::min(windows, round_up((windows + lanes - 1) / lanes, threads))) {}

  // Field products of a whole run: 7 a point added; reduce_buckets takes 17 a bucket for as many windows as it has
  // lanes.
  size_t cost(size_t shorts, size_t longs, size_t lanes) const {
    return 7 * (shorts * short_windows + longs * windows) / lanes + 17 * groups * buckets;
  }
};

Plan choose_plan(size_t shorts, size_t longs, size_t lanes, size_t threads) {
  Plan best(kBitsMin, lanes, threads);
  for (int bits = kBitsMin + 1; bits <= kBitsMax; bits++) {
    const Plan plan(bits, lanes, threads);
    if (plan.cost(shorts, longs, lanes) < best.cost(shorts, longs, lanes)) best = plan;
  }
  return best;
}

// The points of a sum, and their scalars' digits window by window. Longs stand first, so that the windows above the
// short scalars see a prefix only.
class Digits {
 public:
  Digits(const std::vector<Summands>& parts, const Row& row, unsigned threads) {
    std::vector<size_t> long_starts, short_starts;
    for (const Summands& part : parts) long_starts.push_back(longs_), longs_ += part.longs.size();
    count_ = longs_;
    for (const Summands& part : parts) short_starts.push_back(count_), count_ += part.shorts.size();
    plan_ = choose_plan(count_ - longs_, longs_, row.lanes, parallel::thread_count(threads));
    points_ = std::make_unique_for_overwrite<const Entry*[]>(count_);
    digits_ = std::make_unique_for_overwrite<int16_t[]>(plan_.windows * count_);
    for_parts(parts.size(), 1, threads, [&](size_t p, size_t) {
      write(parts[p].longs, long_starts[p], plan_.windows);
      write(parts[p].shorts, short_starts[p], plan_.short_windows);
    });
  }

  const Plan& plan() const { return plan_; }
  size_t count() const { return count_; }
  const Entry* point(size_t i) const { return points_[i]; }

  // Points that have a digit in the window: those at the front.
  size_t used(size_t window) const {
    return window >= plan_.windows ? 0 : window < plan_.short_windows ? count_ : longs_;
  }
  const int16_t* of(size_t window) const { return used(window) == 0 ? nullptr : &digits_[window * count_]; }

 private:
  void write(const std::vector<ScaledPoint>& scaled, size_t start, size_t windows) {
    int16_t row[kWindowsMax];
    for (size_t i = 0; i < scaled.size(); i++) {
      points_[start + i] = scaled[i].point;
      recode(scaled[i].scalar, plan_.bits, static_cast<int>(windows), row);
      for (size_t j = 0; j < windows; j++) digits_[j * count_ + start + i] = row[j];
    }
  }

  size_t longs_ = 0, count_ = 0;
  Plan plan_{kBitsMin, 1, 1};
  std::unique_ptr<const Entry*[]> points_;
  std::unique_ptr<int16_t[]> digits_;
};

// Sorts the points of one window after another into its buckets' lists.
class WindowLists {
 public:
  explicit WindowLists(const Digits& digits)
      : digits_(digits),
        terms_(std::make_unique_for_overwrite<Term[]>(digits.count())),
        starts_(digits.plan().buckets + 1),
        order_(digits.plan().buckets) {}

  BucketLists sort(size_t window) {
    const int16_t* digits = digits_.of(window);
    const size_t buckets = order_.size(), used = digits_.used(window);
    std::fill(starts_.begin(), starts_.end(), 0);
    for (size_t i = 0; i < used; i++) {
      if (digits[i] != 0) starts_[static_cast<size_t>(std::abs(digits[i])) - 1]++;
    }
    order_buckets();
    uint32_t total = 0;
    for (size_t b = 0; b <= buckets; b++) starts_[b] = total += starts_[b];
    for (size_t i = used; i-- > 0;) {
      if (digits[i] == 0) continue;
      const Term term = reinterpret_cast<Term>(digits_.point(i)) | static_cast<Term>(digits[i] < 0);
      terms_[--starts_[static_cast<size_t>(std::abs(digits[i])) - 1]] = term;
    }
    return {terms_.get(), starts_.data(), order_.data(), buckets, &kZeroEntry};
  }

 private:
  // Buckets of similar length side by side: a counting sort over the lengths that stand in starts_.
  void order_buckets() {
    constexpr size_t kLengths = 256;
    uint32_t places[kLengths + 1] = {};
    const auto length = [&](size_t b) { return std::min<size_t>(starts_[b], kLengths - 1); };
    for (size_t b = 0; b < order_.size(); b++) places[length(b) + 1]++;
    for (size_t i = 1; i <= kLengths; i++) places[i] += places[i - 1];
    for (size_t b = 0; b < order_.size(); b++) order_[places[length(b)]++] = static_cast<uint32_t>(b);
  }

  const Digits& digits_;
  const std::unique_ptr<Term[]> terms_;
  std::vector<uint32_t> starts_, order_;
};

// totals[j] for the windows j = group, group + groups, ...: taken in turn, each group gets as many of the lower
// windows, which hold all points, as of the upper ones, which hold the longs only.
void sum_group(const Digits& digits, const Row& row, size_t group, Entry* totals) {
  const Plan& plan = digits.plan();
  WindowLists lists(digits);
  const WorkspaceMemory sums(row.bucket_bytes * plan.buckets), workspace(row);
  for (size_t lane = 0; lane < row.lanes; lane++) {
    row.sum_buckets(lists.sort(group + lane * plan.groups), lane, sums.get());
  }
  const auto lane_totals = std::make_unique_for_overwrite<Entry[]>(row.lanes);
  row.reduce_buckets(sums.get(), plan.buckets, workspace.get(), lane_totals.get());
  for (size_t lane = 0; group + lane * plan.groups < plan.windows; lane++) {
    totals[group + lane * plan.groups] = lane_totals[lane];
  }
}

}  // namespace

bool is_sum_of_small_order(const std::vector<Summands>& parts, unsigned threads) {
  const Row& row = row_for(kEveryLane);
  const Digits digits(parts, row, threads);
  const auto totals = std::make_unique_for_overwrite<Entry[]>(digits.plan().windows);
  for_parts(digits.plan().groups, 1, threads,
            [&](size_t group, size_t) { sum_group(digits, row, group, totals.get()); });
  Scalar base{};
  for (const Summands& part : parts) base = add(base, part.base);
  const BaseTable table = base_table(1);
  Term terms[kBaseTermsMax];
  write_terms(table.entries, table.shape, base, true, terms, 1);
  return kRowScalar.check_windows(totals.get(), digits.plan().windows, digits.plan().bits, terms,
                                  static_cast<size_t>(table.shape.windows));
}

}  // namespace pyledger::ed25519
