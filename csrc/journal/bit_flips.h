// Flips every bit of a journal, one at a time, and opens it: for tests.
//
// What must come of a flip: in a block that a later mark shows to be durable, or in a segment header, the journal is
// refused; in a block of the last group it is cut before that block; in the close mark or in the zeros behind the last
// block nothing is cut and torn bytes are reported. A changed block is never given out as good.
#pragma once

#include <cstdint>
#include <string>

namespace pyledger::journal {

struct FlipReport {
  uint64_t flips = 0;
  uint64_t refused = 0;
  uint64_t cut = 0;       // of the last group
  uint64_t reported = 0;  // behind the last block
  uint64_t wrong = 0;     // anything else
  std::string first;      // what the first wrong one was
};

// A journal of about so many bytes, closed or left by a crash; every `stride`-th bit from bit `first` on.
FlipReport flip_bits(uint64_t journal_bytes, bool closed, uint64_t first, uint64_t stride);

}  // namespace pyledger::journal
