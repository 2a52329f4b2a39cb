#include "ed25519/registered.h"

#include <cstring>
#include <vector>

#include "ed25519/select.h"

namespace pyledger::ed25519 {
namespace {

struct Claim {
  size_t position;
  Scalar s, h;
};

// Signatures whose P has another encoding than their R: valid if R decodes and 8 (P - R) is the identity.
void check_mismatches(const std::vector<const uint8_t*>& encodings, const std::vector<size_t>& positions,
                      uint8_t* valid) {
  const size_t count = positions.size();
  if (count == 0) return;
  const Row& row = row_for(count);
  std::vector<Entry> points(2 * count);
  std::vector<uint8_t> status(2 * count), small_order(count);
  row.decode(encodings.data(), 2 * count, points.data(), status.data());
  std::vector<Term> terms(2 * count);
  for (size_t i = 0; i < count; i++) {
    if (status[2 * i + 1] == kNotAPoint) points[2 * i + 1] = points[2 * i];
    terms[i] = reinterpret_cast<Term>(&points[2 * i]);
    terms[count + i] = reinterpret_cast<Term>(&points[2 * i + 1]) | 1;
  }
  row.sum_and_check(terms.data(), 2, count, count, small_order.data());
  for (size_t i = 0; i < count; i++) valid[positions[i]] = small_order[i] && status[2 * i + 1] != kNotAPoint;
}

void check_claims(const Batch& batch, size_t first, const std::vector<Claim>& claims, const RegisteredKey* keys,
                  const BaseTable& base, uint8_t* valid) {
  const size_t count = claims.size();
  if (count == 0) return;
  const auto base_steps = static_cast<size_t>(base.shape.windows), key_steps = static_cast<size_t>(kKeyShape.windows);
  std::vector<Term> terms((base_steps + key_steps) * count);
  for (size_t i = 0; i < count; i++) {
    write_terms(base.entries, base.shape, claims[i].s, false, &terms[i], count);
    const Entry* table = keys[claims[i].position].table;
    write_terms(table, kKeyShape, claims[i].h, true, &terms[base_steps * count + i], count);
  }
  const Row& row = row_for(count);
  std::vector<uint8_t> sums(32 * count);
  row.sum_and_encode(terms.data(), base_steps + key_steps, count, count, WorkspaceMemory(row).get(), sums.data());

  std::vector<const uint8_t*> mismatches;
  std::vector<size_t> positions;
  for (size_t i = 0; i < count; i++) {
    const size_t position = claims[i].position;
    const uint8_t* r = batch.r(first + position);
    valid[position] = std::memcmp(&sums[32 * i], r, 32) == 0;
    if (valid[position]) continue;
    mismatches.insert(mismatches.end(), {&sums[32 * i], r});
    positions.push_back(position);
  }
  check_mismatches(mismatches, positions, valid);
}

}  // namespace

void verify_registered(const Batch& batch, size_t first, size_t count, const RegisteredKey* keys, const BaseTable& base,
                       uint8_t* valid) {
  std::vector<const uint8_t*> encodings(count);
  for (size_t k = 0; k < count; k++) encodings[k] = keys[k].encoding;
  std::vector<Scalar> h(count);
  hash_challenges(batch, first, count, encodings.data(), h.data());
  std::vector<Claim> claims;
  for (size_t k = 0; k < count; k++) {
    valid[k] = 0;
    const Scalar s = batch.s(first + k);
    if (is_reduced(s)) claims.push_back({k, s, h[k]});
  }
  check_claims(batch, first, claims, keys, base, valid);
}

}  // namespace pyledger::ed25519
