// A secret key: a scalar that is wiped when it goes, and has no way out but the one for key files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "bls/suite.h"

namespace pyledger::bls {

class SecretKey {
 public:
  static constexpr size_t kBytes = 32;
  static constexpr size_t kSeedBytesMin = 32;

  // KeyGen of draft-irtf-cfrg-bls-signature-05 section 2.3 with no key_info. Null if the seed is shorter than 32 bytes.
  static std::unique_ptr<SecretKey> from_seed(std::span<const uint8_t> seed);
  // A big-endian scalar in [1, r - 1]. Null if it is anything else.
  static std::unique_ptr<SecretKey> from_bytes(std::span<const uint8_t> bytes_32);
  // From a seed of the operating system.
  static std::unique_ptr<SecretKey> generate();

  SecretKey(const SecretKey&) = delete;
  SecretKey& operator=(const SecretKey&) = delete;
  ~SecretKey();

  template <class Suite>
  std::vector<uint8_t> public_key() const;
  template <class Suite>
  std::vector<uint8_t> sign(std::span<const uint8_t> message, Purpose purpose) const;
  // The same for a message that is hashed to the curve already; `out` may be `hash`.
  template <class Suite>
  void sign(typename Suite::Signature::Point& out, const typename Suite::Signature::Point& hash) const;
  // PopProve of the draft, section 3.3.2: the signature of the public key's own bytes under the proof tag.
  template <class Suite>
  std::vector<uint8_t> proof_of_possession() const;

 private:
  SecretKey() = default;
  blst_scalar scalar_{};
};

// Overwrites memory that held secrets, in a way that no compiler leaves out.
void wipe(void* memory, size_t size);

}  // namespace pyledger::bls
