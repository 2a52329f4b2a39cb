# cython: language_level=3, boundscheck=False, wraparound=False
"""The loops of netting: check the obligations, add them up between each payer and payee, turn the sums into positions.

Amounts and sums are unsigned 128-bit integers in two 64-bit words, low word first. The check keeps the sum of all
amounts below 2**127, so that no later addition can overflow and every position fits a signed 128-bit integer.
"""

from libc.stdint cimport uint32_t, uint64_t

cdef extern from *:
    # GCC and Clang: the carry or borrow is the result, the sum or difference is stored in *out.
    bint add_overflow "__builtin_add_overflow" (uint64_t a, uint64_t b, uint64_t* out) nogil
    bint sub_overflow "__builtin_sub_overflow" (uint64_t a, uint64_t b, uint64_t* out) nogil

cpdef enum Problem:
    # What stopped check_obligations.
    NONE = 0
    PAYER_UNKNOWN = 1
    PAYEE_UNKNOWN = 2
    LEDGER_UNKNOWN = 3
    TOTAL_TOO_LARGE = 4

cdef uint32_t LEDGERS_MASK = 4095   # size of the ledger table less one
cdef uint32_t EMPTY = 0xFFFFFFFF


cdef inline bint add_to(uint64_t* total, uint64_t low, uint64_t high) noexcept nogil:
    """total += (low, high); true if 128 bits do not hold the sum."""
    cdef uint64_t carry = add_overflow(total[0], low, &total[0])
    cdef bint overflow = add_overflow(total[1], high, &total[1])
    return add_overflow(total[1], carry, &total[1]) or overflow


cdef inline void subtract_from(uint64_t* total, uint64_t low, uint64_t high) noexcept nogil:
    """total -= (low, high), modulo 2**128 (two's complement)."""
    cdef uint64_t borrow = sub_overflow(total[0], low, &total[0])
    total[1] -= high + borrow


cdef inline uint32_t slot_of(uint32_t ledger, const uint32_t* ledgers, const uint32_t* slots) noexcept nogil:
    """Slot of a ledger in the matrix, or EMPTY: a hash table with linear probing, never full."""
    cdef uint32_t place = (ledger * <uint32_t> 2654435761) >> 20
    while slots[place] != EMPTY and ledgers[place] != ledger:
        place = (place + 1) & LEDGERS_MASK
    return slots[place]


def check_obligations(const uint32_t[:] payer, const uint32_t[:] payee, const uint32_t[:] ledger,
                      const uint64_t[:] amount_lo, const uint64_t[:] amount_hi, uint32_t participants,
                      const uint32_t[::1] ledgers, const uint32_t[::1] slots, uint64_t[::1] total, Py_ssize_t start):
    """Check obligations from `start` on and add their amounts to `total`; return (where it stopped, why)."""
    cdef Py_ssize_t i, stop
    cdef Problem problem = Problem.NONE
    with nogil:
        for i in range(start, payer.shape[0]):
            if payer[i] >= participants:
                problem = Problem.PAYER_UNKNOWN
            elif payee[i] >= participants:
                problem = Problem.PAYEE_UNKNOWN
            elif slot_of(ledger[i], &ledgers[0], &slots[0]) == EMPTY:
                problem = Problem.LEDGER_UNKNOWN
            elif add_to(&total[0], amount_lo[i], amount_hi[i]) or total[1] >> 63:
                problem = Problem.TOTAL_TOO_LARGE
            else:
                continue
            stop = i
            break
        else:
            stop = payer.shape[0]
    return stop, <int> problem


def add_obligations(const uint32_t[:] payer, const uint32_t[:] payee, const uint32_t[:] ledger,
                    const uint64_t[:] amount_lo, const uint64_t[:] amount_hi,
                    const uint32_t[::1] ledgers, const uint32_t[::1] slots, uint64_t[:, :, :, ::1] owed):
    """Add checked obligations: owed[ledger's slot, payer, payee] += amount."""
    cdef Py_ssize_t i
    cdef uint32_t slot
    with nogil:
        for i in range(payer.shape[0]):
            slot = slot_of(ledger[i], &ledgers[0], &slots[0])
            add_to(&owed[slot, payer[i], payee[i], 0], amount_lo[i], amount_hi[i])


def add_matrix(const uint64_t[:, :, ::1] part, uint64_t[:, :, ::1] owed):
    """Add what another netting summed up in one ledger; its total was checked."""
    cdef Py_ssize_t payer, payee
    with nogil:
        for payer in range(part.shape[0]):
            for payee in range(part.shape[1]):
                add_to(&owed[payer, payee, 0], part[payer, payee, 0], part[payer, payee, 1])


def net_matrix(const uint64_t[:, :, ::1] owed, uint64_t[:, ::1] paid, uint64_t[:, ::1] received,
               uint64_t[:, ::1] position):
    """Positions in one ledger: what each participant receives less what it pays (two's complement)."""
    cdef Py_ssize_t payer, payee, i
    with nogil:
        for payer in range(owed.shape[0]):
            for payee in range(owed.shape[1]):
                add_to(&paid[payer, 0], owed[payer, payee, 0], owed[payer, payee, 1])
                add_to(&received[payee, 0], owed[payer, payee, 0], owed[payer, payee, 1])
        for i in range(position.shape[0]):
            add_to(&position[i, 0], received[i, 0], received[i, 1])
            subtract_from(&position[i, 0], paid[i, 0], paid[i, 1])
