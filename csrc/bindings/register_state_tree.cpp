#include <algorithm>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#include "bindings/arguments.h"
#include "bindings/bindings.h"
#include "bindings/shared_state_tree.h"
#include "merkle/state_proof.h"

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

void require_payloads(const SharedStateTree& self, const Array<uint8_t>& payloads, py::ssize_t rows) {
  require_columns(payloads, "payloads", static_cast<py::ssize_t>(self.tree.payload_bytes()));
  if (payloads.shape(0) != rows) {
    throw py::value_error("payloads: expected " + std::to_string(rows) + " rows, got " + shape_text(payloads));
  }
}

uint64_t size(SharedStateTree& self) {
  return self.run([&](StateTree& tree) { return tree.size(); });
}
size_t memory_bytes(SharedStateTree& self) {
  return self.run([&](StateTree& tree) { return tree.memory_bytes(); });
}

// (None or (problem, row), first slot).
py::tuple insert(SharedStateTree& self, const Array<uint64_t>& words, const Array<uint8_t>& payloads) {
  const std::vector<Key> keys = to_keys(words);
  require_payloads(self, payloads, words.shape(0));
  uint64_t first_slot = 0;
  const StateTree::Outcome outcome = self.run([&](StateTree& tree) {
    first_slot = tree.size();
    return tree.insert(keys.data(), payloads.data(), keys.size());
  });
  return py::make_tuple(to_python(outcome), first_slot);
}

py::object update(SharedStateTree& self, const Array<uint32_t>& slots, const Array<uint8_t>& payloads,
                  unsigned threads) {
  const std::vector<uint32_t> places = copy_vector(slots, "slots");
  require_payloads(self, payloads, slots.shape(0));
  return to_python(
      self.run([&](StateTree& tree) { return tree.update(places.data(), payloads.data(), places.size(), threads); }));
}

py::object remove(SharedStateTree& self, const Array<uint32_t>& slots) {
  const std::vector<uint32_t> places = copy_vector(slots, "slots");
  return to_python(self.run([&](StateTree& tree) { return tree.remove(places.data(), places.size()); }));
}

Array<uint32_t> order(SharedStateTree& self) {
  const std::vector<uint32_t> slots = self.run([&](StateTree& tree) { return tree.order(); });
  Array<uint32_t> out(static_cast<py::ssize_t>(slots.size()));
  std::copy(slots.begin(), slots.end(), out.mutable_data());
  return out;
}

bool load(SharedStateTree& self, const Array<uint64_t>& words, const Array<uint8_t>& payloads,
          const Array<uint32_t>& order) {
  const std::vector<Key> keys = to_keys(words);
  require_payloads(self, payloads, words.shape(0));
  require_vector(order, "order", words.shape(0));
  const std::vector<uint32_t> slots = copy_vector(order, "order");
  return self.run([&](StateTree& tree) { return tree.load(keys.data(), payloads.data(), slots.data(), keys.size()); });
}

size_t open_blocks(SharedStateTree& self) {
  return self.run([&](StateTree& tree) { return tree.open_blocks(); });
}
void begin_block(SharedStateTree& self) {
  self.run([&](StateTree& tree) { tree.begin_block(); });
}
// False if no block is open.
bool commit_block(SharedStateTree& self) {
  return self.run([&](StateTree& tree) {
    if (tree.open_blocks() == 0) return false;
    tree.commit_block();
    return true;
  });
}
bool roll_back_block(SharedStateTree& self) {
  return self.run([&](StateTree& tree) {
    if (tree.open_blocks() == 0) return false;
    tree.roll_back_block();
    return true;
  });
}

py::bytes root(SharedStateTree& self, unsigned threads) {
  const merkle::Digest digest = self.run([&](StateTree& tree) { return tree.root(threads); });
  return to_bytes(digest.data(), digest.size());
}

// (slot, whether it holds this very key, proof of that slot).
py::tuple prove(SharedStateTree& self, uint64_t low, uint64_t high, unsigned threads) {
  uint32_t slot = 0;
  bool present = false;
  const std::vector<uint8_t> proof = self.run([&](StateTree& tree) {
    tree.root(threads);
    slot = tree.at_or_before({high, low});
    present = tree.key_at(slot) == Key{high, low};
    return merkle::encode_state_proof(tree, slot);
  });
  return py::make_tuple(slot, present, to_bytes(proof.data(), proof.size()));
}

// Slots of keys; those of absent keys are 0, the head's.
Array<uint32_t> slots_of(SharedStateTree& self, const Array<uint64_t>& words) {
  const std::vector<Key> keys = to_keys(words);
  Array<uint32_t> slots(words.shape(0));
  uint32_t* out = slots.mutable_data();
  self.run([&](StateTree& tree) {
    for (size_t i = 0; i < keys.size(); i++) {
      out[i] = tree.at_or_before(keys[i]);
      if (tree.key_at(out[i]) != keys[i]) out[i] = 0;
    }
    return true;
  });
  return slots;
}

py::bytes leaf(SharedStateTree& self, uint32_t slot) {
  uint64_t tree_size = 0;
  std::vector<uint8_t> data(self.tree.leaf_bytes());
  self.run([&](StateTree& tree) {
    tree_size = tree.size();
    if (slot < tree_size && !tree.leaf(slot, data.data())) data.clear();
  });
  require_below("slot", slot, tree_size);
  return to_bytes(data.data(), data.size());
}

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
      .def(py::init([](size_t payload_bytes, bool key_in_payload) {
             payload_bytes = checked_payload_bytes(payload_bytes, key_in_payload);
             return std::make_unique<SharedStateTree>(payload_bytes, key_in_payload);
           }),
           py::arg("payload_bytes"), py::arg("key_in_payload") = false)
      .def_property_readonly("size", &size)
      .def_property_readonly("memory_bytes", &memory_bytes)
      .def("insert", &insert, py::arg("keys").noconvert(), py::arg("payloads").noconvert())
      .def("update", &update, py::arg("slots").noconvert(), py::arg("payloads").noconvert(), py::arg("threads"))
      .def("remove", &remove, py::arg("slots").noconvert())
      .def("order", &order)
      .def("load", &load, py::arg("keys").noconvert(), py::arg("payloads").noconvert(), py::arg("order").noconvert())
      .def_property_readonly("open_blocks", &open_blocks)
      .def("begin_block", &begin_block)
      .def("commit_block", &commit_block)
      .def("roll_back_block", &roll_back_block)
      .def("root", &root, py::arg("threads"))
      .def("prove", &prove, py::arg("low"), py::arg("high"), py::arg("threads"))
      .def("slots_of", &slots_of, py::arg("keys").noconvert())
      .def("leaf", &leaf, py::arg("slot"));
}

}  // namespace pyledger::bindings
