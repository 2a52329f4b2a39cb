// What the engine needs to take a block back: the old values of all that the block changed, each once or in order.
//
// Blocks that consensus has not yet made final may have to go again, newest first. The log of a block holds what was
// there before; it is dropped when the block is final. Without an open block nothing is logged.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "engine/accounts.h"
#include "engine/authority.h"
#include "engine/records.h"
#include "engine/totals.h"
#include "engine/transfers.h"

namespace pyledger::engine {

struct BlockLog {
  struct OldMandate {
    uint32_t slot;
    uint32_t holder;
    std::optional<Mandate> mandate;
  };

  // As they were when the block began.
  size_t account_count;
  size_t key_count;
  uint64_t height;
  TransferStore::Mark transfers;
  std::vector<uint32_t> touched;
  std::map<uint32_t, uint64_t> sequences;

  // In the order of the changes; what is older counts.
  std::vector<std::pair<uint32_t, Account>> accounts;
  std::vector<std::pair<uint32_t, uint32_t>> owners;
  std::vector<std::pair<uint32_t, Key>> keys;
  std::vector<std::pair<uint32_t, Moved>> moved;
  std::vector<Pending> pendings;
  std::vector<OldMandate> mandates;
};

}  // namespace pyledger::engine
