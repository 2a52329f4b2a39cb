// Checks of arguments beyond dtype and contiguity. Each throws ValueError that names the argument, what was expected
// and what came.
//
// Numbers that say where to read or write - offsets, indices, slots - are copied first and the copy is checked and
// used: another Python thread may write to the caller's array at any time.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

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

template <class T>
std::vector<T> copy_vector(const Array<T>& array, const char* name) {
  if (array.ndim() != 1) throw py::value_error(std::string(name) + ": expected shape (n,), got " + shape_text(array));
  return {array.data(), array.data() + array.shape(0)};
}

// Offsets (n + 1,) that start at 0, never fall and end at `total`: what they cut is all there is, in one way.
inline std::vector<uint64_t> copy_offsets(const Array<uint64_t>& array, uint64_t total) {
  if (array.ndim() != 1 || array.shape(0) < 1) {
    throw py::value_error("offsets: expected shape (n + 1,), got " + shape_text(array));
  }
  std::vector<uint64_t> offsets = copy_vector(array, "offsets");
  const auto refuse = [&](size_t i, const std::string& expected) {
    throw py::value_error("offsets[" + std::to_string(i) + "]: expected " + expected + ", got " +
                          std::to_string(offsets[i]));
  };
  if (offsets.front() != 0) refuse(0, "0");
  for (size_t i = 1; i < offsets.size(); i++) {
    if (offsets[i] < offsets[i - 1]) refuse(i, "no less than the " + std::to_string(offsets[i - 1]) + " before it");
  }
  if (offsets.back() != total) refuse(offsets.size() - 1, std::to_string(total) + ", the end");
  return offsets;
}

// The offsets of the messages in a flat buffer.
inline std::vector<uint64_t> copy_message_offsets(const Array<uint8_t>& buffer, const Array<uint64_t>& offsets) {
  if (buffer.ndim() != 1) {
    throw py::value_error("messages: expected a buffer of shape (bytes,) beside offsets, got " + shape_text(buffer));
  }
  return copy_offsets(offsets, static_cast<uint64_t>(buffer.shape(0)));
}

// An array for (rows, width) bytes: `out` if there is one, which must be writable and share no byte with the input.
template <typename T>
Array<uint8_t> output_array(const std::optional<Array<uint8_t>>& out, py::ssize_t rows, py::ssize_t width,
                            const Array<T>& input) {
  if (!out) return new_bytes_2d(rows, width);
  if (out->ndim() != 2 || out->shape(0) != rows || out->shape(1) != width || !out->writeable()) {
    throw py::value_error("out: expected a writable array of shape (" + std::to_string(rows) + ", " +
                          std::to_string(width) + "), got " + shape_text(*out) +
                          (out->writeable() ? "" : ", read-only"));
  }
  const std::less<const void*> before;  // a total order, also of pointers into different arrays
  if (before(out->data(), input.data() + input.size()) && before(input.data(), out->data() + out->size())) {
    throw py::value_error("out: expected memory of its own, got an array that overlaps the input");
  }
  return *out;
}

}  // namespace pyledger::bindings
