#include "bls/aggregate.h"

#include "bls/pairing.h"

namespace pyledger::bls {
namespace {

// A point in the subgroup, not infinity; or why not.
template <class Group>
const char* read_point(ByteView bytes, typename Group::Affine& out) {
  if (bytes.size() != Group::kBytes) return "not of this suite's length";
  if (!Group::decode(out, bytes.data())) return "not a canonical point of the curve";
  if (Group::is_infinity(out)) return "the point at infinity";
  if (!Group::in_group(out)) return "outside the prime-order subgroup";
  return nullptr;
}

}  // namespace

template <class Suite>
Verdict aggregate_signatures(std::span<const ByteView> signatures, uint8_t* out) {
  using Signature = typename Suite::Signature;
  if (signatures.empty()) return {"there are no signatures"};
  std::vector<typename Signature::Affine> points(signatures.size());
  for (size_t i = 0; i < points.size(); i++) {
    if (const char* reason = read_point<Signature>(signatures[i], points[i])) return {reason, i};
  }
  typename Signature::Point sum;
  Signature::sum(sum, Contiguous(points.data()), points.size());
  if (Signature::is_infinity(sum)) return {"the signatures cancel out", signatures.size()};
  Signature::encode(out, sum);
  return {};
}

template <class Suite>
Verdict verify_aggregate(std::span<const ByteView> keys, std::span<const ByteView> messages, ByteView signature,
                         std::string_view tag) {
  using Key = typename Suite::Key;
  using Signature = typename Suite::Signature;
  if (keys.empty() || keys.size() != messages.size())
    return {"expected a message for each of one or more keys", keys.size()};
  typename Signature::Affine sum;
  if (const char* reason = read_point<Signature>(signature, sum)) return {reason, keys.size()};
  PairingProduct<Suite> product;
  for (size_t i = 0; i < keys.size(); i++) {
    typename Key::Affine key;
    if (const char* reason = read_point<Key>(keys[i], key)) return {reason, i};
    typename Signature::Point hash;
    Signature::hash(hash, messages[i].data(), messages[i].size(), tag);
    product.add(key, hash);
  }
  typename Signature::Point point;
  Signature::to_point(point, sum);
  product.add(Key::negated_generator(), point);
  if (!product.is_one(1)) return {"does not match the messages and keys", keys.size()};
  return {};
}

template Verdict aggregate_signatures<MinSig>(std::span<const ByteView>, uint8_t*);
template Verdict aggregate_signatures<MinPk>(std::span<const ByteView>, uint8_t*);
template Verdict verify_aggregate<MinSig>(std::span<const ByteView>, std::span<const ByteView>, ByteView,
                                          std::string_view);
template Verdict verify_aggregate<MinPk>(std::span<const ByteView>, std::span<const ByteView>, ByteView,
                                         std::string_view);

}  // namespace pyledger::bls
