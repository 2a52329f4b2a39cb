#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "dispatch/cpu.h"
#include "ed25519/exact.h"
#include "ed25519/groups.h"
#include "ed25519/key_map.h"
#include "ed25519/multiscalar.h"
#include "ed25519/scalar.h"
#include "ed25519/select.h"
#include "ed25519/tables.h"
#include "ed25519/verify.h"
#include "parallel/failing_new.h"

using namespace pyledger;
using namespace pyledger::ed25519;

namespace {

using Wide = unsigned __int128;

constexpr Scalar kOrder{{0x5812631a5cf5d3ed, 0x14def9dea2f79cd6, 0, 0x1000000000000000}};
constexpr Scalar kOne{{1, 0, 0, 0}};
constexpr Scalar kMinusOne{{0x5812631a5cf5d3ec, 0x14def9dea2f79cd6, 0, 0x1000000000000000}};

std::mt19937_64 generator(20260101);

Scalar random_scalar() {
  uint8_t bytes[64];
  for (int i = 0; i < 8; i++) {
    const uint64_t word = generator();
    std::memcpy(bytes + 8 * i, &word, 8);
  }
  return reduce_64(bytes);
}

Scalar negate(const Scalar& a) { return multiply(a, kMinusOne); }

bool same(const Scalar& a, const Scalar& b) { return std::memcmp(a.word, b.word, sizeof a.word) == 0; }

// Scalars whose carries, quotients and windows stand at an edge: around powers of two, around fractions of L.
std::vector<Scalar> edge_scalars() {
  std::vector<Scalar> edges{{{0, 0, 0, 0}}, kOne, negate(kOne)};
  for (int bit = 0; bit < 253; bit++) {
    Scalar power{};
    power.word[bit / 64] = uint64_t{1} << (bit % 64);
    if (!is_reduced(power)) continue;
    edges.push_back(power);
    edges.push_back(negate(power));
    edges.push_back(add(power, kOne));
    edges.push_back(add(power, negate(kOne)));
    edges.push_back(add(power, random_scalar()));
  }
  for (uint64_t i = 1; i < 20; i++) edges.push_back({{0, 0, 0, 0x0f00000000000000 / i}});
  for (int i = 0; i < 200; i++) edges.push_back(random_scalar());
  return edges;
}

// Runs f under every level that this CPU has.
template <class F>
void for_each_level(const F& f) {
  for (const char* level : {"scalar", "avx2", "avx512", "avx512ifma"}) {
    if (dispatch::force_level(level) != dispatch::ForceResult::kOk) continue;
    CAPTURE(std::string(level));
    f();
  }
  CHECK(dispatch::force_level("native") == dispatch::ForceResult::kOk);
}

void encode_multiples(const std::vector<Scalar>& scalars, uint8_t* encodings) {
  const BaseTable base = base_table(1);
  const size_t count = scalars.size(), steps = static_cast<size_t>(base.shape.windows);
  std::vector<Term> terms(steps * count);
  for (size_t i = 0; i < count; i++) write_terms(base.entries, base.shape, scalars[i], false, &terms[i], count);
  const Row& row = row_for(count);
  row.sum_and_encode(terms.data(), steps, count, count, WorkspaceMemory(row).get(), encodings);
}

}  // namespace

TEST_CASE("reduction modulo L agrees with addition and multiplication at the edges") {
  for (const Scalar& a : edge_scalars()) {
    CHECK(is_reduced(a));
    CHECK(same(add(a, negate(a)), Scalar{}));
    CHECK(same(multiply(a, kOne), a));
    CHECK(same(multiply(add(a, kOrder), kOne), a));
    const Scalar b = random_scalar(), c = random_scalar();
    CHECK(same(multiply(a, add(b, c)), add(multiply(a, b), multiply(a, c))));
  }
  uint8_t bytes[64];
  std::memset(bytes, 0xff, 64);  // 2^512 - 1
  Scalar power = kOne;
  for (int i = 0; i < 512; i++) power = add(power, power);
  CHECK(same(add(reduce_64(bytes), kOne), power));
}

TEST_CASE("only scalars below L are reduced") {
  CHECK(is_reduced(negate(kOne)));
  CHECK_FALSE(is_reduced(kOrder));
  CHECK_FALSE(is_reduced({{~0ull, ~0ull, ~0ull, ~0ull}}));
  Scalar above = kOrder;
  above.word[0]++;
  CHECK_FALSE(is_reduced(above));
}

