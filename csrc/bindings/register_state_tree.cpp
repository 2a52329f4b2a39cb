#include <algorithm>
#include <cstring>
#include <mutex>
#include <string_view>
#include <vector>

#include "bindings/arguments.h"
#include "bindings/bindings.h"
#include "merkle/state_proof.h"
#include "merkle/state_tree.h"

namespace pyledger::bindings {
namespace {

using merkle::Key;
using merkle::StateTree;
using Problem = StateTree::Problem;

const char* problem_name(Problem problem) {
  switch (problem) {
    case Problem::kReservedKey:
      return "reserved_key";
    case Problem::kKeyPresent:
      return "key_present";
    case Problem::kKeyTwice:
      return "key_twice";
    case Problem::kNoSlots:
      return "no_slots";
    case Problem::kNoSuchSlot:
      return "no_such_slot";
    case Problem::kTombstone:
      return "tombstone";
    case Problem::kOtherKey:
      return "other_key";
    case Problem::kNone:
      break;
  }
  return "";
}

// None, or (problem, row).
py::object to_python(StateTree::Outcome outcome) {
  if (outcome.problem == Problem::kNone) return py::none();
  return py::make_tuple(problem_name(outcome.problem), outcome.row);
}

py::bytes to_bytes(const uint8_t* data, size_t size) { return py::bytes(reinterpret_cast<const char*>(data), size); }

// Keys travel as (n, 2) words, low word first: the two columns of the U128 dtype.
std::vector<Key> to_keys(const Array<uint64_t>& words) {
  require_columns(words, "keys", 2);
  std::vector<Key> keys(static_cast<size_t>(words.shape(0)));
  for (size_t i = 0; i < keys.size(); i++) keys[i] = {words.data()[2 * i + 1], words.data()[2 * i]};
  return keys;
}

size_t checked_payload_bytes(size_t payload_bytes, bool key_in_payload) {
  const size_t least = key_in_payload ? merkle::kKeyBytes : 1;
  if (payload_bytes < least) {
    throw py::value_error("payload_bytes: expected at least " + std::to_string(least) + ", got " +
                          std::to_string(payload_bytes));
  }
  require_at_most("payload_bytes", payload_bytes, merkle::kPayloadBytesMax);
  return payload_bytes;
}

// A state tree that several Python threads may use at once: one call at a time, the others wait without the GIL.
class SharedStateTree {
 private:
  StateTree tree_;
  mutable std::mutex mutex_;

  template <class F>
  auto locked(const F& f) const {
    const py::gil_scoped_release release;
    const std::lock_guard<std::mutex> lock(mutex_);
    return f();
  }
  void require_payloads(const Array<uint8_t>& payloads, py::ssize_t rows) const {
    require_columns(payloads, "payloads", static_cast<py::ssize_t>(tree_.payload_bytes()));
    if (payloads.shape(0) != rows) {
      throw py::value_error("payloads: expected " + std::to_string(rows) + " rows, got " + shape_text(payloads));
    }
  }

 public:
  SharedStateTree(size_t payload_bytes, bool key_in_payload)
      : tree_(checked_payload_bytes(payload_bytes, key_in_payload), key_in_payload) {}

  uint64_t size() const {
    return locked([&] { return tree_.size(); });
  }
  size_t memory_bytes() const {
    return locked([&] { return tree_.memory_bytes(); });
  }

  // (None or (problem, row), first slot).
  py::tuple insert(const Array<uint64_t>& words, const Array<uint8_t>& payloads) {
    const std::vector<Key> keys = to_keys(words);
    require_payloads(payloads, words.shape(0));
    uint64_t first_slot = 0;
    const StateTree::Outcome outcome = locked([&] {
      first_slot = tree_.size();
      return tree_.insert(keys.data(), payloads.data(), keys.size());
    });
    return py::make_tuple(to_python(outcome), first_slot);
  }

  py::object update(const Array<uint32_t>& slots, const Array<uint8_t>& payloads, unsigned threads) {
    const std::vector<uint32_t> places = copy_vector(slots, "slots");
    require_payloads(payloads, slots.shape(0));
    return to_python(locked([&] { return tree_.update(places.data(), payloads.data(), places.size(), threads); }));
  }

  py::object remove(const Array<uint32_t>& slots) {
    const std::vector<uint32_t> places = copy_vector(slots, "slots");
    return to_python(locked([&] { return tree_.remove(places.data(), places.size()); }));
  }

  Array<uint32_t> order() const {
    const std::vector<uint32_t> slots = locked([&] { return tree_.order(); });
    Array<uint32_t> out(static_cast<py::ssize_t>(slots.size()));
    std::copy(slots.begin(), slots.end(), out.mutable_data());
    return out;
  }

  bool load(const Array<uint64_t>& words, const Array<uint8_t>& payloads, const Array<uint32_t>& order) {
    const std::vector<Key> keys = to_keys(words);
    require_payloads(payloads, words.shape(0));
    require_vector(order, "order", words.shape(0));
    const std::vector<uint32_t> slots = copy_vector(order, "order");
    return locked([&] { return tree_.load(keys.data(), payloads.data(), slots.data(), keys.size()); });
  }

