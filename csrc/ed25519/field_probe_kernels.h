// A FieldProbe over the Field that the including file brought in.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ed25519/curve.h"
#include "ed25519/field_probe.h"

namespace pyledger::ed25519 {
namespace {

template <class F>
constexpr bool kInDoubles = requires { typename F::Doubles; };

Vector gather(const int64_t* limbs, int k) {
  alignas(64) uint64_t lanes[kLanes];
  for (int lane = 0; lane < kLanes; lane++) lanes[lane] = static_cast<uint64_t>(limbs[5 * lane + k]);
  return Field::load_lanes(lanes);
}

void scatter(const Vector& vector, int k, int64_t* limbs) {
  alignas(64) uint64_t lanes[kLanes];
  Field::store_lanes(lanes, vector);
  for (int lane = 0; lane < kLanes; lane++) limbs[5 * lane + k] = static_cast<int64_t>(lanes[lane]);
}

// The limbs as they are, carried nowhere.
template <class F = Field>
Fe read(const int64_t* limbs) {
  Vector vector[5];
  for (int k = 0; k < 5; k++) vector[k] = gather(limbs, k);
  if constexpr (kInDoubles<F>) {
    for (Vector& v : vector) v = F::add(v, F::broadcast(kBias));
    return F::load(vector);
  } else {
    return F::from_limbs(vector);
  }
}

template <class F = Field>
void write(const Fe& a, int64_t* limbs) {
  Vector vector[5];
  if constexpr (kInDoubles<F>) {
    F::store(a, vector);
    for (Vector& v : vector) v = F::subtract(v, F::broadcast(kBias));
  } else {
    Field::to_limbs(a, vector);
  }
  for (int k = 0; k < 5; k++) scatter(vector[k], k, limbs);
}

Fe evaluate_form(Form form, const Fe& a, const Fe& b, const Fe& c, const Fe& d) {
  switch (form) {
    case Form::kProduct:
      return times(a, b);
    case Form::kSquare:
      return squared(b);
    case Form::kSum:
      return sum(b, d);
    case Form::kDifference:
      return difference(b, d);
    case Form::kSumOfProducts:
      return Field::reduce(Field::multiply(a, b) + Field::multiply(c, d));
    case Form::kDifferenceOfProducts:
      return Field::reduce(Field::multiply(a, b) - Field::multiply(c, d));
    case Form::kTwicePlusProduct:
      return Field::reduce((Field::raw(b) + Field::raw(b)) + Field::multiply(a, d));
    case Form::kTwiceMinusProduct:
      return Field::reduce((Field::raw(b) + Field::raw(b)) - Field::multiply(a, d));
    default:
      break;
  }
  const auto bb = Field::square(b);
  const auto bb2 = bb + bb;
  const auto bd = Field::multiply(b, d);
  return Field::reduce((bb2 + bb2) - (bd + bd));
}

void probe_evaluate(Form form, const int64_t* const* operands, size_t count, int64_t* limbs) {
  for (size_t i = 0; i < 5 * count; i += 5 * kLanes) {
    write(
        evaluate_form(form, read(operands[0] + i), read(operands[1] + i), read(operands[2] + i), read(operands[3] + i)),
        limbs + i);
  }
}

template <class F = Field>
Fe carry_columns(const __int128* columns) {
  if constexpr (kLanes == 1) {
    typename F::Raw raw;
    for (int k = 0; k < 5; k++) raw.column[k] = static_cast<unsigned __int128>(columns[k]);
    return F::reduce(raw);
  } else {
    Vector column[5];
    int64_t low[5 * kLanes];
    for (int i = 0; i < 5 * kLanes; i++) low[i] = static_cast<int64_t>(columns[i]);
    for (int k = 0; k < 5; k++) column[k] = gather(low, k);
    if constexpr (kInDoubles<F>) {
      return F::from_limbs(column);  // which carries columns without a bias
    } else {
      return F::reduce({{column[0], column[1], column[2], column[3], column[4]}});
    }
  }
}

void probe_carry(const __int128* columns, size_t count, int64_t* limbs) {
  for (size_t i = 0; i < 5 * count; i += 5 * kLanes) write(carry_columns(columns + i), limbs + i);
}

void probe_canonical(const int64_t* limbs, size_t count, int64_t* canonical) {
  for (size_t i = 0; i < 5 * count; i += 5 * kLanes) {
    Vector vector[5];
    canonical_limbs(read(limbs + i), vector);
    for (int k = 0; k < 5; k++) scatter(vector[k], k, canonical + i);
  }
}

void probe_negate(const int64_t* limbs, size_t count, int64_t* negated) {
  for (size_t i = 0; i < 5 * count; i += 5 * kLanes) write(Field::negate_if(~Mask{0}, read(limbs + i)), negated + i);
}

void probe_store(const int64_t* limbs, size_t count, uint64_t* words) {
  for (size_t i = 0; i < 5 * count; i += 5 * kLanes) {
    Vector vector[5];
    Field::store(read(limbs + i), vector);
    for (int k = 0; k < 5; k++) scatter(vector[k], k, reinterpret_cast<int64_t*>(words) + i);
  }
}

void probe_load(const uint64_t* words, bool negative, size_t count, int64_t* limbs) {
  for (size_t i = 0; i < 5 * count; i += 5 * kLanes) {
    Vector vector[5];
    for (int k = 0; k < 5; k++) vector[k] = gather(reinterpret_cast<const int64_t*>(words) + i, k);
    write(Field::load(vector, negative ? ~Mask{0} : 0), limbs + i);
  }
}

constexpr FieldProbe make_probe(const char* name, int64_t tight_min, int64_t tight_max, int64_t factor_max,
                                __int128 column_min, __int128 column_max) {
  return {.name = name,
          .tight_min = tight_min,
          .tight_max = tight_max,
          .factor_max = factor_max,
          .column_min = column_min,
          .column_max = column_max,
          .evaluate = &probe_evaluate,
          .carry = &probe_carry,
          .canonical = &probe_canonical,
          .negate = &probe_negate,
          .store = &probe_store,
          .load = &probe_load};
}

}  // namespace
}  // namespace pyledger::ed25519
