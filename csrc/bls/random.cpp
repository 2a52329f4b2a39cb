#include "bls/random.h"

#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

namespace pyledger::bls {

void fill_random(void* out, size_t size) {
  auto* bytes = static_cast<uint8_t*>(out);
  while (size != 0) {
    const size_t want = std::min<size_t>(size, 256);  // getentropy's limit, the call that all systems share
    if (getentropy(bytes, want) != 0) throw std::system_error(errno, std::generic_category(), "getentropy");
    bytes += want;
    size -= want;
  }
}

std::vector<uint64_t> random_coefficients(size_t n) {
  std::vector<uint64_t> out(n);
  fill_random(out.data(), n * sizeof(uint64_t));
  for (uint64_t& r : out) {
    while (r == 0) fill_random(&r, sizeof r);
  }
  return out;
}

}  // namespace pyledger::bls
