// Every row's field at the bounds of its limbs, against schoolbook arithmetic modulo 2^255 - 19 in 128-bit integers.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <array>
#include <random>
#include <string>
#include <vector>

#include "dispatch/cpu.h"
#include "ed25519/field_probe.h"
#include "ed25519/rows.h"

using namespace pyledger;
using namespace pyledger::ed25519;

namespace {

using Limbs = std::array<int64_t, 5>;
using Columns = std::array<__int128, 5>;
using Elements = std::vector<Limbs>;

constexpr int64_t kMask = (int64_t{1} << 51) - 1;
constexpr int64_t kWordMax = (int64_t{1} << 50) + (1 << 13);  // of an entry in memory (rows.h)

std::mt19937_64 generator(20260102);

// --- the reference: columns of any sign below 2^126 ---

Columns columns_of(const Limbs& limbs) { return {limbs[0], limbs[1], limbs[2], limbs[3], limbs[4]}; }

// The one representative in [0, p): carries, rounded down, until every limb has 51 bits; then p at most once.
Limbs canonical(Columns column) {
  const auto settled = [&] {
    for (const __int128 c : column) {
      if (c < 0 || c > kMask) return false;
    }
    return true;
  };
  while (!settled()) {
    for (size_t k = 0; k < 5; k++) {
      const __int128 carry = column[k] >> 51;
      column[k] -= carry * (__int128{1} << 51);
      if (k < 4) column[k + 1] += carry;
      if (k == 4) column[0] += 19 * carry;
    }
  }
  bool is_prime_or_more = column[0] >= kMask - 18;
  for (size_t k = 1; k < 5; k++) is_prime_or_more = is_prime_or_more && column[k] == kMask;
  if (is_prime_or_more) column = {column[0] - (kMask - 18), 0, 0, 0, 0};
  Limbs limbs;
  for (size_t k = 0; k < 5; k++) limbs[k] = static_cast<int64_t>(column[k]);
  return limbs;
}

Columns multiply(const Limbs& a, const Limbs& b) {
  Columns product{};
  for (size_t i = 0; i < 5; i++) {
    for (size_t j = 0; j < 5; j++) product[(i + j) % 5] += __int128{a[i]} * b[j] * (i + j < 5 ? 1 : 19);
  }
  return product;
}

// x * a + y * b
Columns combine(__int128 x, const Columns& a, __int128 y, const Columns& b) {
  Columns out;
  for (size_t k = 0; k < 5; k++) out[k] = x * a[k] + y * b[k];
  return out;
}

Columns expected_form(Form form, const Limbs& a, const Limbs& b, const Limbs& c, const Limbs& d) {
  switch (form) {
    case Form::kProduct:
      return multiply(a, b);
    case Form::kSquare:
      return multiply(b, b);
    case Form::kSum:
      return combine(1, columns_of(b), 1, columns_of(d));
    case Form::kDifference:
      return combine(1, columns_of(b), -1, columns_of(d));
    case Form::kSumOfProducts:
      return combine(1, multiply(a, b), 1, multiply(c, d));
    case Form::kDifferenceOfProducts:
      return combine(1, multiply(a, b), -1, multiply(c, d));
    case Form::kTwicePlusProduct:
      return combine(2, columns_of(b), 1, multiply(a, d));
    case Form::kTwiceMinusProduct:
      return combine(2, columns_of(b), -1, multiply(a, d));
    default:
      return combine(4, multiply(b, b), -2, multiply(b, d));
  }
}

// --- inputs ---

// All elements whose limbs are taken from the values.
Elements combinations(const std::vector<int64_t>& values) {
  size_t total = 1;
  for (int k = 0; k < 5; k++) total *= values.size();
  Elements elements(total);
  for (size_t i = 0; i < total; i++) {
    size_t rest = i;
    for (int64_t& limb : elements[i]) limb = values[rest % values.size()], rest /= values.size();
  }
  return elements;
}

Limbs random_element(int64_t min, int64_t max) {
  Limbs limbs;
  for (int64_t& limb : limbs) limb = std::uniform_int_distribution<int64_t>(min, max)(generator);
  return limbs;
}

struct Operands {
  Elements a, b, c, d;