TEST_CASE("digits of any base add up to the scalar and stay within half the base") {
  for (const Scalar& scalar : edge_scalars()) {
    for (int bits = 4; bits <= 12; bits++) {
      const int count = 253 / bits + 1;
      int16_t digits[64];
      recode(scalar, bits, count, digits);
      Scalar sum{};
      for (int i = count - 1; i >= 0; i--) {
        for (int j = 0; j < bits; j++) sum = add(sum, sum);
        REQUIRE(std::abs(digits[i]) <= (1 << (bits - 1)));
        const Scalar magnitude{{static_cast<uint64_t>(std::abs(digits[i])), 0, 0, 0}};
        sum = add(sum, digits[i] < 0 ? negate(magnitude) : magnitude);
      }
      CHECK(same(sum, scalar));
    }
  }
}

TEST_CASE("the short relation holds, is short and is not trivial") {
  for (const Scalar& h : edge_scalars()) {
    const HalfSize half = half_size(h);
    const Scalar u = half.u_negative ? negate(half.u_magnitude) : half.u_magnitude;
    CHECK(same(multiply(u, h), half.v));
    CHECK_FALSE(same(half.u_magnitude, Scalar{}));
    const uint64_t above_128 = half.u_magnitude.word[2] | half.u_magnitude.word[3] | half.v.word[2] | half.v.word[3];
    CHECK(above_128 == 0);
    CHECK(half.u_magnitude.word[1] < (uint64_t{1} << 62));
    CHECK(half.v.word[1] < (uint64_t{1} << 63));
  }
}

TEST_CASE("every row encodes the same multiples of B, and decodes them again") {
  const std::vector<Scalar> scalars = edge_scalars();
  std::vector<uint8_t> expected(32 * scalars.size()), encodings(32 * scalars.size());
  CHECK(dispatch::force_level("scalar") == dispatch::ForceResult::kOk);
  encode_multiples(scalars, expected.data());
  for_each_level([&] {
    encode_multiples(scalars, encodings.data());
    CHECK(encodings == expected);
    std::vector<Entry> points(scalars.size());
    std::vector<uint8_t> status(scalars.size());
    decode_rows(encodings.data(), 32, scalars.size(), points.data(), status.data());
    std::vector<Term> terms;
    for (const Entry& point : points) terms.push_back(reinterpret_cast<Term>(&point));
    const Row& row = row_for(points.size());
    row.sum_and_encode(terms.data(), 1, terms.size(), terms.size(), WorkspaceMemory(row).get(), encodings.data());
    CHECK(encodings == expected);
    for (size_t i = 0; i < status.size(); i++)
      CHECK(int{status[i]} == (same(scalars[i], Scalar{}) ? kSmallOrder : kPoint));
  });
}

// Powers of two and their neighbours, numbers around p, and all combinations of limbs at the edges of the unsigned and
// of the balanced range: the carries of products, canonical form and square roots.
TEST_CASE("every row decodes edge encodings alike") {
  std::vector<uint8_t> encodings;
  const auto push = [&](const uint8_t* bytes) { encodings.insert(encodings.end(), bytes, bytes + 32); };
  for (int bit = 0; bit < 256; bit++) {
    uint8_t power[32] = {}, ones[32], complement[32];
    power[bit / 8] = static_cast<uint8_t>(1 << (bit % 8));
    for (int i = 0; i < 32; i++) {
      ones[i] = static_cast<uint8_t>(i < bit / 8 ? 0xff : i == bit / 8 ? (1 << (bit % 8)) - 1 : 0);
      complement[i] = static_cast<uint8_t>(~power[i]);
    }
    push(power), push(ones), push(complement);
  }
  for (int low = 0; low < 256; low++) {
    uint8_t near_prime[32];
    std::memset(near_prime, 0xff, 32);
    near_prime[0] = static_cast<uint8_t>(low);
    push(near_prime);
    near_prime[31] = 0x7f;
    push(near_prime);
  }
  const uint64_t half = uint64_t{1} << 50;
  const uint64_t limbs[6] = {0, 1, half - 1, half, half + 1, 2 * half - 1};
  for (int combination = 0; combination < 6 * 6 * 6 * 6 * 6; combination++) {
    uint64_t limb[5];
    for (int k = 0, rest = combination; k < 5; k++, rest /= 6) limb[k] = limbs[rest % 6];
    const uint64_t word[4] = {limb[0] | limb[1] << 51, limb[1] >> 13 | limb[2] << 38, limb[2] >> 26 | limb[3] << 25,
                              limb[3] >> 39 | limb[4] << 12};
    push(reinterpret_cast<const uint8_t*>(word));
  }
  const size_t count = encodings.size() / 32;
  std::vector<Entry> expected(count), points(count);
  std::vector<uint8_t> expected_status(count), status(count);
  CHECK(dispatch::force_level("scalar") == dispatch::ForceResult::kOk);
  decode_rows(encodings.data(), 32, count, expected.data(), expected_status.data());
  for_each_level([&] {
    decode_rows(encodings.data(), 32, count, points.data(), status.data());
    CHECK(status == expected_status);
    std::vector<Term> terms;
    std::vector<uint8_t> again(32 * count);
    for (size_t i = 0; i < count; i++) {
      terms.push_back(reinterpret_cast<Term>(status[i] == kNotAPoint ? &kZeroEntry : &points[i]));
    }
    const Row& row = row_for(count);
    row.sum_and_encode(terms.data(), 1, count, count, WorkspaceMemory(row).get(), again.data());
    for (size_t i = 0; i < count; i++) {
      if (status[i] != kNotAPoint) CHECK(std::memcmp(&again[32 * i], &encodings[32 * i], 32) == 0);
    }
  });
}

