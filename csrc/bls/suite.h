// The two groups of BLS12-381 and the two suites over them, as thin names for blst's functions.
//
// min-sig: signatures in G1 (48 bytes), keys in G2 (96 bytes). min-pk: the other way round, as Ethereum and Chia use
// it. Encodings are the compressed ones of draft-irtf-cfrg-pairing-friendly-curves, appendix C. Domain separation tags
// follow draft-irtf-cfrg-bls-signature section 4.2.3 (scheme with proof of possession); timeouts have one of ours.
#pragma once

#include <blst.h>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace pyledger::bls {

// What a signature is for. Each purpose has its own tag, so none can stand in for another.
enum class Purpose : uint8_t { kVote = 0, kTimeout = 1, kProof = 2 };

// Where blst takes an array of pointers, a null after the first means "the rest follows it in memory".
template <class T>
struct Contiguous {
  const T* pointers[2];
  explicit Contiguous(const T* first) : pointers{first, nullptr} {}
  operator const T* const*() const { return pointers; }
};

struct G1 {
  using Point = blst_p1;
  using Affine = blst_p1_affine;
  static constexpr size_t kBytes = 48;

  static bool decode(Affine& out, const uint8_t* bytes_48) {
    return blst_p1_uncompress(&out, bytes_48) == BLST_SUCCESS;
  }
  static void encode(uint8_t* bytes_48, const Point& a) { blst_p1_compress(bytes_48, &a); }
  static void hash(Point& out, const uint8_t* message, size_t size, std::string_view tag) {
    blst_hash_to_g1(&out, message, size, reinterpret_cast<const uint8_t*>(tag.data()), tag.size(), nullptr, 0);
  }
  static bool is_infinity(const Affine& a) { return blst_p1_affine_is_inf(&a); }
  static bool is_infinity(const Point& a) { return blst_p1_is_inf(&a); }
  static bool in_group(const Affine& a) { return blst_p1_affine_in_g1(&a); }
  static bool in_group(const Point& a) { return blst_p1_is_inf(&a) || blst_p1_in_g1(&a); }
  static void to_affine(Affine& out, const Point& a) { blst_p1_to_affine(&out, &a); }
  static void to_affine(Affine* out, const Point* points, size_t n) { blst_p1s_to_affine(out, Contiguous(points), n); }
  static void to_point(Point& out, const Affine& a) { blst_p1_from_affine(&out, &a); }
  static void add(Point& a, const Point& b) { blst_p1_add_or_double(&a, &a, &b); }
  static void sum(Point& out, const Affine* const* points, size_t n) { blst_p1s_add(&out, points, n); }
  static void negate(Point& a) { blst_p1_cneg(&a, true); }
  static void negate(Affine& a) { blst_fp_cneg(&a.y, &a.y, true); }
  static void multiply(Point& out, const Point& a, uint64_t k) {
    blst_p1_mult(&out, &a, reinterpret_cast<const uint8_t*>(&k), 64);
  }
  static size_t combine_scratch_words(size_t n) { return blst_p1s_mult_pippenger_scratch_sizeof(n) / sizeof(limb_t); }
  static void combine(Point& out, const Affine* const* points, const uint8_t* const* coefficients, size_t n,
                      limb_t* scratch) {
    blst_p1s_mult_pippenger(&out, points, n, coefficients, 64, scratch);
  }
  static void public_key(Point& out, const blst_scalar& secret) { blst_sk_to_pk_in_g1(&out, &secret); }
  static void sign(Point& out, const Point& hash, const blst_scalar& secret) {
    blst_sign_pk_in_g2(&out, &hash, &secret);
  }
  static const Affine& negated_generator() { return BLS12_381_NEG_G1; }
};

struct G2 {
  using Point = blst_p2;
  using Affine = blst_p2_affine;
  static constexpr size_t kBytes = 96;

