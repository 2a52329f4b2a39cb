// Journal: buffers in, bytes out, and the library's own exceptions, by name. Every call that may touch a disk or wait
// lets go of the GIL.
#include <cstring>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bindings/bindings.h"
#include "journal/journal.h"
#include "journal/snapshot_file.h"

namespace pyledger::bindings {
namespace {

using journal::Journal;
using journal::Part;

// Contiguous bytes of Python objects, held while this lives. It is made and destroyed with the GIL.
class HeldBuffers {
 public:
  HeldBuffers() = default;
  HeldBuffers(const HeldBuffers&) = delete;
  HeldBuffers& operator=(const HeldBuffers&) = delete;
  ~HeldBuffers() {
    for (Py_buffer& view : views_) PyBuffer_Release(&view);
  }

  void add(const py::handle& object) {
    Py_buffer view;
    if (PyObject_GetBuffer(object.ptr(), &view, PyBUF_SIMPLE) != 0) throw py::error_already_set();
    views_.push_back(view);
    parts_.push_back({static_cast<const uint8_t*>(view.buf), static_cast<size_t>(view.len)});
  }
  const std::vector<Part>& parts() const { return parts_; }

 private:
  std::vector<Py_buffer> views_;
  std::vector<Part> parts_;
};

merkle::Digest to_digest(const py::bytes& bytes, const char* name) {
  const std::string_view view = bytes;
  merkle::Digest digest;
  if (view.size() != digest.size()) {
    throw py::value_error(std::string(name) + ": expected 32 bytes, got " + std::to_string(view.size()));
  }
  std::memcpy(digest.data(), view.data(), digest.size());
  return digest;
}

std::unique_ptr<Journal> open_journal(const std::string& folder, const py::bytes& genesis_hash, bool read_only,
                                      uint64_t segment_size, uint64_t queue_size, uint64_t known_height,
                                      uint64_t verify_from, unsigned threads, const std::string& known_by) {
  const merkle::Digest digest = to_digest(genesis_hash, "genesis_hash");
  if (verify_from == 0) throw py::value_error("verify_from: expected a height from 1, got 0");
  journal::JournalOptions options;
  options.read_only = read_only;
  options.segment_bytes = segment_size;
  options.queue_bytes = queue_size;
  options.scan = {known_height, verify_from, threads, known_by};
  const py::gil_scoped_release release;
  return std::make_unique<Journal>(journal::posix_file_system(), folder, digest, options);
}

void submit(Journal& journal, uint64_t height, const py::sequence& parts) {
  HeldBuffers buffers;
  for (const py::handle part : parts) buffers.add(part);
  const py::gil_scoped_release release;
  journal.submit(height, buffers.parts());
}

void append(Journal& journal, uint64_t height, const py::object& payload) {
  HeldBuffers buffers;
  buffers.add(payload);
  const py::gil_scoped_release release;
  journal.append(height, buffers.parts());
}

py::bytes read(const Journal& journal, uint64_t height) {
  const auto size_bytes = static_cast<py::ssize_t>(journal.payload_bytes(height));
  auto payload = py::reinterpret_steal<py::bytes>(PyBytes_FromStringAndSize(nullptr, size_bytes));
  if (!payload) throw py::error_already_set();
  auto* out = reinterpret_cast<uint8_t*>(PyBytes_AS_STRING(payload.ptr()));
  const py::gil_scoped_release release;
  journal.read(height, out);
  return payload;
}

// A snapshot in the making; sections go by their names.
class SnapshotWriter {
 public:
  SnapshotWriter(const std::string& folder, uint64_t height, const py::bytes& binding,
                 const std::vector<std::pair<std::string, uint64_t>>& sizes, unsigned threads) {
    std::vector<journal::SectionSize> sections;
    for (const auto& [name, size_bytes] : sizes) {
      numbers_[name] = sections.size();
      sections.push_back({name, size_bytes});
    }
    const journal::SnapshotHeader header{height, to_digest(binding, "binding")};
    const py::gil_scoped_release release;
    writer_.emplace(journal::posix_file_system(), folder, header, sections, threads);
  }

  void append(const std::string& name, const py::object& bytes) {
    const auto number = numbers_.find(name);
    if (number == numbers_.end()) throw py::value_error("snapshot: there is no section " + name);
    HeldBuffers buffers;
    buffers.add(bytes);
    const Part part = buffers.parts().front();
    const py::gil_scoped_release release;
    writer().append(number->second, {part.data, part.size_bytes});
  }

