#include <cstdlib>
#include <stdexcept>

#include "bindings/bindings.h"
#include "dispatch/cpu.h"
#include "parallel/pool.h"

namespace pyledger::bindings {
namespace {

void force(const std::string& name, const char* origin) {
  switch (dispatch::force_level(name.c_str())) {
    case dispatch::ForceResult::kOk:
      return;
    case dispatch::ForceResult::kUnknownLevel:
      throw py::value_error(std::string(origin) + "='" + name + "': expected one of " + dispatch::level_names());
    case dispatch::ForceResult::kNotOnThisCpu:
      throw py::value_error(std::string(origin) + "='" + name + "': this CPU or operating system does not offer it");
  }
}

}  // namespace

void register_dispatch(py::module_& module) {
  if (const char* name = std::getenv("PYLEDGER_CPU")) force(name, "PYLEDGER_CPU");
  module.def("cpu_level", [] { return std::string(dispatch::level_name()); });
  module.def("cpu_features", [] {
    const uint32_t allowed = dispatch::allowed_features();
    py::list names;
    if (allowed & dispatch::kShaNi) names.append("sha_ni");
    if (allowed & dispatch::kAvx2) names.append("avx2");
    if (allowed & dispatch::kAvx512) names.append("avx512");
    if (allowed & dispatch::kAvx512Ifma) names.append("avx512ifma");
    return names;
  });
  module.def("force_cpu_level", [](const std::string& name) { force(name, "cpu level"); }, py::arg("name"));
  module.def("thread_count", &parallel::thread_count, py::arg("requested"));
}

}  // namespace pyledger::bindings
