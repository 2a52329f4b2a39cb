# cython: language_level=3, boundscheck=False, wraparound=False
"""The loop of control totals: add each transfer to the total of its payer, payee and ledger.

A total is five 64-bit words: the number of transfers, the sum of amounts (low, high), the sum of hashes (low, high).
"""

from libc.stdint cimport uint32_t, uint64_t

cdef extern from *:
    # GCC and Clang: the carry is the result, the sum is stored in *out.
    bint add_overflow "__builtin_add_overflow" (uint64_t a, uint64_t b, uint64_t* out) nogil


cdef inline void add_to(uint64_t* total, uint64_t low, uint64_t high) noexcept nogil:
    """total += (low, high), modulo 2**128."""
    cdef uint64_t carry = add_overflow(total[0], low, &total[0])
    total[1] += high + carry


def add_transfers(const uint32_t[:] slot, const uint32_t[:] payer, const uint32_t[:] payee,
                  const uint64_t[:] amount_lo, const uint64_t[:] amount_hi, const uint64_t[:, ::1] hashes,
                  uint64_t[:, :, :, ::1] totals):
    """Add transfers: totals[slot, payer, payee] += (1, amount, hash)."""
    cdef Py_ssize_t i
    cdef uint64_t* total
    with nogil:
        for i in range(slot.shape[0]):
            total = &totals[slot[i], payer[i], payee[i], 0]
            total[0] += 1
            add_to(&total[1], amount_lo[i], amount_hi[i])
            add_to(&total[3], hashes[i, 0], hashes[i, 1])


def add_totals(const uint64_t[:, :, ::1] part, uint64_t[:, :, ::1] totals):
    """Add the totals of one ledger to those of the same ledger."""
    cdef Py_ssize_t payer, payee
    with nogil:
        for payer in range(part.shape[0]):
            for payee in range(part.shape[1]):
                totals[payer, payee, 0] += part[payer, payee, 0]
                add_to(&totals[payer, payee, 1], part[payer, payee, 1], part[payer, payee, 2])
                add_to(&totals[payer, payee, 3], part[payer, payee, 3], part[payer, payee, 4])
