// Checks of arguments beyond dtype and contiguity. Each throws ValueError that names the argument, what was expected
// and what came.
#pragma once

#include <cstdint>
#include <string>

#include "bindings/bindings.h"

namespace pyledger::bindings {

inline std::string shape_text(const py::array& array) {
  std::string text = "(";
  for (py::ssize_t i = 0; i < array.ndim(); i++) text += (i ? ", " : "") + std::to_string(array.shape(i));
  return text + (array.ndim() == 1 ? ",)" : ")");
}

inline void require_two_dimensions(const py::array& array, const char* name) {
  if (array.ndim() != 2) {
    throw py::value_error(std::string(name) + ": expected shape (n, m), got " + shape_text(array));
  }
}

inline void require_vector(const py::array& array, const char* name, py::ssize_t length) {
  if (array.ndim() != 1 || array.shape(0) != length) {
    throw py::value_error(std::string(name) + ": expected shape (" + std::to_string(length) + ",), got " +
                          shape_text(array));
  }
}

inline void require_at_most(const char* name, uint64_t value, uint64_t limit) {
  if (value > limit) {
    throw py::value_error(std::string(name) + ": expected at most " + std::to_string(limit) + ", got " +
                          std::to_string(value));
  }
}

inline void require_below(const char* name, uint64_t value, uint64_t limit) {
  if (value >= limit) {
    throw py::value_error(std::string(name) + ": expected below " + std::to_string(limit) + ", got " +
                          std::to_string(value));
  }
}

// Offsets (n + 1,) that start at 0, never fall and end at `total`. Returns n.
inline size_t require_offsets(const Array<uint64_t>& offsets, uint64_t total) {
  if (offsets.ndim() != 1 || offsets.shape(0) < 1) {
    throw py::value_error("offsets: expected shape (n + 1,), got " + shape_text(offsets));
  }
  const uint64_t* data = offsets.data();
  const auto count = static_cast<size_t>(offsets.shape(0) - 1);
  bool rising = data[0] == 0 && data[count] == total;
  for (size_t i = 0; i < count; i++) rising = rising && data[i] <= data[i + 1];
  if (!rising) {
    throw py::value_error("offsets: expected numbers that start at 0, never fall and end at " + std::to_string(total));
  }
  return count;
}

// A flat buffer and the offsets of the n messages in it. Returns n.
inline size_t require_messages(const Array<uint8_t>& buffer, const Array<uint64_t>& offsets) {
  if (buffer.ndim() != 1) throw py::value_error("buffer: expected shape (bytes,), got " + shape_text(buffer));
  return require_offsets(offsets, static_cast<uint64_t>(buffer.shape(0)));
}

}  // namespace pyledger::bindings