TEST_CASE("a sum of multiples that cancels is found, and one that is off by one point is not") {
  const std::vector<Scalar> edges = edge_scalars();
  for_each_level([&] {
    for (const size_t count : {1, 2, 7, 64, 300}) {
      std::vector<Scalar> dlogs(edges.begin() + 5, edges.begin() + 5 + static_cast<ptrdiff_t>(2 * count));
      std::vector<uint8_t> encodings(64 * count), status(2 * count);
      encode_multiples(dlogs, encodings.data());
      std::vector<Entry> points(2 * count);
      decode_rows(encodings.data(), 32, 2 * count, points.data(), status.data());
      std::vector<Summands> parts((count + 99) / 100);
      for (size_t i = 0; i < count; i++) {
        Scalar z = random_scalar();
        z.word[2] = z.word[3] = 0;
        const Scalar c = edges[(7 * i + count) % edges.size()];
        Summands& part = parts[i / 100];
        part.shorts.push_back({&points[2 * i], z});
        part.longs.push_back({&points[2 * i + 1], c});
        part.base = add(part.base, add(multiply(z, dlogs[2 * i]), multiply(c, dlogs[2 * i + 1])));
      }
      for (const unsigned threads : {1u, 2u, 3u, 70u}) CHECK(is_sum_of_small_order(parts, threads));
      parts.back().base = add(parts.back().base, kOne);
      for (const unsigned threads : {1u, 2u, 3u, 70u}) CHECK_FALSE(is_sum_of_small_order(parts, threads));
    }
  });
}

TEST_CASE("the key map numbers keys in order of arrival, whatever their bytes share") {
  KeyMap map;
  std::vector<std::vector<uint8_t>> keys;
  for (int i = 0; i < 3000; i++) {
    std::vector<uint8_t> key(32);
    key[static_cast<size_t>(i % 32)] = static_cast<uint8_t>(i);
    key[static_cast<size_t>((i + 7) % 32)] ^= static_cast<uint8_t>(i >> 8);
    keys.push_back(key);
  }
  std::vector<uint32_t> numbers;
  for (const auto& key : keys) numbers.push_back(map.insert(key.data()));
  for (size_t i = 0; i < keys.size(); i++) {
    CHECK(map.insert(keys[i].data()) == numbers[i]);
    CHECK(std::memcmp(map.key(numbers[i]), keys[i].data(), 32) == 0);
  }
}

TEST_CASE("small groups hold exactly where their equations do") {
  const std::vector<Scalar> edges = edge_scalars();
  const size_t count = 130, wrong = 37;
  std::vector<Scalar> dlogs(edges.begin() + 5, edges.begin() + 5 + 2 * count);
  std::vector<uint8_t> encodings(64 * count), status(2 * count);
  encode_multiples(dlogs, encodings.data());
  std::vector<Entry> points(2 * count);
  decode_rows(encodings.data(), 32, 2 * count, points.data(), status.data());
  for_each_level([&] {
    std::vector<WeightedEquation> equations;
    for (size_t i = 0; i < count; i++) {
      Scalar z = random_scalar();
      z.word[2] = z.word[3] = 0;
      const Scalar zh = edges[(11 * i) % edges.size()];
      Scalar zs = add(multiply(z, dlogs[2 * i]), multiply(zh, dlogs[2 * i + 1]));
      if (i == wrong) zs = add(zs, kOne);
      equations.push_back({&points[2 * i], &points[2 * i + 1], z, zh, zs});
    }
    for (const size_t used : {size_t{1}, size_t{16}, size_t{17}, count}) {
      std::vector<uint8_t> holds((used + kGroupSize - 1) / kGroupSize);
      check_groups(equations.data(), used, holds.data());
      for (size_t g = 0; g < holds.size(); g++) CHECK((holds[g] != 0) == (used <= wrong || g != wrong / kGroupSize));
    }
  });
}

