#include "ed25519/exact.h"

#include <vector>

#include "ed25519/select.h"
#include "ed25519/tables.h"

namespace pyledger::ed25519 {
namespace {

// u * (S * B - R - h * A) = (u S) * B - u * R - v * A with the short relation u h = v; the sign of u goes to A.
ExactTask make_task(const ExactInput& input, const BaseTable& base) {
  ExactTask task;
  const HalfSize half = half_size(input.h);
  task.r = input.r;
  task.a = input.a;
  recode(half.u_magnitude, 4, kHalfDigits, task.r_digits);
  recode(half.v, 4, kHalfDigits, task.a_digits);
  for (int16_t& digit : task.r_digits) digit = static_cast<int16_t>(-digit);
  for (int16_t& digit : task.a_digits) digit = static_cast<int16_t>(half.u_negative ? digit : -digit);
  task.base_terms_count = static_cast<size_t>(base.shape.windows);
  write_terms(base.entries, base.shape, multiply(half.u_magnitude, input.s), false, task.base_terms, 1);
  return task;
}

}  // namespace

void decode_rows(const uint8_t* encodings, size_t stride_bytes, size_t count, Entry* points, uint8_t* status) {
  std::vector<const uint8_t*> rows(count);
  for (size_t i = 0; i < count; i++) rows[i] = encodings + stride_bytes * i;
  row_for(count).decode(rows.data(), count, points, status);
}

void check_exact(const ExactInput* inputs, size_t count, uint8_t* valid) {
  const BaseTable base = base_table(count);
  std::vector<ExactTask> tasks(count);
  for (size_t i = 0; i < count; i++) tasks[i] = make_task(inputs[i], base);
  row_for(count).check_exact(tasks.data(), count, valid);
}

void verify_exact(const Batch& batch, size_t first, size_t count, const uint8_t* keys, uint8_t* valid) {
  std::vector<Entry> points(2 * count);
  std::vector<uint8_t> status(2 * count);
  std::vector<const uint8_t*> encodings(2 * count);
  for (size_t k = 0; k < count; k++) {
    encodings[k] = keys + 32 * k;
    encodings[count + k] = batch.r(first + k);
  }
  row_for(2 * count).decode(encodings.data(), 2 * count, points.data(), status.data());
  std::vector<Scalar> h(count);
  hash_challenges(batch, first, count, encodings.data(), h.data());

  std::vector<ExactInput> inputs;
  std::vector<size_t> positions;
  for (size_t k = 0; k < count; k++) {
    valid[k] = 0;
    const Scalar s = batch.s(first + k);
    if (status[k] != kPoint || status[count + k] == kNotAPoint || !is_reduced(s)) continue;
    inputs.push_back({&points[count + k], &points[k], s, h[k]});
    positions.push_back(k);
  }
  std::vector<uint8_t> answers(inputs.size());
  check_exact(inputs.data(), inputs.size(), answers.data());
  for (size_t i = 0; i < answers.size(); i++) valid[positions[i]] = answers[i];
}

}  // namespace pyledger::ed25519
