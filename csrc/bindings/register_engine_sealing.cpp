// Sealing: old transfers leave memory.
#include "bindings/engine_columns.h"

#include <utility>

namespace pyledger::bindings {
namespace {

using engine::Engine;

// The number of transfers that were sealed: count, or 0 if too few would stay.
uint64_t seal(SharedEngine& self, uint64_t keep, uint64_t count) {
  py::gil_scoped_release release;
  const std::lock_guard<std::mutex> sealing(self.sealing);
  std::optional<store::SegmentContent> content;
  std::string folder;
  uint64_t hash_check = 0;
  {
    const std::lock_guard<std::mutex> lock(self.mutex);
    content = self.engine.content_to_seal(keep, count);
    if (!content) return 0;
    folder = self.engine.transfers().sealed_store()->folder();
    hash_check = self.engine.transfers().sealed_store()->hash_check();
  }
  store::SegmentPointer segment = store::Segment::write(folder, hash_check, *content);
  const std::lock_guard<std::mutex> lock(self.mutex);
  self.engine.seal(std::move(segment), *content);
  return count;
}

// Does one piece of work that is due in the store; whether there was any.
bool tidy_store(SharedEngine& self) {
  py::gil_scoped_release release;
  const std::lock_guard<std::mutex> sealing(self.sealing);
  std::optional<store::SealedStore::Work> work;
  {
    const std::lock_guard<std::mutex> lock(self.mutex);
    work = self.engine.store_work_due();
  }
  if (!work) return false;
  store::SealedStore::do_work(*work);
  const std::lock_guard<std::mutex> lock(self.mutex);
  self.engine.install_store_work(std::move(*work));
  return true;
}

void translate(std::exception_ptr pointer) {
  try {
    if (pointer) std::rethrow_exception(pointer);
  } catch (const store::Damaged& error) {
    py::set_error(py::module_::import("pyledger.errors").attr("StorageError"), error.what());
  }
}

}  // namespace

void register_engine_sealing(EngineClass& engine_class) {
  py::register_local_exception_translator(&translate);
  engine_class
      .def(
          "open_store",
          [](SharedEngine& self, std::string folder) {
            self.run([&](Engine& engine) { engine.open_store(std::move(folder)); });
          },
          py::arg("folder"))
      .def(
          "add_block_file",
          [](SharedEngine& self, std::string path) {
            return self.run([&](Engine& engine) { return engine.add_block_file(std::move(path)); });
          },
          py::arg("path"))
      .def(
          "add_block",
          [](SharedEngine& self, uint32_t file, uint64_t records_offset, uint64_t effects_offset, uint32_t count) {
            self.run([&](Engine& engine) { engine.add_block(file, records_offset, effects_offset, count); });
          },
          py::arg("file"), py::arg("records_offset"), py::arg("effects_offset"), py::arg("count"))
      .def("seal", &seal, py::arg("keep"), py::arg("count"))
      .def("tidy_store", &tidy_store)
      .def("segment_files",
           [](SharedEngine& self) {
             return self.run([](Engine& engine) {
               std::vector<std::string> names;
               const store::SealedStore* store = engine.transfers().sealed_store();
               if (store) {
                 for (const store::SegmentName& name : store->names()) names.push_back(name.file_name());
               }
               return names;
             });
           })
      .def("block_files",
           [](SharedEngine& self) {
             return self.run([](Engine& engine) {
               const store::SealedStore* store = engine.transfers().sealed_store();
               return store ? store->blocks().paths() : std::vector<std::string>();
             });
           })
      .def_property_readonly(
          "transfer_count",
          [](SharedEngine& self) { return self.run([](Engine& engine) { return engine.transfers().size(); }); })
      .def_property_readonly(
          "sealed_count",
          [](SharedEngine& self) { return self.run([](Engine& engine) { return engine.transfers().window_first(); }); })
      .def_property_readonly("failed_ids_sealed", [](SharedEngine& self) {
        return self.run([](Engine& engine) { return engine.transfers().failed_first(); });
      });
}

}  // namespace pyledger::bindings