  size_t open_blocks() const {
    return locked([&] { return tree_.open_blocks(); });
  }
  void begin_block() {
    locked([&] { tree_.begin_block(); });
  }
  // False if no block is open.
  bool commit_block() {
    return locked([&] {
      if (tree_.open_blocks() == 0) return false;
      tree_.commit_block();
      return true;
    });
  }
  bool roll_back_block() {
    return locked([&] {
      if (tree_.open_blocks() == 0) return false;
      tree_.roll_back_block();
      return true;
    });
  }

  py::bytes root(unsigned threads) {
    const merkle::Digest digest = locked([&] { return tree_.root(threads); });
    return to_bytes(digest.data(), digest.size());
  }

  // (slot, whether it holds this very key, proof of that slot).
  py::tuple prove(uint64_t low, uint64_t high, unsigned threads) {
    uint32_t slot = 0;
    bool present = false;
    const std::vector<uint8_t> proof = locked([&] {
      tree_.root(threads);
      slot = tree_.at_or_before({high, low});
      present = tree_.key_at(slot) == Key{high, low};
      return merkle::encode_state_proof(tree_, slot);
    });
    return py::make_tuple(slot, present, to_bytes(proof.data(), proof.size()));
  }

  // Slots of keys; those of absent keys are 0, the head's.
  Array<uint32_t> slots_of(const Array<uint64_t>& words) const {
    const std::vector<Key> keys = to_keys(words);
    Array<uint32_t> slots(words.shape(0));
    uint32_t* out = slots.mutable_data();
    locked([&] {
      for (size_t i = 0; i < keys.size(); i++) {
        out[i] = tree_.at_or_before(keys[i]);
        if (tree_.key_at(out[i]) != keys[i]) out[i] = 0;
      }
      return true;
    });
    return slots;
  }

  py::bytes leaf(uint32_t slot) const {
    uint64_t tree_size = 0;
    std::vector<uint8_t> data(tree_.leaf_bytes());
    locked([&] {
      tree_size = tree_.size();
      if (slot < tree_size && !tree_.leaf(slot, data.data())) data.clear();
    });
    require_below("slot", slot, tree_size);
    return to_bytes(data.data(), data.size());
  }
};

// (leads to the root, payload, key, next key, slot, size), or None if the bytes are no proof.
py::object check_state_proof(const py::bytes& root, const py::bytes& proof_bytes) {
  const std::string_view expected = root, bytes = proof_bytes;
  if (expected.size() != merkle::kDigestBytes) {
    throw py::value_error("root: expected 32 bytes, got " + std::to_string(expected.size()));
  }
  merkle::StateProof proof;
  if (!merkle::decode_state_proof(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size(), proof)) {
    return py::none();
  }
  const bool valid = merkle::verify_state_proof(proof, reinterpret_cast<const uint8_t*>(expected.data()));
  const uint8_t* keys = proof.leaf + proof.payload_bytes;
  return py::make_tuple(valid, to_bytes(proof.leaf, proof.payload_bytes), to_bytes(keys, merkle::kKeyBytes),
                        to_bytes(keys + merkle::kKeyBytes, merkle::kKeyBytes), proof.slot, proof.size);
}

}  // namespace

void register_state_tree(py::module_& module) {
  module.attr("STATE_PAYLOAD_BYTES_MAX") = merkle::kPayloadBytesMax;
  module.def("state_check_proof", &check_state_proof, py::arg("root"), py::arg("proof"));
  py::class_<SharedStateTree>(module, "StateTree")
      .def(py::init<size_t, bool>(), py::arg("payload_bytes"), py::arg("key_in_payload") = false)
      .def_property_readonly("size", &SharedStateTree::size)
      .def_property_readonly("memory_bytes", &SharedStateTree::memory_bytes)
      .def("insert", &SharedStateTree::insert, py::arg("keys").noconvert(), py::arg("payloads").noconvert())
      .def("update", &SharedStateTree::update, py::arg("slots").noconvert(), py::arg("payloads").noconvert(),
           py::arg("threads"))
      .def("remove", &SharedStateTree::remove, py::arg("slots").noconvert())
      .def("order", &SharedStateTree::order)
      .def("load", &SharedStateTree::load, py::arg("keys").noconvert(), py::arg("payloads").noconvert(),
           py::arg("order").noconvert())
      .def_property_readonly("open_blocks", &SharedStateTree::open_blocks)
      .def("begin_block", &SharedStateTree::begin_block)
      .def("commit_block", &SharedStateTree::commit_block)
      .def("roll_back_block", &SharedStateTree::roll_back_block)
      .def("root", &SharedStateTree::root, py::arg("threads"))
      .def("prove", &SharedStateTree::prove, py::arg("low"), py::arg("high"), py::arg("threads"))
      .def("slots_of", &SharedStateTree::slots_of, py::arg("keys").noconvert())
      .def("leaf", &SharedStateTree::leaf, py::arg("slot"));
}

}  // namespace pyledger::bindings
