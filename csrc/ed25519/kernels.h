// The kernels of a row over its Field: decoding, sums of table entries, the exact check, table building. Included once
// by each row's file, behind the Field.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ed25519/curve.h"
#include "ed25519/rows.h"

namespace pyledger::ed25519 {
namespace {

// Batched inversions stretch over so many vectors of points.
constexpr size_t kVectorsMax = 64;

struct Workspace {
  Fe x[kVectorsMax], y[kVectorsMax], z[kVectorsMax], product[kVectorsMax];
};

// In lanes without a record of their own the last one is computed again.
inline size_t record_of_lane(size_t first, int lane, size_t count) {
  const size_t index = first + static_cast<size_t>(lane);
  return index < count ? index : count - 1;
}

inline int lanes_in_use(size_t first, size_t count) {
  return count - first < kLanes ? static_cast<int>(count - first) : kLanes;
}

inline bool lane_of(Mask mask, int lane) { return mask >> lane & 1; }

Vector gather_words(const uint8_t* const* rows, int word) {
  alignas(64) uint64_t lanes[kLanes];
  for (int lane = 0; lane < kLanes; lane++) __builtin_memcpy(&lanes[lane], rows[lane] + 8 * word, 8);
  return Field::load_lanes(lanes);
}

void store_fe(const Fe& a, Entry* const* entries, int first_word) {
  Vector word[5];
  Field::store(a, word);
  for (int k = 0; k < 5; k++) {
    alignas(64) uint64_t lanes[kLanes];
    Field::store_lanes(lanes, word[k]);
    for (int lane = 0; lane < kLanes; lane++) entries[lane]->word[first_word + k] = lanes[lane];
  }
}

void store_niels(const Niels& a, Entry* const* entries) {
  store_fe(a.m, entries, 0);
  store_fe(a.p, entries, 5);
  store_fe(a.t, entries, 10);
}

// Entries at the addresses of `terms`, negated where a term says so: -(x, y) = (-x, y) swaps m and p and negates t.
inline __attribute__((always_inline)) Niels load_entries(const uint64_t* const* rows, Mask negative) {
  Vector word[16];
  Field::load_rows(rows, word);
  const Fe m = Field::load(word), p = Field::load(word + 5);
  return {Field::select(negative, p, m), Field::select(negative, m, p), Field::load(word + 10, negative)};
}

inline __attribute__((always_inline)) Niels load_terms(const Term* const* terms) {
  const uint64_t* rows[kLanes];
  Mask negative = 0;
  for (int lane = 0; lane < kLanes; lane++) {
    const Term term = *terms[lane];
    rows[lane] = reinterpret_cast<const uint64_t*>(term & ~Term{1});
    negative |= static_cast<Mask>(term & 1) << lane;
  }
  return load_entries(rows, negative);
}

void prefetch(Term term) {
  const char* entry = reinterpret_cast<const char*>(term & ~Term{1});
  __builtin_prefetch(entry);
  __builtin_prefetch(entry + 64);
}

// --- decoding ---

// Little-endian words to limbs; the top bit, the sign of x, is left out.
void split_words(const Vector* word, Vector* limb) {
  const Vector mask = Field::broadcast(kLimbMask);
  const auto joined = [&](int low, int right, int left) {
    const Vector high_part = Field::shift_left(word[low + 1], left);
    return Field::bit_and(Field::bit_or(Field::shift_right(word[low], right), high_part), mask);
  };
  limb[0] = Field::bit_and(word[0], mask);
  limb[1] = joined(0, 51, 13);
  limb[2] = joined(1, 38, 26);
  limb[3] = joined(2, 25, 39);
  limb[4] = Field::bit_and(Field::shift_right(word[3], 12), mask);
}

// RFC 8032, section 5.1.3: x^2 = u / v with u = y^2 - 1, v = dy^2 + 1; candidate x = u v^3 (u v^7)^((p - 5) / 8).
struct Decoding {
  Fe y, u, v, v3, uv7;
  Mask valid, small_order, sign;
};

Decoding begin_decoding(const uint8_t* const* encodings) {
  Decoding out;
  Vector word[4], limb[5], canonical[5];
  for (int i = 0; i < 4; i++) word[i] = gather_words(encodings, i);
  split_words(word, limb);
  out.sign = Field::equal(Field::shift_right(word[3], 63), Field::broadcast(1));
  out.y = Field::from_limbs(limb);
  canonical_limbs(out.y, canonical);
  out.valid = ~Mask{0}, out.small_order = 0;
  for (int k = 0; k < 5; k++) out.valid &= Field::equal(limb[k], canonical[k]);
  for (const auto& small : kSmallOrderY) out.small_order |= equals_limbs(limb, small);

  const Fe one = small_constant(1);
  const auto yy = Field::square(out.y);
  out.u = Field::reduce(yy - Field::raw(one));
  out.v = sum(times(Field::reduce(yy), constant(kD)), one);
  out.v3 = times(squared(out.v), out.v);
  out.uv7 = times(times(squared(out.v3), out.v), out.u);
  return out;
}

void end_decoding(const Decoding& in, const Fe& power, Entry* const* entries, uint8_t* status) {
  Fe x = times(times(power, in.v3), in.u);
  const Fe vxx = times(squared(x), in.v);
  const Mask root = is_zero(difference(vxx, in.u));
  const Mask other_root = is_zero(sum(vxx, in.u)) & ~root;
  x = Field::select(other_root, times(x, constant(kRootOfMinusOne)), x);
  const Mask valid = in.valid & (root | other_root) & ~(is_zero(x) & in.sign);
  x = Field::select(is_odd(x) ^ in.sign, difference(small_constant(0), x), x);
  store_niels(to_niels(x, in.y), entries);
  for (int lane = 0; lane < kLanes; lane++) {
    status[lane] = !lane_of(valid, lane) ? kNotAPoint : lane_of(in.small_order, lane) ? kSmallOrder : kPoint;
  }
}

// Decodes kVectors vectors of encodings, the first record being `first`.
template <int kVectors>
void decode_vectors(const uint8_t* const* encodings, size_t first, size_t count, Entry* points, uint8_t* status) {
  Decoding decoding[kVectors];
  Several<kVectors> power;
  for (int v = 0; v < kVectors; v++) {
    const uint8_t* rows[kLanes];
    for (int lane = 0; lane < kLanes; lane++) rows[lane] = encodings[record_of_lane(first + v * kLanes, lane, count)];
    decoding[v] = begin_decoding(rows);
    power.element[v] = decoding[v].uv7;
  }
  power = power_p58(power);
  for (int v = 0; v < kVectors; v++) {
    const size_t vector_first = first + v * kLanes;
    const int used = lanes_in_use(vector_first, count);
    Entry* entries[kLanes];
    Entry nowhere;
    uint8_t lane_status[kLanes];
    for (int lane = 0; lane < kLanes; lane++) entries[lane] = lane < used ? &points[vector_first + lane] : &nowhere;
    end_decoding(decoding[v], power.element[v], entries, lane_status);
    for (int lane = 0; lane < used; lane++) status[vector_first + lane] = lane_status[lane];
  }
}

void decode(const uint8_t* const* encodings, size_t count, Entry* points, uint8_t* status) noexcept {
  for (size_t first = 0; first < count; first += 2 * kLanes) {
    if (count - first > kLanes) {
      decode_vectors<2>(encodings, first, count, points, status);
    } else {
      decode_vectors<1>(encodings, first, count, points, status);
    }
  }
}

// --- affine coordinates of many points ---

// Replaces x and y by x / z and y / z (Montgomery's trick: one inversion and three products an element).
void divide_by_z(Workspace& work, size_t vectors) {
  work.product[0] = work.z[0];
  for (size_t i = 1; i < vectors; i++) work.product[i] = times(work.product[i - 1], work.z[i]);
  Fe inverted = inverse(work.product[vectors - 1]);
  for (size_t i = vectors; i-- > 0;) {
    const Fe z_inverse = i == 0 ? inverted : times(inverted, work.product[i - 1]);
    if (i > 0) inverted = times(inverted, work.z[i]);
    work.x[i] = times(work.x[i], z_inverse);
    work.y[i] = times(work.y[i], z_inverse);
  }
}

// 2X, 2Y, 2Z: the same ratios.
void store_projective(const Point& a, Workspace& work, size_t index) {
  work.x[index] = difference(a.p, a.m);
  work.y[index] = sum(a.p, a.m);
  work.z[index] = sum(a.z, a.z);
}

void store_encodings(const Fe& x, const Fe& y, uint8_t* encodings, int lanes) {
  Vector limb[5];
  canonical_limbs(y, limb);
  const Mask odd = is_odd(x);
  alignas(64) uint64_t rows[5][kLanes];
  for (int k = 0; k < 5; k++) Field::store_lanes(rows[k], limb[k]);
  for (int lane = 0; lane < lanes; lane++) {
    const uint64_t sign = lane_of(odd, lane);
    const uint64_t word[4] = {rows[0][lane] | rows[1][lane] << 51, rows[1][lane] >> 13 | rows[2][lane] << 38,
                              rows[2][lane] >> 26 | rows[3][lane] << 25,
                              rows[3][lane] >> 39 | rows[4][lane] << 12 | sign << 63};
    __builtin_memcpy(encodings + 32 * lane, word, 32);
  }
}

// --- sums of table entries ---

constexpr size_t kPrefetchSteps = 2;

// Where each lane reads its terms, row after row.
struct TermReader {
  const Term* next[kLanes];
  size_t stride, rows_left;

