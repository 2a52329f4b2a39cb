#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <memory>
#include <numeric>
#include <vector>

#include "bls/certificate.h"
#include "bls/certify.h"
#include "bls/lanes.h"
#include "bls/random.h"
#include "bls/secret_key.h"
#include "bls/subgroup.h"
#include "bls/validator_set.h"
#include "bls/votes.h"
#include "dispatch/cpu.h"

using namespace pyledger::bls;
namespace dispatch = pyledger::dispatch;

namespace {

using Bytes = std::vector<uint8_t>;

template <class Suite>
struct Institutions {
  std::vector<std::unique_ptr<SecretKey>> keys;
  std::shared_ptr<ValidatorSet<Suite>> set = std::make_shared<ValidatorSet<Suite>>();
  Bytes encoded;

  explicit Institutions(size_t n) {
    encoded = {Suite::kScheme, static_cast<uint8_t>(n), static_cast<uint8_t>(n >> 8)};
    for (size_t i = 0; i < n; i++) {
      Bytes seed(32, static_cast<uint8_t>(i + 1));
      seed[0] = static_cast<uint8_t>(i >> 8);
      keys.push_back(SecretKey::from_seed(seed));
      encoded.insert(encoded.end(), {1, 0, 0, 0, 0, 0, 0, 0});
      for (const Bytes& part : {keys[i]->public_key<Suite>(), keys[i]->proof_of_possession<Suite>()}) {
        encoded.insert(encoded.end(), part.begin(), part.end());
      }
    }
    REQUIRE(ValidatorSet<Suite>::read(encoded, 1, *set).ok());
  }

  Bytes certificate(const Bytes& message, size_t absent_from) const {
    VoteSet<Suite> votes(set, message, Purpose::kVote);
    for (size_t i = 0; i < absent_from; i++)
      REQUIRE(votes.add(i, keys[i]->sign<Suite>(message, Purpose::kVote)) == nullptr);
    REQUIRE(votes.settle(1).empty());
    return votes.certificate();
  }
};

Bytes message_of(size_t i) { return {'m', static_cast<uint8_t>(i), static_cast<uint8_t>(i >> 8)}; }

}  // namespace

TEST_CASE_TEMPLATE("certificates verify together and the first wrong one is named", Suite, MinSig, MinPk) {
  const Institutions<Suite> banks(7);
  std::vector<Bytes> encoded;
  for (size_t i = 0; i < 70; i++) encoded.push_back(banks.certificate(message_of(i), 5 + i % 3));
  std::vector<CertificateView> views(encoded.size());
  for (size_t i = 0; i < views.size(); i++) REQUIRE(read_certificate(encoded[i], views[i]) == nullptr);
  for (unsigned threads : {1u, 2u}) CHECK(verify_certificates<Suite>(*banks.set, views, Purpose::kVote, threads).ok());
  for (size_t wrong : {0u, 33u, 69u}) {
    std::vector<CertificateView> tampered = views;
    tampered[wrong].message = tampered[(wrong + 1) % 70].message;
    const Verdict verdict = verify_certificates<Suite>(*banks.set, tampered, Purpose::kVote, 2);
    CHECK(!verdict.ok());
    CHECK(verdict.index == wrong);
  }
}

TEST_CASE_TEMPLATE("bad votes are found by name and the rest make a certificate", Suite, MinSig, MinPk) {
  const Institutions<Suite> banks(10);
  const Bytes message = message_of(1);
  VoteSet<Suite> votes(banks.set, message, Purpose::kVote);
  for (size_t i = 0; i < 10; i++) {
    const Bytes& signed_message = i == 2 || i == 9 ? message_of(2) : message;
    REQUIRE(votes.add(i, banks.keys[i]->template sign<Suite>(signed_message, Purpose::kVote)) == nullptr);
  }
  CHECK(votes.settle(2) == std::vector<size_t>{2, 9});
  const Bytes encoded = votes.certificate();
  CertificateView view;
  REQUIRE(read_certificate(encoded, view) == nullptr);
  CHECK(verify_certificates<Suite>(*banks.set, {&view, 1}, Purpose::kVote, 1).ok());
}

