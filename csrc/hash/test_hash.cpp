#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "dispatch/cpu.h"
#include "hash/sha256.h"
#include "hash/sha512.h"

using namespace pyledger;

namespace {

std::string hex(const uint8_t* bytes, size_t count) {
  std::string text;
  for (size_t i = 0; i < count; i++) {
    text += "0123456789abcdef"[bytes[i] >> 4];
    text += "0123456789abcdef"[bytes[i] & 15];
  }
  return text;
}

const uint8_t* bytes_of(const std::string& text) { return reinterpret_cast<const uint8_t*>(text.data()); }

std::vector<uint8_t> noise(size_t count) {
  std::vector<uint8_t> bytes(count);
  uint64_t state = 1;
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>((state = state * 6364136223846793005u + 1) >> 56);
  return bytes;
}

}  // namespace

TEST_CASE("the standard's examples hash to its digests") {
  uint8_t digest[64];
  const std::string abc = "abc";
  hash::sha256(bytes_of(abc), abc.size(), digest);
  CHECK(hex(digest, 32) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  hash::sha512(bytes_of(abc), abc.size(), digest);
  CHECK(hex(digest, 64) ==
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
        "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f");
}

// Exact-size heap blocks: a row that reads past a message's end shows under AddressSanitizer.
TEST_CASE("each row gives the single-message digests for every length, count and prefix") {
  for (const char* level : {"scalar", "sha_ni", "avx2", "avx512", "native"}) {
    if (dispatch::force_level(level) != dispatch::ForceResult::kOk) continue;
    CAPTURE(level);
    for (size_t size = 0; size < 300; size += size < 140 ? 1 : 13) {
      for (size_t count : {1, 2, 3, 7, 8, 9, 15, 16, 17, 33}) {
        const std::vector<uint8_t> messages = noise(size * count);
        std::vector<uint8_t> digests(64 * count);
        hash::sha512_many(messages.data(), size, size, count, digests.data());
        std::vector<uint8_t> expected(64);
        for (size_t i = 0; i < count; i++) {
          hash::sha512(messages.data() + size * i, size, expected.data());
          REQUIRE(hex(digests.data() + 64 * i, 64) == hex(expected.data(), 64));
        }
        for (int prefix : {hash::kNoPrefix, 0, 1, 255}) {
          hash::sha256_many(messages.data(), size, size, count, prefix, digests.data());
          for (size_t i = 0; i < count; i++) {
            std::vector<uint8_t> whole;
            if (prefix >= 0) whole.push_back(static_cast<uint8_t>(prefix));
            whole.insert(whole.end(), messages.begin() + size * i, messages.begin() + size * (i + 1));
            hash::sha256(whole.data(), whole.size(), expected.data());
            REQUIRE(hex(digests.data() + 32 * i, 32) == hex(expected.data(), 32));
          }
        }
      }
    }
  }
  CHECK(dispatch::force_level("native") == dispatch::ForceResult::kOk);
}
