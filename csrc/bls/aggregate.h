// Signatures of any keys on any messages, added up and checked as one: what stands outside a validator set (timeouts
// that differ per signer, evidence, other implementations' signatures).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "bls/suite.h"

namespace pyledger::bls {

using ByteView = std::span<const uint8_t>;

// Sum of encoded signatures into `out` (Signature::kBytes). Each must be in the subgroup and not infinity, and so must
// the sum; there must be one at least.
template <class Suite>
Verdict aggregate_signatures(std::span<const ByteView> signatures, uint8_t* out);

// AggregateVerify of draft-irtf-cfrg-bls-signature-05, section 2.9, under `tag`: signature is the sum of the signatures
// of key i on message i. Equal messages are allowed, so possession of the keys must be proven. The verdict's index
// names a key that is refused, or is their number if it is the signature.
template <class Suite>
Verdict verify_aggregate(std::span<const ByteView> keys, std::span<const ByteView> messages, ByteView signature,
                         std::string_view tag);

}  // namespace pyledger::bls
