#include <cstring>
#include <mutex>
#include <string_view>
#include <vector>

#include "bindings/arguments.h"
#include "bindings/bindings.h"
#include "merkle/log.h"
#include "merkle/root.h"
#include "merkle/verify.h"

namespace pyledger::bindings {
namespace {

using merkle::Digest;

py::bytes to_bytes(const Digest& digest) {
  return py::bytes(reinterpret_cast<const char*>(digest.data()), digest.size());
}

Array<uint8_t> to_array(const std::vector<Digest>& digests) {
  Array<uint8_t> array = new_bytes_2d(static_cast<py::ssize_t>(digests.size()), merkle::kDigestBytes);
  if (!digests.empty()) std::memcpy(array.mutable_data(), digests[0].data(), digests.size() * sizeof(Digest));
  return array;
}

Digest to_digest(const py::bytes& bytes, const char* name) {
  const std::string_view view = bytes;
  if (view.size() != merkle::kDigestBytes) {
    throw py::value_error(std::string(name) + ": expected 32 bytes, got " + std::to_string(view.size()));
  }
  Digest digest;
  std::memcpy(digest.data(), view.data(), digest.size());
  return digest;
}

size_t require_hashes(const Array<uint8_t>& hashes, const char* name) {
  require_columns(hashes, name, merkle::kDigestBytes);
  return hashes.shape(0);
}

// Rows without a byte take no memory, so their number alone would decide how long a call runs.
void require_leaves(const Array<uint8_t>& leaves) {
  constexpr uint64_t kEmptyLeavesMax = uint64_t{1} << 24;
  require_two_dimensions(leaves, "leaves");
  if (leaves.shape(1) == 0) require_at_most("leaves: rows of no bytes", leaves.shape(0), kEmptyLeavesMax);
}

Array<uint8_t> leaf_hashes(const Array<uint8_t>& leaves, unsigned threads) {
  require_leaves(leaves);
  Array<uint8_t> hashes = new_bytes_2d(leaves.shape(0), merkle::kDigestBytes);
  uint8_t* out = hashes.mutable_data();
  const py::gil_scoped_release release;
  merkle::leaf_hashes(leaves.data(), leaves.shape(1), leaves.shape(0), threads, out);
  return hashes;
}

Array<uint8_t> leaf_hashes_ragged(const Array<uint8_t>& buffer, const Array<uint64_t>& offsets, unsigned threads) {
  const std::vector<uint64_t> ends = copy_message_offsets(buffer, offsets);
  const size_t count = ends.size() - 1;
  Array<uint8_t> hashes = new_bytes_2d(static_cast<py::ssize_t>(count), merkle::kDigestBytes);
  uint8_t* out = hashes.mutable_data();
  const py::gil_scoped_release release;
  merkle::leaf_hashes_ragged(buffer.data(), ends.data(), count, threads, out);
  return hashes;
}

py::bytes root(const Array<uint8_t>& leaves, unsigned threads) {
  require_leaves(leaves);
  Digest digest;
  {
    const py::gil_scoped_release release;
    digest = merkle::root(leaves.data(), leaves.shape(1), leaves.shape(0), threads);
  }
  return to_bytes(digest);
}

py::bytes root_of_leaf_hashes(const Array<uint8_t>& hashes, unsigned threads) {
  const size_t count = require_hashes(hashes, "hashes");
  Digest digest;
  {
    const py::gil_scoped_release release;
    digest = merkle::root_of_leaf_hashes(hashes.data(), count, threads);
  }
  return to_bytes(digest);
}

bool verify_inclusion(const py::bytes& root, uint64_t size, uint64_t index, const py::bytes& leaf_hash,
                      const Array<uint8_t>& proof) {
  const size_t count = require_hashes(proof, "proof");
  return merkle::verify_inclusion(to_digest(root, "root").data(), size, index, to_digest(leaf_hash, "leaf_hash").data(),
                                  proof.data(), count);
}

bool verify_consistency(uint64_t old_size, const py::bytes& old_root, uint64_t new_size, const py::bytes& new_root,
                        const Array<uint8_t>& proof) {
  const size_t count = require_hashes(proof, "proof");
  return merkle::verify_consistency(old_size, to_digest(old_root, "old_root").data(), new_size,
                                    to_digest(new_root, "new_root").data(), proof.data(), count);
}

Array<bool> verify_inclusion_many(const py::bytes& root, uint64_t size, const Array<uint64_t>& indices,
                                  const Array<uint8_t>& leaf_hashes, const Array<uint8_t>& proofs,
                                  const Array<uint64_t>& offsets, unsigned threads) {
  const Digest expected = to_digest(root, "root");
  const size_t count = require_hashes(leaf_hashes, "leaf_hashes");
  require_vector(indices, "indices", leaf_hashes.shape(0));
  require_vector(offsets, "offsets", leaf_hashes.shape(0) + 1);
  const std::vector<uint64_t> places = copy_vector(indices, "indices");
  const std::vector<uint64_t> ends = copy_offsets(offsets, require_hashes(proofs, "proofs"));
  Array<bool> valid(leaf_hashes.shape(0));
  auto* out = reinterpret_cast<uint8_t*>(valid.mutable_data());
  const py::gil_scoped_release release;
  merkle::verify_inclusion_many(expected.data(), size, places.data(), leaf_hashes.data(), proofs.data(), ends.data(),
                                count, threads, out);
  return valid;
}

bool verify_inclusion_multi(const py::bytes& root, uint64_t size, const Array<uint64_t>& indices,
                            const Array<uint8_t>& leaf_hashes, const Array<uint8_t>& proof) {
  const size_t count = require_hashes(leaf_hashes, "leaf_hashes");
  require_vector(indices, "indices", leaf_hashes.shape(0));
  const std::vector<uint64_t> places = copy_vector(indices, "indices");
  return merkle::verify_inclusion_multi(to_digest(root, "root").data(), size, places.data(), leaf_hashes.data(), count,
                                        proof.data(), require_hashes(proof, "proof"));
}

// A log that several Python threads may use at once: one call at a time, the others wait without the GIL.
class SharedLog {
 private:
  merkle::Log log_;
  mutable std::mutex mutex_;