namespace {

// Signatures made from known secrets, R = nonce * B and S = nonce + h * secret; every tenth message is then changed.
struct SignedBatch {
  static constexpr size_t kMessageBytes = 40;
  std::vector<uint8_t> keys, signatures, messages, expected;

  explicit SignedBatch(size_t count) : keys(32 * count), signatures(64 * count), messages(kMessageBytes * count) {
    std::vector<Scalar> secrets, nonces;
    for (size_t i = 0; i < count; i++) secrets.push_back(random_scalar()), nonces.push_back(random_scalar());
    std::vector<uint8_t> points(32 * count);
    encode_multiples(secrets, keys.data());
    encode_multiples(nonces, points.data());
    std::vector<const uint8_t*> key_rows(count);
    for (size_t i = 0; i < count; i++) {
      key_rows[i] = &keys[32 * i];
      std::memcpy(&signatures[64 * i], &points[32 * i], 32);
      messages[kMessageBytes * i] = static_cast<uint8_t>(i);
    }
    std::vector<Scalar> h(count);
    hash_challenges(batch(), 0, count, key_rows.data(), h.data());
    for (size_t i = 0; i < count; i++) {
      const Scalar s = add(nonces[i], multiply(h[i], secrets[i]));
      std::memcpy(&signatures[64 * i + 32], s.word, 32);
      expected.push_back(i % 10 != 3);
      if (!expected[i]) messages[kMessageBytes * i + 1] ^= 1;
    }
  }

  Batch batch() const { return {keys.size() / 32, signatures.data(), messages.data(), nullptr, kMessageBytes}; }
};

}  // namespace

TEST_CASE("threads share the pool and a growing registry without changing an answer") {
  const SignedBatch signatures(400);
  const Batch batch = signatures.batch();
  KeyRegistry registry(40 * KeyRegistry::kTableBytes);
  std::vector<uint32_t> indices(batch.count);
  CHECK_FALSE(registry.add(signatures.keys.data(), 200, 2, indices.data()));
  std::vector<uint8_t> first(batch.count), second(200), third(200);
  std::thread grows([&] { (void)registry.add(&signatures.keys[32 * 200], 200, 2, &indices[200]); });
  Batch half = batch;
  half.count = 200;
  std::thread verifies([&] { (void)registry.verify_many(indices.data(), half, 2, second.data()); });
  (void)registry.verify_many(indices.data(), half, 2, third.data());
  verify_many(signatures.keys.data(), batch, 2, first.data());
  grows.join();
  verifies.join();
  CHECK(first == signatures.expected);
  const std::vector<uint8_t> expected_half(signatures.expected.begin(), signatures.expected.begin() + 200);
  CHECK(second == expected_half);
  CHECK(third == expected_half);
  CHECK(registry.size() == 400);
  CHECK(registry.tables() == 40);
  CHECK_FALSE(registry.verify_many(indices.data(), batch, 3, first.data()));
  CHECK(first == signatures.expected);
}

TEST_CASE("a registry that lacks memory while it adds answers for every key that it knows") {
  const SignedBatch signatures(12);
  KeyRegistry registry(8 * KeyRegistry::kTableBytes);
  std::vector<uint32_t> indices(12);
  CHECK_FALSE(registry.add(signatures.keys.data(), 2, 1, indices.data()));
  auto check = [&] {
    Batch known = signatures.batch();
    known.count = registry.size();
    std::vector<uint32_t> numbers(known.count);
    for (size_t i = 0; i < known.count; i++) numbers[i] = static_cast<uint32_t>(i);
    std::vector<uint8_t> valid(known.count);
    CHECK_FALSE(registry.verify_many(numbers.data(), known, 1, valid.data()));
    CHECK(std::equal(valid.begin(), valid.end(), signatures.expected.begin()));
  };
  const int failures = pyledger::parallel::fail_each_allocation(
      [&] { (void)registry.add(signatures.keys.data(), 12, 1, indices.data()); }, check);
  CHECK(failures >= 3);
  CHECK(registry.size() == 12);
  CHECK(registry.tables() == 8);
  check();
}