TEST_CASE_TEMPLATE("every truncation and extension of a validator set is refused", Suite, MinSig, MinPk) {
  const Institutions<Suite> banks(2);
  ValidatorSet<Suite> out;
  Bytes longer = banks.encoded;
  longer.push_back(0);
  CHECK(!ValidatorSet<Suite>::read(longer, 1, out).ok());
  for (size_t size = 0; size < banks.encoded.size(); size++) {
    const Bytes shorter(banks.encoded.begin(), banks.encoded.begin() + static_cast<ptrdiff_t>(size));
    CHECK(!ValidatorSet<Suite>::read(shorter, 1, out).ok());
  }
}

TEST_CASE("every truncation and extension of a certificate is refused") {
  const Institutions<MinSig> banks(4);
  const Bytes encoded = banks.certificate(message_of(0), 3);
  CertificateView view;
  REQUIRE(read_certificate(encoded, view) == nullptr);
  CHECK(write_certificate(view) == encoded);
  Bytes longer = encoded;
  longer.push_back(0);
  CHECK(read_certificate(longer, view) != nullptr);
  for (size_t size = 0; size < encoded.size(); size++) {
    const Bytes shorter(encoded.begin(), encoded.begin() + static_cast<ptrdiff_t>(size));
    CHECK(read_certificate(shorter, view) != nullptr);
  }
}

TEST_CASE("random coefficients are never zero and differ") {
  const std::vector<uint64_t> coefficients = random_coefficients(100);
  for (size_t i = 0; i < coefficients.size(); i++) {
    CHECK(coefficients[i] != 0);
    for (size_t j = 0; j < i; j++) CHECK(coefficients[i] != coefficients[j]);
  }
}

// A point of E(Fp) outside G1: the first x from `start` that is on the curve. Its cofactor is 1.2 * 2^125.
static blst_p1_affine point_outside_g1(uint8_t start) {
  uint8_t bytes[48] = {0x80};
  blst_p1_affine point;
  for (uint8_t x = start;; x++) {
    bytes[47] = x;
    if (blst_p1_uncompress(&point, bytes) == BLST_SUCCESS && !blst_p1_affine_in_g1(&point)) return point;
  }
}

TEST_CASE("each point outside the subgroup is found, alone or among many, on every row") {
  for (const char* level : {"native", "scalar"}) {
    REQUIRE(dispatch::force_level(level) == dispatch::ForceResult::kOk);
    for (size_t n : {1u, 3u, 8u, 63u, 64u, 200u}) {
      std::vector<blst_p1_affine> points(n, *blst_p1_affine_generator());
      CHECK(find_outside_subgroup<G1>(points, 1).empty());
      points[n / 2] = point_outside_g1(1);
      CHECK(find_outside_subgroup<G1>(points, 2) == std::vector<size_t>{n / 2});
      points[0] = points[n / 2];
      G1::negate(points[0]);  // the two cancel in the plain sum
      const std::vector<size_t> expected = n == 1 ? std::vector<size_t>{0} : std::vector<size_t>{0, n / 2};
      CHECK(find_outside_subgroup<G1>(points, 1) == expected);
    }
  }
  dispatch::force_level("native");
}

