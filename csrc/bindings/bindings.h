// What every register_<topic>.cpp shares. Only this folder includes pybind11.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <string>

namespace pyledger::bindings {

namespace py = pybind11;

// C-contiguous, aligned arrays of exactly this dtype. Bind such arguments with .noconvert(): nothing is copied
// silently.
inline constexpr int kArrayFlags = int{py::array::c_style} | int{py::detail::npy_api::NPY_ARRAY_ALIGNED_};
template <class T>
using Array = py::array_t<T, kArrayFlags>;

// Throws ValueError naming the argument unless the array is (n, width).
inline void require_columns(const py::array& array, const char* name, py::ssize_t width) {
  if (array.ndim() != 2 || array.shape(1) != width) {
    std::string shape;
    for (py::ssize_t i = 0; i < array.ndim(); i++) {
      if (i) shape += ", ";
      shape += std::to_string(array.shape(i));
    }
    throw py::value_error(std::string(name) + ": expected shape (n, " + std::to_string(width) + "), got (" + shape +
                          ")");
  }
}

inline Array<uint8_t> new_bytes_2d(py::ssize_t rows, py::ssize_t columns) { return Array<uint8_t>({rows, columns}); }

void register_dispatch(py::module_& module);
void register_engine(py::module_& module);
void register_blocks(py::module_& module);
void register_bls(py::module_& module);
void register_hash(py::module_& module);
void register_journal(py::module_& module);
void register_merkle(py::module_& module);
void register_state_tree(py::module_& module);
void register_ed25519(py::module_& module);

}  // namespace pyledger::bindings

// pybind11's own caster checks dtype and contiguity, and would copy an array that is not aligned.
template <class T>
struct pybind11::detail::pyobject_caster<pyledger::bindings::Array<T>> {
  using type = pyledger::bindings::Array<T>;

  bool load(handle source, bool convert) {
    const bool fits = type::check_(source) && check_flags(source.ptr(), pyledger::bindings::kArrayFlags);
    if (!convert && !fits) return false;
    value = type::ensure(source);
    return static_cast<bool>(value);
  }

  static handle cast(const handle& source, return_value_policy, handle) { return source.inc_ref(); }

  PYBIND11_TYPE_CASTER(type, handle_type_name<type>::name);
};