  template <class F>
  auto locked(const F& f) const {
    const py::gil_scoped_release release;
    const std::lock_guard<std::mutex> lock(mutex_);
    return f();
  }

 public:
  uint64_t size() const {
    return locked([&] { return log_.size(); });
  }

  void extend(const Array<uint8_t>& hashes, unsigned threads) {
    const size_t count = require_hashes(hashes, "hashes");
    const py::gil_scoped_release release;
    const std::lock_guard<std::mutex> lock(mutex_);
    log_.extend(hashes.data(), count, threads);
  }

  void extend_leaves(const Array<uint8_t>& leaves, unsigned threads) {
    require_leaves(leaves);
    const py::gil_scoped_release release;
    const std::lock_guard<std::mutex> lock(mutex_);
    log_.extend_leaves(leaves.data(), leaves.shape(1), leaves.shape(0), threads);
  }

  void append(const py::bytes& leaf_hash) {
    const Digest digest = to_digest(leaf_hash, "leaf_hash");
    const py::gil_scoped_release release;
    const std::lock_guard<std::mutex> lock(mutex_);
    log_.extend(digest.data(), 1, 1);
  }

  py::bytes root_at(uint64_t size) const {
    return to_bytes(locked([&] {
      require_at_most("size", size, log_.size());
      return log_.root_at(size);
    }));
  }

  Array<uint8_t> prove_inclusion(uint64_t index, uint64_t size) const {
    return to_array(locked([&] {
      require_at_most("size", size, log_.size());
      require_below("index", index, size);
      return log_.prove_inclusion(index, size);
    }));
  }

  Array<uint8_t> prove_consistency(uint64_t old_size, uint64_t size) const {
    return to_array(locked([&] {
      require_at_most("size", size, log_.size());
      require_at_most("old_size", old_size, size);
      if (old_size == 0) return std::vector<Digest>{};
      return log_.prove_consistency(old_size, size);
    }));
  }

  Array<uint8_t> prove_multi(const Array<uint64_t>& indices, uint64_t size) const {
    const std::vector<uint64_t> places = copy_vector(indices, "indices");
    return to_array(locked([&] {
      require_at_most("size", size, log_.size());
      for (size_t i = 0; i < places.size(); i++) {
        require_below("indices", places[i], size);
        if (i && places[i] <= places[i - 1]) throw py::value_error("indices: expected strictly rising values");
      }
      return log_.prove_multi(places.data(), places.size(), size);
    }));
  }

