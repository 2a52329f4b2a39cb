// Checks of many signatures and certificates at once: one equation, one final exponentiation.
//
// A certificate i is right if e(K_i, H_i) = e(G, s_i), with K_i the sum of its signers' keys. With random coefficients
// r_i, all are right (up to probability 2^-64) if  PROD e(K_i, r_i H_i) * e(-G, SUM r_i s_i) = 1.  Certificates with
// the same signers share one pairing. Since validators change slowly, K_i is also the sum A of all keys less those of
// the absent, so the product is
//   e(A, SUM r_i H_i) * PROD_j e(-pk_j, SUM_{i: j absent} r_i H_i)
// with one pairing for each validator that is absent anywhere. Whichever form has fewer pairings is used.
//
// Infinity: where the equation holds, K_i is infinity only if s_i is, and infinite signatures are refused, so no
// certificate with an aggregate key at infinity passes (validators who choose opposite keys can make one).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "bls/certificate.h"
#include "bls/suite.h"
#include "bls/validator_set.h"

namespace pyledger::bls {

// One signer, one message, one signature (encoded).
template <class Suite>
struct Signed {
  const typename Suite::Key::Affine* key;
  std::span<const uint8_t> message;
  const uint8_t* signature;
};

// Every single signature is right, or the first that is not.
template <class Suite>
Verdict verify_signatures(std::span<const Signed<Suite>> items, Purpose purpose, unsigned threads);

// Every certificate is one of `validators`, of this purpose, signed by a quorum; or the first that is not.
template <class Suite>
Verdict verify_certificates(const ValidatorSet<Suite>& validators, std::span<const CertificateView> certificates,
                            Purpose purpose, unsigned threads);

}  // namespace pyledger::bls
