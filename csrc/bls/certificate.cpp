#include "bls/certificate.h"

#include <algorithm>

#include "bls/validator_set.h"

namespace pyledger::bls {
namespace {

constexpr size_t kHeaderBytes = 6;

size_t load_u16(const uint8_t* bytes) { return bytes[0] | size_t{bytes[1]} << 8; }

const char* check_bitmap(std::span<const uint8_t> bitmap, size_t validators) {
  const size_t used = validators % 8;
  if (used != 0 && bitmap.back() >> used != 0) return "certificate: the bitmap's padding is not zero";
  const bool any = std::any_of(bitmap.begin(), bitmap.end(), [](uint8_t byte) { return byte != 0; });
  return any ? nullptr : "certificate: nobody signed";
}

}  // namespace

size_t signature_bytes(uint8_t scheme) {
  if (scheme == MinSig::kScheme) return MinSig::Signature::kBytes;
  if (scheme == MinPk::kScheme) return MinPk::Signature::kBytes;
  return 0;
}

const char* read_certificate(std::span<const uint8_t> bytes, CertificateView& out) {
  if (bytes.size() < kHeaderBytes) return "certificate: shorter than its header";
  const size_t signature_size = signature_bytes(bytes[0]);
  if (signature_size == 0) return "certificate: unknown scheme";
  if (bytes[1] > static_cast<uint8_t>(Purpose::kTimeout)) return "certificate: unknown purpose";
  const size_t validators = load_u16(bytes.data() + 2), message_size = load_u16(bytes.data() + 4);
  if (validators == 0 || validators > kValidatorsMax) return "certificate: expected 1 to 4096 validators";
  if (message_size == 0 || message_size > kMessageBytesMax) return "certificate: expected a message of 1 to 1024 bytes";
  const size_t bitmap_size = bitmap_bytes(validators);
  if (bytes.size() != kHeaderBytes + message_size + bitmap_size + signature_size) {
    return "certificate: not exactly as long as its parts";
  }
  out.scheme = bytes[0];
  out.purpose = static_cast<Purpose>(bytes[1]);
  out.validators = validators;
  out.message = bytes.subspan(kHeaderBytes, message_size);
  out.bitmap = bytes.subspan(kHeaderBytes + message_size, bitmap_size);
  out.signature = bytes.last(signature_size);
  return check_bitmap(out.bitmap, validators);
}

std::vector<uint8_t> write_certificate(const CertificateView& certificate) {
  const size_t validators = certificate.validators, message_size = certificate.message.size();
  std::vector<uint8_t> out = {certificate.scheme,
                              static_cast<uint8_t>(certificate.purpose),
                              static_cast<uint8_t>(validators),
                              static_cast<uint8_t>(validators >> 8),
                              static_cast<uint8_t>(message_size),
                              static_cast<uint8_t>(message_size >> 8)};
  for (const auto& part : {certificate.message, certificate.bitmap, certificate.signature}) {
    out.insert(out.end(), part.begin(), part.end());
  }
  return out;
}

}  // namespace pyledger::bls