namespace {

// k times a point of the whole curve, by doubling and adding: blst's own multiplication may assume the subgroup.
blst_p1 times(const blst_p1& point, const Bytes& k_big_endian) {
  blst_p1 out{};
  for (const uint8_t byte : k_big_endian) {
    for (int i = 7; i >= 0; i--) {
      blst_p1_double(&out, &out);
      if (byte >> i & 1) blst_p1_add_or_double(&out, &out, &point);
    }
  }
  return out;
}

Bytes big_endian(uint64_t value) {
  Bytes out;
  for (int i = 56; i >= 0; i -= 8) out.push_back(static_cast<uint8_t>(value >> i));
  return out;
}

// The order r of G1, and the primes of the cofactor (z - 1)^2 / 3; 3 divides it once, the others twice.
const Bytes kOrder = {0x73, 0xed, 0xa7, 0x53, 0x29, 0x9d, 0x7d, 0x48, 0x33, 0x39, 0xd8, 0x08, 0x09, 0xa1, 0xd8, 0x05,
                      0x53, 0xbd, 0xa4, 0x02, 0xff, 0xfe, 0x5b, 0xfe, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x01};
constexpr uint64_t kCofactorPrimes[] = {3, 11, 11, 10177, 10177, 859267, 859267, 52437899, 52437899};

// A point whose order is one prime of the cofactor, from a point of the whole curve.
blst_p1 point_of_order(uint64_t prime, const blst_p1_affine& whole) {
  blst_p1 point;
  blst_p1_from_affine(&point, &whole);
  point = times(point, kOrder);
  for (const uint64_t other : kCofactorPrimes) {
    if (other != prime) point = times(point, big_endian(other));
  }
  const blst_p1 smaller = times(point, big_endian(prime));
  return blst_p1_is_inf(&smaller) ? point : smaller;
}

}  // namespace

TEST_CASE("the eight-lane kernel judges every kind of point as blst does") {
  const InG1Eight kernel = lane_row().in_g1_eight;
  if (kernel == nullptr) {
    MESSAGE("this CPU has no eight-lane kernel");
    return;
  }
  std::vector<blst_p1_affine> points;
  for (uint8_t start = 1; start < 40; start++) {
    blst_p1 hashed, sum;
    G1::hash(hashed, &start, 1, "test");
    points.emplace_back();
    blst_p1_to_affine(&points.back(), &hashed);
    points.push_back(point_outside_g1(start));
    for (const uint64_t prime : {3u, 11u, 10177u, 859267u, 52437899u}) {
      const blst_p1 torsion = point_of_order(prime, points[points.size() - 1]);
      if (blst_p1_is_inf(&torsion)) continue;
      blst_p1_add_or_double(&sum, &hashed, &torsion);
      for (const blst_p1& point : {torsion, sum}) {
        blst_p1_affine affine;
        blst_p1_to_affine(&affine, &point);
        REQUIRE(blst_p1_affine_on_curve(&affine));
        points.insert(points.end() - 1, affine);  // the point of the whole curve stays last
      }
    }
  }
  REQUIRE(points.size() > 300);
  for (size_t first = 0; first + 8 <= points.size(); first++) {
    const uint64_t* words[8];
    for (size_t i = 0; i < 8; i++) words[i] = points[first + i].x.l;
    const unsigned bits = kernel(words);
    for (size_t i = 0; i < 8; i++) CHECK((bits >> i & 1) == blst_p1_affine_in_g1(&points[first + i]));
  }
}

TEST_CASE("a secret key is wiped when it goes") {
  const Bytes secret(32, 0x11);
  std::unique_ptr<SecretKey> key = SecretKey::from_bytes(secret);
  REQUIRE(key != nullptr);
  const auto* memory = reinterpret_cast<const volatile unsigned char*>(key.get());
  REQUIRE(memory[0] == 0x11);
  SecretKey* raw = key.release();
  raw->~SecretKey();
  for (size_t i = 0; i < sizeof(SecretKey); i++) CHECK(memory[i] == 0);
  ::operator delete(raw, sizeof(SecretKey));
}

TEST_CASE("secret keys outside [1, r - 1] and short seeds are refused") {
  CHECK(SecretKey::from_bytes(Bytes(32, 0)) == nullptr);
  CHECK(SecretKey::from_bytes(Bytes(32, 0xff)) == nullptr);
  CHECK(SecretKey::from_bytes(Bytes(31, 1)) == nullptr);
  CHECK(SecretKey::from_seed(Bytes(31, 1)) == nullptr);
}
