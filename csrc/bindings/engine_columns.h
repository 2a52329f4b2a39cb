// What the engine's bindings share: the engine with its lock, and columns in and out.
//
// Each call takes the engine's own lock after it has let go of the GIL, so threads may share an engine; calls then
// happen one after the other.
#pragma once

#include <algorithm>
#include <cstring>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "bindings/bindings.h"
#include "engine/engine.h"

namespace pyledger::bindings {

struct SharedEngine {
  engine::Engine engine;
  std::mutex mutex;
  std::mutex sealing;  // held by the one thread that seals or merges, which holds `mutex` only at both ends

  template <class F>
  auto run(F f) {
    py::gil_scoped_release release;
    const std::lock_guard<std::mutex> lock(mutex);
    return f(engine);
  }
};

// The dtypes of pyledger/types.py.
struct EngineDtypes {
  py::dtype u128, account, transfer;
};
const EngineDtypes& engine_dtypes();

template <class T>
const py::dtype& dtype_of() {
  if constexpr (std::is_same_v<T, engine::U128>) return engine_dtypes().u128;
  if constexpr (std::is_same_v<T, engine::Account>) return engine_dtypes().account;
  if constexpr (std::is_same_v<T, engine::Transfer>) return engine_dtypes().transfer;
}

inline void require_length(py::ssize_t got, const char* name, py::ssize_t expected) {
  if (got == expected) return;
  throw py::value_error(std::string(name) + ": expected " + std::to_string(expected) + " rows, got " +
                        std::to_string(got));
}

inline void require_one_dimension(const py::array& array, const char* name) {
  if (array.ndim() == 1) return;
  throw py::value_error(std::string(name) + ": expected shape (n,), got " + std::to_string(array.ndim()) +
                        " dimensions");
}

// Records of exactly this dtype, one after the other.
template <class T>
const T* records(const py::array& array, const char* name) {
  if (!array.dtype().equal(dtype_of<T>())) {
    throw py::type_error(std::string(name) + ": expected dtype " + py::str(dtype_of<T>()).cast<std::string>() +
                         ", got " + py::str(array.dtype()).cast<std::string>());
  }
  require_one_dimension(array, name);
  if (!(array.flags() & py::array::c_style)) throw py::value_error(std::string(name) + ": expected a contiguous array");
  return static_cast<const T*>(array.data());
}

// A column beside n records.
template <class T>
const T* column(const Array<T>& array, const char* name, py::ssize_t n) {
  require_one_dimension(array, name);
  require_length(array.shape(0), name, n);
  if (reinterpret_cast<uintptr_t>(array.data()) % alignof(T)) {
    throw py::value_error(std::string(name) + ": expected an aligned array");
  }
  return array.data();
}

template <class T>
const T* optional_column(const std::optional<Array<T>>& array, const char* name, py::ssize_t n) {
  return array ? column(*array, name, n) : nullptr;
}

template <class T>
py::array new_records(size_t n) {
  py::array out(dtype_of<T>(), py::array::ShapeContainer{static_cast<py::ssize_t>(n)});
  std::memset(out.mutable_data(), 0, n * sizeof(T));
  return out;
}

template <class T>
T* records_out(py::array& array) {
  return static_cast<T*>(array.mutable_data());
}

template <class T>
py::array to_records(const std::vector<T>& items) {
  py::array out = new_records<T>(items.size());
  std::copy(items.begin(), items.end(), records_out<T>(out));
  return out;
}

template <class T>
Array<T> to_column(const std::vector<T>& items) {
  Array<T> out(static_cast<py::ssize_t>(items.size()));
  std::copy(items.begin(), items.end(), out.mutable_data());
  return out;
}

// Packed items as rows of bytes.
template <class T>
Array<uint8_t> to_rows(const std::vector<T>& items) {
  Array<uint8_t> out(py::array::ShapeContainer({static_cast<py::ssize_t>(items.size()), py::ssize_t{sizeof(T)}}));
  if (!items.empty()) std::memcpy(out.mutable_data(), items.data(), items.size() * sizeof(T));
  return out;
}

py::dict keys_dict(const std::vector<engine::Key>& keys);

using EngineClass = py::class_<SharedEngine>;
void register_engine_authority(EngineClass& engine_class);
void register_engine_lookups(EngineClass& engine_class);
void register_engine_history(EngineClass& engine_class);
void register_engine_sealing(EngineClass& engine_class);
void register_engine_snapshots(EngineClass& engine_class);

}  // namespace pyledger::bindings