  TermReader(const Term* terms, size_t rows, size_t row_stride, size_t first, size_t count)
      : stride(row_stride), rows_left(rows) {
    for (int lane = 0; lane < kLanes; lane++) next[lane] = terms + record_of_lane(first, lane, count);
  }
};

void add_terms(Point& point, TermReader& reader, size_t steps) {
  for (size_t step = 0; step < steps; step++) {
    if (reader.rows_left > kPrefetchSteps) {
      for (const Term* term : reader.next) prefetch(term[kPrefetchSteps * reader.stride]);
    }
    add(point, load_terms(reader.next));
    for (const Term*& term : reader.next) term += reader.stride;
    reader.rows_left--;
  }
}

Point sum_of_terms(const Term* terms, size_t steps, size_t stride, size_t first, size_t count) {
  Point point = identity();
  TermReader reader(terms, steps, stride, first, count);
  add_terms(point, reader, steps);
  return point;
}

void store_small_order(Point point, size_t first, size_t count, uint8_t* small_order) {
  double_times(point, 3);
  const Mask mask = is_identity(point);
  for (int lane = 0; lane < lanes_in_use(first, count); lane++) small_order[first + lane] = lane_of(mask, lane);
}

void sum_and_encode(const Term* terms, size_t steps, size_t stride, size_t count, void* workspace,
                    uint8_t* encodings) noexcept {
  Workspace& work = *static_cast<Workspace*>(workspace);
  constexpr size_t kChunk = kVectorsMax * kLanes;
  for (size_t start = 0; start < count; start += kChunk) {
    const size_t end = count - start < kChunk ? count : start + kChunk;
    size_t vectors = 0;
    for (size_t first = start; first < end; first += kLanes) {
      store_projective(sum_of_terms(terms, steps, stride, first, end), work, vectors++);
    }
    divide_by_z(work, vectors);
    for (size_t i = 0; i < vectors; i++) {
      const size_t first = start + i * kLanes;
      store_encodings(work.x[i], work.y[i], encodings + 32 * first, lanes_in_use(first, end));
    }
  }
}

void sum_and_check(const Term* terms, size_t steps, size_t stride, size_t count, uint8_t* small_order) noexcept {
  for (size_t first = 0; first < count; first += kLanes) {
    store_small_order(sum_of_terms(terms, steps, stride, first, count), first, count, small_order);
  }
}

void sum_places_and_check(const Term* terms, const uint32_t* steps, size_t places, int bits, size_t stride,
                          size_t count, uint8_t* small_order) noexcept {
  size_t rows = 0;
  for (size_t place = 0; place < places; place++) rows += steps[place];
  for (size_t first = 0; first < count; first += kLanes) {
    Point point = identity();
    TermReader reader(terms, rows, stride, first, count);
    for (size_t place = 0; place < places; place++) {
      double_times(point, bits);
      add_terms(point, reader, steps[place]);
    }
    store_small_order(point, first, count, small_order);
  }
}

// --- the exact check ---

constexpr int kDigitMax = 8;

void fill_multiples(const Niels& base, Cached* multiples) {
  Point point = identity();
  for (int i = 0; i < kDigitMax; i++) {
    add(point, base);
    multiples[i] = to_cached(point);
  }
}

uint64_t first_lane(const Vector& vector) {
  alignas(64) uint64_t lanes[kLanes];
  Field::store_lanes(lanes, vector);
  return lanes[0];
}

void add_digit(Point& point, const Cached* multiples, const Vector& magnitude, Mask negative) {
  if constexpr (kLanes == 1) {
    const uint64_t index = first_lane(magnitude);
    if (index == 0) return;
    const Cached& one = multiples[index - 1];
    add(point, negative ? Cached{one.p, one.m, one.z2, Field::negate_if(1, one.t)} : one);
    return;
  }
  Cached chosen = to_cached(identity());
  for (int i = 0; i < kDigitMax; i++) {
    const Mask here = Field::equal(magnitude, Field::broadcast(static_cast<uint64_t>(i + 1)));
    chosen = {Field::select(here, multiples[i].m, chosen.m), Field::select(here, multiples[i].p, chosen.p),
              Field::select(here, multiples[i].z2, chosen.z2), Field::select(here, multiples[i].t, chosen.t)};
  }
  const Fe m = Field::select(negative, chosen.p, chosen.m);
  const Fe p = Field::select(negative, chosen.m, chosen.p);
  add(point, Cached{m, p, chosen.z2, Field::negate_if(negative, chosen.t)});
}

void add_digits(Point& point, const Cached* multiples, const int16_t* const* digits, int place) {
  alignas(64) uint64_t lanes[kLanes];
  Mask negative = 0;
  for (int lane = 0; lane < kLanes; lane++) {
    const int digit = digits[lane][place];
    lanes[lane] = static_cast<uint64_t>(digit < 0 ? -digit : digit);
    negative |= static_cast<Mask>(digit < 0) << lane;
  }
  add_digit(point, multiples, Field::load_lanes(lanes), negative);
}

void add_base_terms(Point& point, const ExactTask* const* tasks) {
  for (size_t i = 0; i < tasks[0]->base_terms_count; i++) {
    const Term* terms[kLanes];
    for (int lane = 0; lane < kLanes; lane++) terms[lane] = &tasks[lane]->base_terms[i];
    add(point, load_terms(terms));
  }
}

Niels load_points(const Entry* const* points) {
  const uint64_t* rows[kLanes];
  for (int lane = 0; lane < kLanes; lane++) rows[lane] = points[lane]->word;
  return load_entries(rows, 0);
}

Mask check_lanes(const ExactTask* const* tasks) {
  Cached r_multiples[kDigitMax], a_multiples[kDigitMax];
  const Entry *r[kLanes], *a[kLanes];
  const int16_t *r_digits[kLanes], *a_digits[kLanes];
  for (int lane = 0; lane < kLanes; lane++) {
    r[lane] = tasks[lane]->r, a[lane] = tasks[lane]->a;
    r_digits[lane] = tasks[lane]->r_digits, a_digits[lane] = tasks[lane]->a_digits;
  }
  fill_multiples(load_points(r), r_multiples);
  fill_multiples(load_points(a), a_multiples);
  Point point = identity();
  for (int place = kHalfDigits - 1; place >= 0; place--) {
    double_times(point, 4);
    add_digits(point, r_multiples, r_digits, place);
    add_digits(point, a_multiples, a_digits, place);
  }
  add_base_terms(point, tasks);
  double_times(point, 3);
  return is_identity(point);
}

void check_exact(const ExactTask* tasks, size_t count, uint8_t* valid) noexcept {
  for (size_t first = 0; first < count; first += kLanes) {
    const ExactTask* lane_tasks[kLanes];
    for (int lane = 0; lane < kLanes; lane++) lane_tasks[lane] = &tasks[record_of_lane(first, lane, count)];
    const Mask mask = check_lanes(lane_tasks);
    for (int lane = 0; lane < lanes_in_use(first, count); lane++) valid[first + lane] = lane_of(mask, lane);
  }
}

// --- tables ---

void shift_bases(const Entry& base, int bits, size_t count, void* workspace, Entry* points) noexcept {
  Workspace& work = *static_cast<Workspace*>(workspace);
  const Entry* lanes[kLanes];
  for (const Entry*& lane : lanes) lane = &base;
  Point point = identity();
  add(point, load_points(lanes));
  for (size_t j = 0; j < count; j++) {
    store_projective(point, work, j);
    double_times(point, bits);
  }
  divide_by_z(work, count);
  for (size_t j = 0; j < count; j++) {
    Entry* entries[kLanes];
    for (Entry*& entry : entries) entry = &points[j];
    store_niels(to_niels(work.x[j], work.y[j]), entries);
  }
}

// Few multiples of several vectors of bases, or a stretch of the many multiples of one: what one inversion serves.
void build_multiples(const Entry* bases, size_t count, size_t multiples, void* workspace, Entry* table) noexcept {
  Workspace& work = *static_cast<Workspace*>(workspace);
  const size_t stretch = multiples < kVectorsMax ? multiples : kVectorsMax;
  const size_t bases_at_once = kVectorsMax / stretch * kLanes;
  for (size_t first = 0; first < count; first += bases_at_once) {
    const size_t end = count - first < bases_at_once ? count : first + bases_at_once;
    Point point;
    for (size_t start = 0; start < multiples; start += stretch) {
      size_t vectors = 0;
      for (size_t lane_first = first; lane_first < end; lane_first += kLanes) {
        const Entry* lanes[kLanes];
        for (int lane = 0; lane < kLanes; lane++) lanes[lane] = &bases[record_of_lane(lane_first, lane, end)];
        const Niels base = load_points(lanes);
        if (start == 0) point = identity();
        for (size_t i = 0; i < stretch; i++) {
          add(point, base);
          store_projective(point, work, vectors++);
        }
      }
      divide_by_z(work, vectors);
      for (size_t v = 0; v < vectors; v++) {
        const size_t lane_first = first + v / stretch * kLanes, place = start + v % stretch;
        Entry nowhere;
        Entry* entries[kLanes];
        for (int lane = 0; lane < kLanes; lane++) {
          const bool used = lane < lanes_in_use(lane_first, end);
          entries[lane] = used ? &table[(lane_first + lane) * multiples + place] : &nowhere;
        }
        store_niels(to_niels(work.x[v], work.y[v]), entries);
      }
    }
  }
}

}  // namespace
}  // namespace pyledger::ed25519