  void push(const Limbs& a_limbs, const Limbs& b_limbs, const Limbs& c_limbs, const Limbs& d_limbs) {
    a.push_back(a_limbs), b.push_back(b_limbs), c.push_back(c_limbs), d.push_back(d_limbs);
  }
};

// Every pair of extremes as a factor and a tight element beside every other pair in turn; then anything within bounds.
Operands operands_for(const FieldProbe& probe) {
  const Elements factors = combinations({probe.tight_min, probe.factor_max});
  const Elements tights = combinations({probe.tight_min, probe.tight_max});
  Operands operands;
  for (size_t turn = 0; turn < 32; turn++) {
    for (size_t i = 0; i < 1024; i++) {
      const size_t other = (i + 33 * turn) % 1024;
      operands.push(factors[i / 32], tights[i % 32], factors[other / 32], tights[other % 32]);
    }
  }
  for (const Limbs& b : combinations({probe.tight_min, probe.tight_min + 1, -1 - kMask / 2 > probe.tight_min ? -1 : 0,
                                      1, probe.tight_max - 1, probe.tight_max})) {
    operands.push(b, b, b, b);
  }
  for (int i = 0; i < 50'000; i++) {
    operands.push(random_element(probe.tight_min, probe.factor_max), random_element(probe.tight_min, probe.tight_max),
                  random_element(probe.tight_min, probe.factor_max), random_element(probe.tight_min, probe.tight_max));
  }
  while (operands.a.size() % 8 != 0) operands.push({}, {}, {}, {});  // full vectors on every row
  return operands;
}

// Elements around multiples of p and at the edges of limbs: what borrows and carries all the way.
Elements edge_elements(const FieldProbe& probe) {
  std::vector<int64_t> values{probe.tight_min, probe.tight_max, 0, 1};
  for (const int64_t value : {-kMask / 2 - 1, int64_t{-1}, kMask / 2, kMask / 2 + 1, kMask - 18, kMask, kMask + 1}) {
    if (value > probe.tight_min && value < probe.tight_max) values.push_back(value);
  }
  Elements elements = combinations(values);
  for (int64_t near = -40; near <= 40; near++) {
    const Limbs around_zero{near, 0, 0, 0, 0}, around_prime{kMask - 18 + near, kMask, kMask, kMask, kMask};
    const Limbs around_twice{2 * kMask - 36 + near, 2 * kMask, 2 * kMask, 2 * kMask, 2 * kMask};
    for (const Limbs& limbs : {around_zero, around_prime, around_twice}) {
      bool fits = true;
      for (const int64_t limb : limbs) fits = fits && limb >= probe.tight_min && limb <= probe.factor_max;
      if (fits) elements.push_back(limbs);
    }
  }
  while (elements.size() % 8 != 0) elements.push_back({});
  return elements;
}

// --- checks ---

const int64_t* limbs_of(const Elements& elements) { return elements[0].data(); }

Columns negated(const Limbs& limbs) { return combine(-1, columns_of(limbs), 0, {}); }

size_t beyond(const Elements& elements, int64_t min, int64_t max) {
  size_t count = 0;
  for (const Limbs& limbs : elements) {
    for (const int64_t limb : limbs) count += limb < min || limb > max;
  }
  return count;
}

// Elements that differ from expected(i) modulo p.
template <class F>
size_t wrong(const Elements& elements, const F& expected) {
  size_t count = 0;
  for (size_t i = 0; i < elements.size(); i++) count += canonical(columns_of(elements[i])) != canonical(expected(i));
  return count;
}

template <class F>
void for_each_probe(const F& f) {
  const FieldProbe* const probes[] = {
      &kProbeScalar,
#if defined(__x86_64__)
      &kProbeAvx2,
      &kProbeAvx512,
      &kProbeAvx512Ifma,
#endif
  };
  for (const FieldProbe* probe : probes) {
    if (dispatch::force_level(probe->name) != dispatch::ForceResult::kOk) {
      MESSAGE("skipped: this CPU has no ", std::string(probe->name));
      continue;
    }
    CAPTURE(std::string(probe->name));
    f(*probe);
  }
  CHECK(dispatch::force_level("native") == dispatch::ForceResult::kOk);
}

}  // namespace

TEST_CASE("the reference knows p, its neighbours and its multiples") {
  const Limbs zero{}, one{1, 0, 0, 0, 0}, last{kMask - 19, kMask, kMask, kMask, kMask};
  CHECK(canonical({kMask - 18, kMask, kMask, kMask, kMask}) == zero);
  CHECK(canonical({kMask - 17, kMask, kMask, kMask, kMask}) == one);
  CHECK(canonical({-1, 0, 0, 0, 0}) == last);
  CHECK(canonical(columns_of(last)) == last);
  CHECK(canonical({0, 0, 0, 0, kMask + 1}) == Limbs{19, 0, 0, 0, 0});
  CHECK(canonical({2 * __int128{kMask} - 36, 2 * kMask, 2 * kMask, 2 * kMask, 2 * kMask}) == zero);
  CHECK(canonical(multiply(last, last)) == one);
}