  static bool decode(Affine& out, const uint8_t* bytes_96) {
    return blst_p2_uncompress(&out, bytes_96) == BLST_SUCCESS;
  }
  static void encode(uint8_t* bytes_96, const Point& a) { blst_p2_compress(bytes_96, &a); }
  static void hash(Point& out, const uint8_t* message, size_t size, std::string_view tag) {
    blst_hash_to_g2(&out, message, size, reinterpret_cast<const uint8_t*>(tag.data()), tag.size(), nullptr, 0);
  }
  static bool is_infinity(const Affine& a) { return blst_p2_affine_is_inf(&a); }
  static bool is_infinity(const Point& a) { return blst_p2_is_inf(&a); }
  static bool in_group(const Affine& a) { return blst_p2_affine_in_g2(&a); }
  static bool in_group(const Point& a) { return blst_p2_is_inf(&a) || blst_p2_in_g2(&a); }
  static void to_affine(Affine& out, const Point& a) { blst_p2_to_affine(&out, &a); }
  static void to_affine(Affine* out, const Point* points, size_t n) { blst_p2s_to_affine(out, Contiguous(points), n); }
  static void to_point(Point& out, const Affine& a) { blst_p2_from_affine(&out, &a); }
  static void add(Point& a, const Point& b) { blst_p2_add_or_double(&a, &a, &b); }
  static void sum(Point& out, const Affine* const* points, size_t n) { blst_p2s_add(&out, points, n); }
  static void negate(Point& a) { blst_p2_cneg(&a, true); }
  static void negate(Affine& a) { blst_fp2_cneg(&a.y, &a.y, true); }
  static void multiply(Point& out, const Point& a, uint64_t k) {
    blst_p2_mult(&out, &a, reinterpret_cast<const uint8_t*>(&k), 64);
  }
  static size_t combine_scratch_words(size_t n) { return blst_p2s_mult_pippenger_scratch_sizeof(n) / sizeof(limb_t); }
  static void combine(Point& out, const Affine* const* points, const uint8_t* const* coefficients, size_t n,
                      limb_t* scratch) {
    blst_p2s_mult_pippenger(&out, points, n, coefficients, 64, scratch);
  }
  static void public_key(Point& out, const blst_scalar& secret) { blst_sk_to_pk_in_g2(&out, &secret); }
  static void sign(Point& out, const Point& hash, const blst_scalar& secret) {
    blst_sign_pk_in_g1(&out, &hash, &secret);
  }
  static const Affine& negated_generator() { return BLS12_381_NEG_G2; }
};

struct MinSig {
  using Signature = G1;
  using Key = G2;
  static constexpr uint8_t kScheme = 1;
  static constexpr std::string_view kTags[] = {"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_",
                                               "PYLEDGER_TIMEOUT_V1_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_",
                                               "BLS_POP_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_"};
  static void miller_loops(blst_fp12& out, const Key::Affine* keys, const Signature::Affine* signatures, size_t n) {
    blst_miller_loop_n(&out, Contiguous(keys), Contiguous(signatures), n);
  }
};

struct MinPk {
  using Signature = G2;
  using Key = G1;
  static constexpr uint8_t kScheme = 2;
  static constexpr std::string_view kTags[] = {"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_",
                                               "PYLEDGER_TIMEOUT_V1_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_",
                                               "BLS_POP_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_"};
  static void miller_loops(blst_fp12& out, const Key::Affine* keys, const Signature::Affine* signatures, size_t n) {
    blst_miller_loop_n(&out, Contiguous(signatures), Contiguous(keys), n);
  }
};

template <class Suite>
constexpr std::string_view tag(Purpose purpose) {
  return Suite::kTags[static_cast<size_t>(purpose)];
}

// What a check found: ok, or why not and at which item of the input.
struct Verdict {
  const char* reason = nullptr;  // static text; null if all is well
  size_t index = 0;
  bool ok() const { return reason == nullptr; }
};

}  // namespace pyledger::bls
