// How the engine's memory stays bounded: see transfers.h and csrc/store.
#include <stdexcept>

#include "engine/batch.h"
#include "engine/engine.h"

namespace pyledger::engine {

void Engine::open_store(std::string folder) {
  InProgress call(*this);
  transfers_.open_store(std::move(folder));
}

store::SealedStore& Engine::opened_store() {
  if (store::SealedStore* store = transfers_.sealed_store()) return *store;
  throw std::invalid_argument("store: none is open");
}

uint32_t Engine::add_block_file(std::string path) { return opened_store().blocks().add_file(std::move(path)); }

void Engine::add_block(uint32_t file, uint64_t records_offset, uint64_t effects_offset, uint32_t count) {
  store::BlockFiles& blocks = opened_store().blocks();
  if (count > transfers_.size() - blocks.end()) {
    throw std::invalid_argument("count: expected at most " + std::to_string(transfers_.size() - blocks.end()) +
                                " transfers that no block holds yet, got " + std::to_string(count));
  }
  blocks.add(file, records_offset, effects_offset, count);
}

std::optional<store::SegmentContent> Engine::content_to_seal(uint64_t keep, uint64_t count) const {
  const store::SealedStore* store = transfers_.sealed_store();
  if (!store) throw std::invalid_argument("store: none is open");
  if (count == 0 || count > store::Segment::kContentMax) {
    throw std::invalid_argument("count: expected 1 to " + std::to_string(store::Segment::kContentMax));
  }
  const TransferStore::Mark mark = open_blocks_.empty() ? transfers_.mark() : open_blocks_.front().transfers;
  std::unordered_set<Position> unsettled;
  for (const BlockLog& log : open_blocks_) {
    for (const Pending& before : log.pendings) unsettled.insert(before.position);
  }
  const Position first = transfers_.window_first(), window = mark.size - first;
  if (window < count || window - count < keep || first + count > store->blocks().end()) return std::nullopt;
  return transfers_.content_to_seal(count, mark, unsettled);
}

void Engine::seal(store::SegmentPointer segment, const store::SegmentContent& content) {
  InProgress call(*this);
  call.begin();
  transfers_.seal(std::move(segment), content);
  call.end();
}

std::optional<store::SealedStore::Work> Engine::store_work_due() const {
  const store::SealedStore* store = transfers_.sealed_store();
  return store ? store->work_due() : std::nullopt;
}

void Engine::install_store_work(store::SealedStore::Work work) { opened_store().install(std::move(work)); }

}  // namespace pyledger::engine