  void finish() {
    const py::gil_scoped_release release;
    writer().finish();
    writer_.reset();
  }

  void close() {
    const py::gil_scoped_release release;
    writer_.reset();
  }

 private:
  journal::SnapshotWriter& writer() {
    if (!writer_) throw journal::StorageFailure("snapshot: its writer is closed");
    return *writer_;
  }

  std::map<std::string, size_t> numbers_;
  std::optional<journal::SnapshotWriter> writer_;
};

// The newest whole snapshot as (height, binding, {name: array}), or None, and what is wrong with newer ones. The arrays
// are views of the file in memory, which lives as long as they do.
py::tuple find_snapshot(const std::string& folder, uint64_t height_max, unsigned threads) {
  journal::FoundSnapshot found;
  {
    const py::gil_scoped_release release;
    found = journal::find_snapshot(journal::posix_file_system(), folder, height_max, threads);
  }
  if (!found.newest) return py::make_tuple(py::none(), found.damaged);
  journal::Snapshot& snapshot = *found.newest;
  const py::capsule mapping(snapshot.mapping.release(),
                            [](void* data) { delete static_cast<journal::Mapping*>(data); });
  py::dict sections;
  for (const journal::Section& section : snapshot.sections) {
    Array<uint8_t> view(static_cast<py::ssize_t>(section.bytes.size()), section.bytes.data(), mapping);
    view.attr("flags").attr("writeable") = false;
    sections[py::str(section.name)] = view;
  }
  const py::bytes binding(reinterpret_cast<const char*>(snapshot.header.binding.data()), merkle::kDigestBytes);
  return py::make_tuple(py::make_tuple(snapshot.header.height, binding, sections), found.damaged);
}

void raise(const char* name, const char* message) {
  py::set_error(py::module_::import("pyledger.errors").attr(name), message);
}

void translate(std::exception_ptr pointer) {
  try {
    if (pointer) std::rethrow_exception(pointer);
  } catch (const journal::StateFailure& error) {
    raise("StateError", error.what());
  } catch (const journal::StorageFailure& error) {
    raise("StorageError", error.what());
  } catch (const journal::FileError& error) {
    raise("StorageError", error.what());
  }
}

}  // namespace

void register_journal(py::module_& module) {
  py::register_local_exception_translator(&translate);

  py::class_<SnapshotWriter>(module, "SnapshotWriter")
      .def(py::init<const std::string&, uint64_t, const py::bytes&,
                    const std::vector<std::pair<std::string, uint64_t>>&, unsigned>(),
           py::arg("folder"), py::arg("height"), py::arg("binding"), py::arg("sizes"), py::arg("threads"))
      .def("append", &SnapshotWriter::append, py::arg("name"), py::arg("data"))
      .def("finish", &SnapshotWriter::finish)
      .def("close", &SnapshotWriter::close);
  module.def("snapshot_find", &find_snapshot, py::arg("folder"), py::arg("height_max"), py::arg("threads"));

  const py::call_guard<py::gil_scoped_release> released;
  py::class_<Journal>(module, "Journal")
      .def(py::init(&open_journal), py::arg("folder"), py::arg("genesis_hash"), py::kw_only(), py::arg("read_only"),
           py::arg("segment_size"), py::arg("queue_size"), py::arg("known_height"), py::arg("verify_from"),
           py::arg("threads"), py::arg("known_by"))
      .def_property_readonly("height", &Journal::height)
      .def_property_readonly("durable_height", &Journal::durable_height)
      .def_property_readonly("submitted_height", &Journal::submitted_height)
      .def_property_readonly("size_bytes", &Journal::size_bytes)
      .def_property_readonly("torn_bytes", &Journal::torn_bytes)
      .def_property_readonly("cut_bytes", &Journal::cut_bytes)
      .def_property_readonly("direct", &Journal::direct)
      .def("place", &Journal::payload_place, py::arg("height"))
      .def("submit", &submit, py::arg("height"), py::arg("parts"))
      .def("append", &append, py::arg("height"), py::arg("payload"))
      .def("wait", &Journal::wait, py::arg("height"), released)
      .def("read", &read, py::arg("height"))
      .def("refresh", &Journal::refresh, released)
      .def("close", &Journal::close, released);
}

}  // namespace pyledger::bindings
