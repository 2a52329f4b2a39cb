// A checksum against accidents: bits that a medium lost, files cut short. It is no protection against an attacker, who
// could as well change the program; what must be proven has SHA-256 elsewhere.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pyledger::store {

// Of any bytes, at memory speed. Every changed bit changes it but for one chance in about 2^64.
uint64_t checksum(const void* data, size_t bytes) noexcept;

}  // namespace pyledger::store
