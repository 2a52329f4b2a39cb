// Are all these points in the prime-order subgroup? Many points at a fraction of the price of one check each.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "bls/suite.h"

namespace pyledger::bls {

// Indices of the points outside the subgroup, rising.
//
// Points of G1 are checked one by one, eight at a time, where the CPU has a kernel for it. Else, for many points: the
// sums of the points with random coefficients from {-1, 0, 1} are checked instead. A point outside has a component T of
// odd order (both cofactors are odd), so -T, 0 and T differ and at most one of the three coefficients can hide it: each
// sum misses it with probability 1/3 at most, 41 sums with less than 2^-64. (Batch membership by small random
// coefficients; the bound does not depend on the cofactor's small prime factors.)
template <class Group>
std::vector<size_t> find_outside_subgroup(std::span<const typename Group::Affine> points, unsigned threads);

}  // namespace pyledger::bls
