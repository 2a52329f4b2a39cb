#include "bls/secret_key.h"

#include <string.h>

#include "bls/random.h"

namespace pyledger::bls {

void wipe(void* memory, size_t size) { explicit_bzero(memory, size); }

SecretKey::~SecretKey() { wipe(&scalar_, sizeof scalar_); }

std::unique_ptr<SecretKey> SecretKey::from_seed(std::span<const uint8_t> seed) {
  if (seed.size() < kSeedBytesMin) return nullptr;
  std::unique_ptr<SecretKey> key(new SecretKey);
  blst_keygen(&key->scalar_, seed.data(), seed.size(), nullptr, 0);
  return key;
}

std::unique_ptr<SecretKey> SecretKey::from_bytes(std::span<const uint8_t> bytes_32) {
  if (bytes_32.size() != kBytes) return nullptr;
  std::unique_ptr<SecretKey> key(new SecretKey);
  blst_scalar_from_bendian(&key->scalar_, bytes_32.data());
  if (!blst_sk_check(&key->scalar_)) return nullptr;
  return key;
}

std::unique_ptr<SecretKey> SecretKey::generate() {
  uint8_t seed[kSeedBytesMin];
  fill_random(seed, sizeof seed);
  auto key = from_seed(seed);
  wipe(seed, sizeof seed);
  return key;
}

template <class Suite>
std::vector<uint8_t> SecretKey::public_key() const {
  typename Suite::Key::Point key;
  Suite::Key::public_key(key, scalar_);
  std::vector<uint8_t> out(Suite::Key::kBytes);
  Suite::Key::encode(out.data(), key);
  return out;
}

template <class Suite>
std::vector<uint8_t> SecretKey::sign(std::span<const uint8_t> message, Purpose purpose) const {
  typename Suite::Signature::Point point;
  Suite::Signature::hash(point, message.data(), message.size(), tag<Suite>(purpose));
  sign<Suite>(point, point);
  std::vector<uint8_t> out(Suite::Signature::kBytes);
  Suite::Signature::encode(out.data(), point);
  return out;
}

template <class Suite>
void SecretKey::sign(typename Suite::Signature::Point& out, const typename Suite::Signature::Point& hash) const {
  Suite::Signature::sign(out, hash, scalar_);
}

template <class Suite>
std::vector<uint8_t> SecretKey::proof_of_possession() const {
  return sign<Suite>(public_key<Suite>(), Purpose::kProof);
}

template std::vector<uint8_t> SecretKey::public_key<MinSig>() const;
template std::vector<uint8_t> SecretKey::public_key<MinPk>() const;
template std::vector<uint8_t> SecretKey::sign<MinSig>(std::span<const uint8_t>, Purpose) const;
template std::vector<uint8_t> SecretKey::sign<MinPk>(std::span<const uint8_t>, Purpose) const;
template void SecretKey::sign<MinSig>(MinSig::Signature::Point&, const MinSig::Signature::Point&) const;
template void SecretKey::sign<MinPk>(MinPk::Signature::Point&, const MinPk::Signature::Point&) const;
template std::vector<uint8_t> SecretKey::proof_of_possession<MinSig>() const;
template std::vector<uint8_t> SecretKey::proof_of_possession<MinPk>() const;

}  // namespace pyledger::bls