  // Proofs of many leaves, one behind the other, and where each begins.
  py::tuple prove_many(const Array<uint64_t>& indices, uint64_t size) const {
    const std::vector<uint64_t> places = copy_vector(indices, "indices");
    Array<uint64_t> offsets(static_cast<py::ssize_t>(places.size() + 1));
    uint64_t* out = offsets.mutable_data();
    out[0] = 0;
    const std::vector<Digest> proofs = locked([&] {
      require_at_most("size", size, log_.size());
      std::vector<Digest> all;
      for (size_t i = 0; i < places.size(); i++) {
        require_below("indices", places[i], size);
        const std::vector<Digest> proof = log_.prove_inclusion(places[i], size);
        all.insert(all.end(), proof.begin(), proof.end());
        out[i + 1] = all.size();
      }
      return all;
    });
    return py::make_tuple(to_array(proofs), offsets);
  }

  Array<uint8_t> nodes(unsigned level, uint64_t begin, uint64_t end) const {
    locked([&] {  // a log only grows, so what holds now holds below
      require_at_most("begin", begin, end);
      require_at_most("end", end, level < 64 ? log_.size() >> level : 0);
      return true;
    });
    Array<uint8_t> out = new_bytes_2d(static_cast<py::ssize_t>(end - begin), merkle::kDigestBytes);
    uint8_t* data = out.mutable_data();
    locked([&] { return log_.copy_nodes(level, begin, end, data); });
    return out;
  }

  size_t memory_bytes() const {
    return locked([&] { return log_.memory_bytes(); });
  }
};

}  // namespace

void register_merkle(py::module_& module) {
  module.def("merkle_leaf_hashes", &leaf_hashes, py::arg("leaves").noconvert(), py::arg("threads"));
  module.def("merkle_leaf_hashes_ragged", &leaf_hashes_ragged, py::arg("buffer").noconvert(),
             py::arg("offsets").noconvert(), py::arg("threads"));
  module.def("merkle_root", &root, py::arg("leaves").noconvert(), py::arg("threads"));
  module.def("merkle_root_of_leaf_hashes", &root_of_leaf_hashes, py::arg("hashes").noconvert(), py::arg("threads"));
  module.def("merkle_verify_inclusion", &verify_inclusion, py::arg("root"), py::arg("size"), py::arg("index"),
             py::arg("leaf_hash"), py::arg("proof").noconvert());
  module.def("merkle_verify_consistency", &verify_consistency, py::arg("old_size"), py::arg("old_root"),
             py::arg("new_size"), py::arg("new_root"), py::arg("proof").noconvert());
  module.def("merkle_verify_inclusion_many", &verify_inclusion_many, py::arg("root"), py::arg("size"),
             py::arg("indices").noconvert(), py::arg("leaf_hashes").noconvert(), py::arg("proofs").noconvert(),
             py::arg("offsets").noconvert(), py::arg("threads"));
  module.def("merkle_verify_inclusion_multi", &verify_inclusion_multi, py::arg("root"), py::arg("size"),
             py::arg("indices").noconvert(), py::arg("leaf_hashes").noconvert(), py::arg("proof").noconvert());

  py::class_<SharedLog>(module, "MerkleLog")
      .def(py::init<>())
      .def_property_readonly("size", &SharedLog::size)
      .def_property_readonly("memory_bytes", &SharedLog::memory_bytes)
      .def("append", &SharedLog::append, py::arg("leaf_hash"))
      .def("extend", &SharedLog::extend, py::arg("hashes").noconvert(), py::arg("threads"))
      .def("extend_leaves", &SharedLog::extend_leaves, py::arg("leaves").noconvert(), py::arg("threads"))
      .def("root_at", &SharedLog::root_at, py::arg("size"))
      .def("prove_inclusion", &SharedLog::prove_inclusion, py::arg("index"), py::arg("size"))
      .def("prove_consistency", &SharedLog::prove_consistency, py::arg("old_size"), py::arg("size"))
      .def("prove_multi", &SharedLog::prove_multi, py::arg("indices").noconvert(), py::arg("size"))
      .def("prove_many", &SharedLog::prove_many, py::arg("indices").noconvert(), py::arg("size"))
      .def("nodes", &SharedLog::nodes, py::arg("level"), py::arg("begin"), py::arg("end"));
}

}  // namespace pyledger::bindings
