#include <algorithm>
#include <optional>
#include <vector>

#include "bindings/arguments.h"
#include "bindings/bindings.h"
#include "hash/ragged.h"
#include "hash/sha256.h"
#include "hash/sha512.h"
#include "parallel/pool.h"

namespace pyledger::bindings {
namespace {

constexpr size_t kTaskMessages = 1024;

using Output = std::optional<Array<uint8_t>>;

template <class HashPiece>
void run_pieces(unsigned threads, size_t count, const HashPiece& hash_piece) {
  auto task = [&](size_t t) {
    const size_t first = t * kTaskMessages;
    hash_piece(first, std::min(kTaskMessages, count - first));
  };
  parallel::run(threads, (count + kTaskMessages - 1) / kTaskMessages, task);
}

Array<uint8_t> sha256_rows(const Array<uint8_t>& messages, unsigned threads, const Output& output) {
  require_two_dimensions(messages, "messages");
  const size_t count = messages.shape(0), size = messages.shape(1);
  Array<uint8_t> digests = output_array(output, messages.shape(0), hash::kSha256Bytes, messages);
  const uint8_t* in = messages.data();
  uint8_t* out = digests.mutable_data();
  const py::gil_scoped_release release;
  run_pieces(threads, count, [&](size_t first, size_t piece) {
    hash::sha256_many(in + size * first, size, size, piece, hash::kNoPrefix, out + hash::kSha256Bytes * first);
  });
  return digests;
}

Array<uint8_t> sha512_rows(const Array<uint8_t>& messages, unsigned threads, const Output& output) {
  require_two_dimensions(messages, "messages");
  const size_t count = messages.shape(0), size = messages.shape(1);
  Array<uint8_t> digests = output_array(output, messages.shape(0), hash::kSha512Bytes, messages);
  const uint8_t* in = messages.data();
  uint8_t* out = digests.mutable_data();
  const py::gil_scoped_release release;
  run_pieces(threads, count, [&](size_t first, size_t piece) {
    hash::sha512_many(in + size * first, size, size, piece, out + hash::kSha512Bytes * first);
  });
  return digests;
}

Array<uint8_t> sha256_ragged(const Array<uint8_t>& buffer, const Array<uint64_t>& offsets, unsigned threads,
                             const Output& output) {
  const std::vector<uint64_t> ends = copy_message_offsets(buffer, offsets);
  const size_t count = ends.size() - 1;
  Array<uint8_t> digests = output_array(output, static_cast<py::ssize_t>(count), hash::kSha256Bytes, buffer);
  const uint8_t* in = buffer.data();
  uint8_t* out = digests.mutable_data();
  const py::gil_scoped_release release;
  const std::vector<size_t> order = hash::order_by_length(ends.data(), count);
  run_pieces(threads, count, [&](size_t first, size_t piece) {
    hash::sha256_ragged(in, ends.data(), order.data() + first, piece, hash::kNoPrefix, out);
  });
  return digests;
}

Array<uint8_t> sha512_ragged(const Array<uint8_t>& buffer, const Array<uint64_t>& offsets, unsigned threads,
                             const Output& output) {
  const std::vector<uint64_t> ends = copy_message_offsets(buffer, offsets);
  const size_t count = ends.size() - 1;
  Array<uint8_t> digests = output_array(output, static_cast<py::ssize_t>(count), hash::kSha512Bytes, buffer);
  const uint8_t* in = buffer.data();
  uint8_t* out = digests.mutable_data();
  const py::gil_scoped_release release;
  const std::vector<size_t> order = hash::order_by_length(ends.data(), count);
  run_pieces(threads, count, [&](size_t first, size_t piece) {
    hash::sha512_ragged(in, ends.data(), order.data() + first, piece, out);
  });
  return digests;
}

}  // namespace

void register_hash(py::module_& module) {
  module.def("sha256_row", [] { return hash::sha256_row_name(); });
  module.def("sha512_row", [] { return hash::sha512_row_name(); });
  module.def("sha256_rows", &sha256_rows, py::arg("messages").noconvert(), py::arg("threads"),
             py::arg("out").noconvert() = py::none());
  module.def("sha512_rows", &sha512_rows, py::arg("messages").noconvert(), py::arg("threads"),
             py::arg("out").noconvert() = py::none());
  module.def("sha256_ragged", &sha256_ragged, py::arg("buffer").noconvert(), py::arg("offsets").noconvert(),
             py::arg("threads"), py::arg("out").noconvert() = py::none());
  module.def("sha512_ragged", &sha512_ragged, py::arg("buffer").noconvert(), py::arg("offsets").noconvert(),
             py::arg("threads"), py::arg("out").noconvert() = py::none());
}

}  // namespace pyledger::bindings
