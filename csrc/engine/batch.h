// What account and transfer batches share inside the engine: the walk over linked events and the check of an event's
// place in its batch. Included by engine.cpp and posting.cpp only.
#pragma once

#include "engine/engine.h"

namespace pyledger::engine {

// Marks the engine as broken from begin() to end(): whatever ends a call in between leaves half a batch behind.
class Engine::InProgress {
 public:
  explicit InProgress(Engine& engine);
  void begin() { engine_.broken_ = true; }
  void end() { engine_.broken_ = false; }

 private:
  Engine& engine_;
};

struct PlaceCodes {
  uint32_t imported_expected, imported_not_expected, must_be_zero, out_of_range, must_not_advance;
};

inline uint32_t check_place(bool imported, bool all_imported, uint64_t own_time, uint64_t time,
                            const PlaceCodes& codes) {
  if (imported != all_imported) return all_imported ? codes.imported_expected : codes.imported_not_expected;
  if (!imported) return own_time != 0 ? codes.must_be_zero : 0;
  if (own_time == 0 || own_time > kTimestampMax) return codes.out_of_range;
  return own_time >= time ? codes.must_not_advance : 0;
}

// Gives each event its result. Linked events take effect all or none: the one that breaks the chain keeps its own code,
// the others get kLinkedFailed, and a chain that the batch ends in is broken by its last event.
template <class Rules>
void Engine::run_batch(Rules& rules, size_t count, uint32_t* results) {
  bool in_chain = false, broken = false;
  size_t chain_start = 0;
  for (size_t i = 0; i < count; i++) {
    rules.prefetch(i);
    const bool linked = rules.linked(i);
    if (linked && !in_chain) {
      in_chain = true;
      chain_start = i;
      open_chain();
    }
    uint32_t code;
    if (linked && i + 1 == count) {
      code = Rules::kChainOpen;
    } else {
      code = broken ? Rules::kLinkedFailed : rules.create(i);
    }
    results[i] = code;
    if (code != 0) {
      if (in_chain && !broken) {
        broken = true;
        roll_back_chain();
        for (size_t k = chain_start; k < i; k++) {
          results[k] = Rules::kLinkedFailed;
          rules.refused(k, Rules::kLinkedFailed);
        }
      }
      rules.refused(i, code);
    }
    if (in_chain && !linked) {
      if (!broken) keep_chain();
      in_chain = broken = false;
    }
  }
}

}  // namespace pyledger::engine