TEST_CASE("every form of the formulas is right and tight for limbs at and within their bounds") {
  for_each_probe([](const FieldProbe& probe) {
    const Operands in = operands_for(probe);
    const int64_t* const operands[] = {limbs_of(in.a), limbs_of(in.b), limbs_of(in.c), limbs_of(in.d)};
    Elements out(in.a.size());
    for (int f = 0; f < static_cast<int>(Form::kCount); f++) {
      CAPTURE(f);
      const Form form = static_cast<Form>(f);
      probe.evaluate(form, operands, out.size(), out[0].data());
      CHECK(wrong(out, [&](size_t i) { return expected_form(form, in.a[i], in.b[i], in.c[i], in.d[i]); }) == 0);
      CHECK(beyond(out, probe.tight_min, probe.tight_max) == 0);
    }
  });
}

TEST_CASE("carrying takes every combination of columns at their bounds") {
  for_each_probe([](const FieldProbe& probe) {
    const __int128 low = probe.column_min, high = probe.column_max, middle = __int128{1} << 51;
    const __int128 values[8] = {low, low + 1, high, high - 1, 0, middle - 1, middle, high / 2};
    std::vector<Columns> columns;
    for (size_t i = 0; i < 8 * 8 * 8 * 8 * 8; i++) {
      columns.push_back({values[i % 8], values[i / 8 % 8], values[i / 64 % 8], values[i / 512 % 8], values[i / 4096]});
    }
    Elements out(columns.size());
    probe.carry(columns[0].data(), columns.size(), out[0].data());
    CHECK(wrong(out, [&](size_t i) { return columns[i]; }) == 0);
    CHECK(beyond(out, probe.tight_min, probe.tight_max) == 0);
  });
}

TEST_CASE("canonical limbs are those below p, around every multiple of p and at every edge of limbs") {
  for_each_probe([](const FieldProbe& probe) {
    const Elements elements = edge_elements(probe);
    Elements out(elements.size());
    probe.canonical(limbs_of(elements), elements.size(), out[0].data());
    size_t different = 0;
    for (size_t i = 0; i < elements.size(); i++) different += out[i] != canonical(columns_of(elements[i]));
    CHECK(different == 0);
  });
}

TEST_CASE("elements pass through memory and negation unchanged modulo p and within bounds") {
  for_each_probe([](const FieldProbe& probe) {
    Elements elements = combinations(
        {probe.tight_min, probe.tight_min + 1, 1, kMask / 2, kMask / 2 + 1, probe.tight_max - 1, probe.tight_max});
    for (int i = 0; i < 10'001; i++) elements.push_back(random_element(probe.tight_min, probe.tight_max));
    REQUIRE(elements.size() % 8 == 0);
    Elements out(elements.size()), words(elements.size());
    probe.negate(limbs_of(elements), elements.size(), out[0].data());
    CHECK(wrong(out, [&](size_t i) { return negated(elements[i]); }) == 0);
    CHECK(beyond(out, probe.tight_min, probe.factor_max) == 0);

    auto* bits = reinterpret_cast<uint64_t*>(words[0].data());
    probe.store(limbs_of(elements), elements.size(), bits);
    for (Limbs& row : words) {
      for (int64_t& word : row) word -= static_cast<int64_t>(kBias);
    }
    CHECK(wrong(words, [&](size_t i) { return columns_of(elements[i]); }) == 0);
    CHECK(beyond(words, -kWordMax, kWordMax) == 0);
  });
}

TEST_CASE("words of memory at their bounds load as factors, as they are and negated") {
  Elements elements = combinations({-kWordMax, -kMask / 2 - 1, -1, 0, 1, kMask / 2, kWordMax});
  while (elements.size() % 8 != 0) elements.push_back(random_element(-kWordMax, kWordMax));
  std::vector<uint64_t> words;
  for (const Limbs& limbs : elements) {
    for (const int64_t limb : limbs) words.push_back(static_cast<uint64_t>(limb) + kBias);
  }
  for_each_probe([&](const FieldProbe& probe) {
    Elements out(elements.size());
    probe.load(words.data(), false, elements.size(), out[0].data());
    CHECK(wrong(out, [&](size_t i) { return columns_of(elements[i]); }) == 0);
    CHECK(beyond(out, probe.tight_min, probe.factor_max) == 0);
    probe.load(words.data(), true, elements.size(), out[0].data());
    CHECK(wrong(out, [&](size_t i) { return negated(elements[i]); }) == 0);
    CHECK(beyond(out, probe.tight_min, probe.factor_max) == 0);
  });
}
