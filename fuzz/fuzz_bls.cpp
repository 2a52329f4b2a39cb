// Bytes from anywhere into the decoders of certificates, validator sets and points: no fault of memory, one encoding
// each, and nothing accepted that breaks a rule.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <vector>

#include "bls/aggregate.h"
#include "bls/certificate.h"
#include "bls/certify.h"
#include "bls/validator_set.h"

using namespace pyledger::bls;

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

void certificate(std::span<const uint8_t> bytes) {
  CertificateView view;
  if (read_certificate(bytes, view) != nullptr) return;
  const std::vector<uint8_t> again = write_certificate(view);
  require(again.size() == bytes.size() && std::memcmp(again.data(), bytes.data(), bytes.size()) == 0);
  size_t signers = 0;
  for (size_t i = 0; i < view.bitmap.size() * 8; i++) signers += bit(view.bitmap.data(), i) && i < view.validators;
  require(signers >= 1 && signers <= view.validators);
}

template <class Suite>
void validators(std::span<const uint8_t> bytes) {
  ValidatorSet<Suite> set;
  if (!ValidatorSet<Suite>::read(bytes, 1, set).ok()) return;
  require(set.size() >= 1 && set.quorum_weight() <= set.total_weight());
  for (size_t i = 0; i < set.size(); i++) require(set.weight(i) > 0 && !Suite::Key::is_infinity(set.key(i)));
}

// A point that is accepted alone is a sum of one, and comes back as the same bytes.
template <class Suite>
void point(std::span<const uint8_t> bytes) {
  uint8_t out[Suite::Signature::kBytes];
  if (!aggregate_signatures<Suite>({&bytes, 1}, out).ok()) return;
  require(bytes.size() == sizeof out && std::memcmp(out, bytes.data(), sizeof out) == 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span<const uint8_t> bytes(data, size);
  certificate(bytes);
  validators<MinSig>(bytes);
  validators<MinPk>(bytes);
  point<MinSig>(bytes);
  point<MinPk>(bytes);
  return 0;
}
