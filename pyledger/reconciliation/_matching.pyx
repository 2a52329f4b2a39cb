# cython: language_level=3, boundscheck=False, wraparound=False
"""Pairing of equal keys on two sides: partition both by the keys' top bits, sort each partition, walk the two together.

A key stands for a row. Within equal keys the first of one side is paired with the first of the other, the second with
the second: rows that stand several times are paired one to one, in the order of their positions.
"""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

cdef extern from * nogil:
    """
    #include <algorithm>
    #include <cstdint>

    struct Entry {
      uint64_t hi, lo;
      int64_t position;
      bool operator<(const Entry& other) const {
        if (hi != other.hi) return hi < other.hi;
        if (lo != other.lo) return lo < other.lo;
        return position < other.position;
      }
    };

    static void sort_entries(Entry* entries, int64_t count) { std::sort(entries, entries + count); }
    """
    ctypedef struct Entry:
        uint64_t hi
        uint64_t lo
        int64_t position
    void sort_entries(Entry* entries, int64_t count)


def count_keys(const uint64_t[:, ::1] keys, int shift, int64_t[::1] counts):
    """Count the keys of each partition: counts[top bits of the key] += 1."""
    cdef Py_ssize_t i
    with nogil:
        for i in range(keys.shape[0]):
            counts[keys[i, 1] >> shift] += 1


def scatter_keys(const uint64_t[:, ::1] keys, const int32_t[::1] positions, int shift, int64_t[::1] cursors,
                 uint64_t[:, ::1] entries):
    """Write each key with its position to the next place of its partition."""
    cdef Py_ssize_t i
    cdef uint64_t partition
    cdef Entry* entry
    with nogil:
        for i in range(keys.shape[0]):
            partition = keys[i, 1] >> shift
            entry = <Entry*> &entries[cursors[partition], 0]
            entry.hi = keys[i, 1]
            entry.lo = keys[i, 0]
            entry.position = positions[i]
            cursors[partition] += 1


cdef inline bint same_key(const Entry* a, const Entry* b) noexcept nogil:
    return a.hi == b.hi and a.lo == b.lo


cdef inline bint key_below(const Entry* a, const Entry* b) noexcept nogil:
    return a.hi < b.hi or (a.hi == b.hi and a.lo < b.lo)


cdef inline int64_t group_end(const Entry* entries, int64_t first, int64_t end) noexcept nogil:
    """End of the run of equal keys that begins at `first`."""
    cdef int64_t i = first + 1
    while i < end and same_key(&entries[i], &entries[first]):
        i += 1
    return i


cdef inline void pair_group(const Entry* own, int64_t count, const Entry* other, int64_t other_count,
                            int32_t[::1] partner, uint32_t[::1] others, uint32_t[::1] rank) noexcept nogil:
    """Give each row of a group its partner; a row beyond the other side's count gets the other side's last."""
    cdef int64_t k, position
    for k in range(count):
        position = own[k].position
        partner[position] = <int32_t> other[min(k, other_count - 1)].position
        others[position] = <uint32_t> other_count
        rank[position] = <uint32_t> k


def pair_partitions(uint64_t[:, ::1] entries_a, const int64_t[::1] starts_a,
                    uint64_t[:, ::1] entries_b, const int64_t[::1] starts_b, Py_ssize_t first, Py_ssize_t last,
                    int32_t[::1] partner_a, uint32_t[::1] others_a, uint32_t[::1] rank_a,
                    int32_t[::1] partner_b, uint32_t[::1] others_b, uint32_t[::1] rank_b):
    """Pair the rows of partitions first to last - 1; rows whose key the other side lacks are left as they are."""
    cdef Py_ssize_t p
    with nogil:
        for p in range(first, last):
            if starts_a[p] < starts_a[p + 1] and starts_b[p] < starts_b[p + 1]:
                pair_partition(<Entry*> &entries_a[starts_a[p], 0], starts_a[p + 1] - starts_a[p],
                               <Entry*> &entries_b[starts_b[p], 0], starts_b[p + 1] - starts_b[p],
                               partner_a, others_a, rank_a, partner_b, others_b, rank_b)


cdef void pair_partition(Entry* a, int64_t count_a, Entry* b, int64_t count_b,
                         int32_t[::1] partner_a, uint32_t[::1] others_a, uint32_t[::1] rank_a,
                         int32_t[::1] partner_b, uint32_t[::1] others_b, uint32_t[::1] rank_b) noexcept nogil:
    cdef int64_t i = 0, j = 0, end_a, end_b
    sort_entries(a, count_a)
    sort_entries(b, count_b)
    while i < count_a and j < count_b:
        if key_below(&a[i], &b[j]):
            i += 1
        elif key_below(&b[j], &a[i]):
            j += 1
        else:
            end_a = group_end(a, i, count_a)
            end_b = group_end(b, j, count_b)
            pair_group(&a[i], end_a - i, &b[j], end_b - j, partner_a, others_a, rank_a)
            pair_group(&b[j], end_b - j, &a[i], end_a - i, partner_b, others_b, rank_b)
            i, j = end_a, end_b
