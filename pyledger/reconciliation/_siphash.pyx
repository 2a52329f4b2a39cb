# cython: language_level=3, boundscheck=False, wraparound=False
"""SipHash-2-4 with 128-bit output, over many rows of one length and over many strings.

Aumasson and Bernstein, "SipHash: a fast short-input PRF" (2012), in its 128-bit form. Who does not know the key can
neither make two rows collide nor steer a sum of hashes.
"""

from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcpy

cdef struct State:
    uint64_t v0, v1, v2, v3


cdef inline uint64_t rotate(uint64_t x, int bits) noexcept nogil:
    return (x << bits) | (x >> (64 - bits))


cdef inline void sip_round(State* s) noexcept nogil:
    s.v0 += s.v1
    s.v2 += s.v3
    s.v1 = rotate(s.v1, 13) ^ s.v0
    s.v3 = rotate(s.v3, 16) ^ s.v2
    s.v0 = rotate(s.v0, 32)
    s.v2 += s.v1
    s.v0 += s.v3
    s.v1 = rotate(s.v1, 17) ^ s.v2
    s.v3 = rotate(s.v3, 21) ^ s.v0
    s.v2 = rotate(s.v2, 32)


cdef inline void start(State* s, uint64_t key0, uint64_t key1) noexcept nogil:
    s.v0 = key0 ^ 0x736F6D6570736575ULL
    s.v1 = key1 ^ 0x646F72616E646F6DULL ^ 0xEE   # 0xEE: 128-bit output
    s.v2 = key0 ^ 0x6C7967656E657261ULL
    s.v3 = key1 ^ 0x7465646279746573ULL


cdef inline void absorb(State* s, uint64_t word) noexcept nogil:
    s.v3 ^= word
    sip_round(s)
    sip_round(s)
    s.v0 ^= word


cdef inline void finish(State* s, uint64_t* out) noexcept nogil:
    s.v2 ^= 0xEE
    sip_round(s)
    sip_round(s)
    sip_round(s)
    sip_round(s)
    out[0] = s.v0 ^ s.v1 ^ s.v2 ^ s.v3
    s.v1 ^= 0xDD
    sip_round(s)
    sip_round(s)
    sip_round(s)
    sip_round(s)
    out[1] = s.v0 ^ s.v1 ^ s.v2 ^ s.v3


def hash_rows(const uint64_t[:, ::1] words, uint64_t key0, uint64_t key1, uint64_t[:, ::1] out):
    """Hash each row of `words`, taken as 8 * width bytes, into the two words of `out`."""
    cdef Py_ssize_t i, k, width = words.shape[1]
    cdef State s
    with nogil:
        for i in range(words.shape[0]):
            start(&s, key0, key1)
            for k in range(width):
                absorb(&s, words[i, k])
            absorb(&s, (<uint64_t> width * 8) << 56)
            finish(&s, &out[i, 0])


def hash_strings(const uint8_t[::1] data, const int64_t[::1] offsets, uint64_t key0, uint64_t key1,
                 uint64_t[:, ::1] out):
    """Hash each of the byte strings data[offsets[i]:offsets[i + 1]] into the two words of `out`."""
    cdef Py_ssize_t i
    with nogil:
        for i in range(out.shape[0]):
            hash_bytes(&data[0] + offsets[i], offsets[i + 1] - offsets[i], key0, key1, &out[i, 0])


cdef inline void hash_bytes(const uint8_t* data, Py_ssize_t size, uint64_t key0, uint64_t key1,
                            uint64_t* out) noexcept nogil:
    cdef State s
    cdef uint64_t word
    cdef Py_ssize_t k
    start(&s, key0, key1)
    for k in range(size >> 3):
        memcpy(&word, data + 8 * k, 8)
        absorb(&s, word)
    word = 0
    memcpy(&word, data + (size & ~7), size & 7)
    absorb(&s, word | (<uint64_t> size) << 56)
    finish(&s, out)
