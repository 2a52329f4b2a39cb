# cython: language_level=3, boundscheck=False, wraparound=False
"""Pairing of equal keys on two sides: partition both by the keys' top bits, sort each partition, walk the two together.

A key stands for a row. Within equal keys the first of one side is paired with the first of the other, the second with
the second: rows that stand several times are paired one to one, in the order of their positions. Keys are uniform (a
keyed hash), so buckets by their next bits are short, and sorting a partition takes linear time.
"""

from libc.stdint cimport int32_t, int64_t, uint64_t

cdef struct Entry:
    uint64_t hi
    uint64_t lo
    int64_t position

# Columns of a side's result.
cdef enum:
    PARTNER = 0
    OTHERS = 1
    RANK = 2


def count_keys(const uint64_t[:, ::1] keys, int shift, int64_t[::1] counts):
    """Count the keys of each partition: counts[top bits of the key] += 1."""
    cdef Py_ssize_t i
    with nogil:
        for i in range(keys.shape[0]):
            counts[keys[i, 1] >> shift] += 1


def scatter_positions(const uint64_t[:, ::1] keys, int shift, Py_ssize_t first, Py_ssize_t last,
                      int64_t[::1] cursors, int32_t[::1] order):
    """Write the position of each key from first to last - 1 to the next place of its partition."""
    cdef Py_ssize_t i
    cdef uint64_t partition
    with nogil:
        for i in range(first, last):
            partition = keys[i, 1] >> shift
            order[cursors[partition]] = <int32_t> i
            cursors[partition] += 1


def pair_partitions(const uint64_t[:, ::1] keys_a, const int32_t[::1] order_a, const int64_t[::1] starts_a,
                    const uint64_t[:, ::1] keys_b, const int32_t[::1] order_b, const int64_t[::1] starts_b,
                    Py_ssize_t first, Py_ssize_t last, int bucket_shift, int64_t[::1] cursors,
                    uint64_t[:, ::1] scratch_a, uint64_t[:, ::1] scratch_b,
                    int32_t[:, ::1] result_a, int32_t[:, ::1] result_b):
    """Pair the rows of partitions first to last - 1, and give every row of them its result.

    `scratch_a` and `scratch_b` hold the rows of the largest partition; `cursors` has a power of two of places.
    """
    cdef Py_ssize_t p
    cdef Entry* a = <Entry*> &scratch_a[0, 0]
    cdef Entry* b = <Entry*> &scratch_b[0, 0]
    with nogil:
        for p in range(first, last):
            load_sorted(keys_a, order_a[starts_a[p]:starts_a[p + 1]], bucket_shift, cursors, a)
            load_sorted(keys_b, order_b[starts_b[p]:starts_b[p + 1]], bucket_shift, cursors, b)
            walk_together(a, starts_a[p + 1] - starts_a[p], b, starts_b[p + 1] - starts_b[p], result_a, result_b)


cdef void load_sorted(const uint64_t[:, ::1] keys, const int32_t[::1] order, int shift, int64_t[::1] cursors,
                      Entry* entries) noexcept nogil:
    """Gather a partition's entries in the order of (key, position): into buckets first, then each bucket in order."""
    cdef Py_ssize_t i
    cdef int64_t count, total = 0
    cdef uint64_t bucket, mask = cursors.shape[0] - 1
    cursors[:] = 0
    for i in range(order.shape[0]):
        cursors[(keys[order[i], 1] >> shift) & mask] += 1
    for i in range(cursors.shape[0]):
        count = cursors[i]
        cursors[i] = total
        total += count
    for i in range(order.shape[0]):
        bucket = (keys[order[i], 1] >> shift) & mask
        entries[cursors[bucket]] = Entry(keys[order[i], 1], keys[order[i], 0], order[i])
        cursors[bucket] += 1
    insertion_sort(entries, order.shape[0])


cdef inline bint key_below(const Entry* a, const Entry* b) noexcept nogil:
    return a.hi < b.hi or (a.hi == b.hi and a.lo < b.lo)


cdef inline bint same_key(const Entry* a, const Entry* b) noexcept nogil:
    return a.hi == b.hi and a.lo == b.lo


cdef void insertion_sort(Entry* entries, Py_ssize_t count) noexcept nogil:
    """Stable; linear here: entries move within their bucket only, and equal keys not at all."""
    cdef Py_ssize_t i, j
    cdef Entry entry
    for i in range(1, count):
        entry = entries[i]
        j = i
        while j > 0 and key_below(&entry, &entries[j - 1]):
            entries[j] = entries[j - 1]
            j -= 1
        entries[j] = entry


cdef void walk_together(const Entry* a, int64_t count_a, const Entry* b, int64_t count_b,
                        int32_t[:, ::1] result_a, int32_t[:, ::1] result_b) noexcept nogil:
    cdef int64_t i = 0, j = 0, end_a, end_b
    while i < count_a or j < count_b:
        if j == count_b or (i < count_a and key_below(&a[i], &b[j])):
            leave_alone(&a[i], result_a)
            i += 1
        elif i == count_a or key_below(&b[j], &a[i]):
            leave_alone(&b[j], result_b)
            j += 1
        else:
            end_a = group_end(a, i, count_a)
            end_b = group_end(b, j, count_b)
            pair_group(&a[i], end_a - i, &b[j], end_b - j, result_a)
            pair_group(&b[j], end_b - j, &a[i], end_a - i, result_b)
            i, j = end_a, end_b


cdef inline int64_t group_end(const Entry* entries, int64_t first, int64_t end) noexcept nogil:
    """End of the run of equal keys that begins at `first`."""
    cdef int64_t i = first + 1
    while i < end and same_key(&entries[i], &entries[first]):
        i += 1
    return i


cdef inline void leave_alone(const Entry* entry, int32_t[:, ::1] result) noexcept nogil:
    """A row whose key the other side lacks."""
    result[entry.position, PARTNER] = -1
    result[entry.position, OTHERS] = 0
    result[entry.position, RANK] = 0


cdef inline void pair_group(const Entry* own, int64_t count, const Entry* other, int64_t other_count,
                            int32_t[:, ::1] result) noexcept nogil:
    """Give each row of a group its partner; a row beyond the other side's count gets the other side's last."""
    cdef int64_t k, position
    for k in range(count):
        position = own[k].position
        result[position, PARTNER] = <int32_t> other[min(k, other_count - 1)].position
        result[position, OTHERS] = <int32_t> other_count
        result[position, RANK] = <int32_t> k
