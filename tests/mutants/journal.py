"""One-line changes that break a rule of the journal or of the snapshots; every one must be killed by a native test.

(name, file, text as it stands, text of the mutant). The text must stand in the file exactly once.
"""

WRITER, SCAN, FORMAT = "csrc/journal/writer.cpp", "csrc/journal/scan.cpp", "csrc/journal/format.cpp"
JOURNAL, SNAPSHOT = "csrc/journal/journal.cpp", "csrc/journal/snapshot_file.cpp"
SYSTEM = "csrc/journal/posix_file_system.cpp"

MUTANTS = [
    # what is written, and when it is durable
    (
        "a group is acknowledged without a sync",
        WRITER,
        "  write_at(parts, end_);\n  files_.sync_data(file_.number());",
        "  write_at(parts, end_);",
    ),
    (
        "a group is synced before it is written",
        WRITER,
        "  write_at(parts, end_);\n  files_.sync_data(file_.number());",
        "  files_.sync_data(file_.number());\n  write_at(parts, end_);",
    ),
    (
        "a group is acknowledged before it is written",
        JOURNAL,
        "    const std::vector<Place> places = writer_->write(left);\n    publish(left.first(places.size()), places);",
        "    publish(left.first(1), {{0, 1, static_cast<uint32_t>(left[0].payload_bytes)}});\n"
        "    const std::vector<Place> places = writer_->write(left);",
    ),
    (
        "frames say that their own group was synced",
        WRITER,
        "finish_header(frame, height_);",
        "finish_header(frame, frame.height - 1);",
    ),
    ("frames say that nothing was synced", WRITER, "finish_header(frame, height_);", "finish_header(frame, 0);"),
    (
        "a sealed segment is not synced",
        WRITER,
        "void SegmentWriter::seal() {\n  files_.truncate(file_.number(), end_);\n  files_.sync(file_.number());",
        "void SegmentWriter::seal() {\n  files_.truncate(file_.number(), end_);",
    ),
    (
        "a sealed segment keeps its room",
        WRITER,
        "void SegmentWriter::seal() {\n  files_.truncate(file_.number(), end_);",
        "void SegmentWriter::seal() {",
    ),
    ("a segment is followed without being sealed", WRITER, "  if (file_) seal();\n", ""),
    ("a new segment's header is not synced", WRITER, "    files_.sync(created.number());\n", ""),
    (
        "a new segment's name is not synced",
        WRITER,
        "  }\n  files_.sync_folder(folder_);\n  open(segment);",
        "  }\n  open(segment);",
    ),
    (
        "after a failed write the next one is tried",
        JOURNAL,
        "  if (!failure.empty()) {\n    failure_ =",
        "  if (failure.empty()) {\n    failure_ =",
    ),
    (
        "a failed sync is forgotten",
        JOURNAL,
        "failure = std::strerror(error.code);",
        "if (error.code == ENOSPC) failure = std::strerror(error.code);",
    ),
    (
        "a short write is taken for a whole one",
        "csrc/journal/file_system.cpp",
        "    if (first == left.size()) return;",
        "    return;",
    ),
    (
        "the close mark is written over the last page",
        WRITER,
        "  write_at({&part, 1}, end_);",
        "  write_at({&part, 1}, end_ - kPageBytes);",
    ),
    (
        "the close mark is written before the queue is empty",
        JOURNAL,
        "  wait(submitted_);\n  Lock lock(mutex_);",
        "  Lock lock(mutex_);",
    ),
    # what is made good when it is opened
    (
        "the folder is not synced on opening",
        WRITER,
        "void SegmentWriter::repair(Scanner& scanner) {\n  files_.sync_folder(folder_);\n",
        "void SegmentWriter::repair(Scanner& scanner) {\n",
    ),
    (
        "what may be in memory only is not written again",
        WRITER,
        "      rewrite(scanner.places[scanner.durable_height].page * kPageBytes);",
        "      files_.sync_data(file_.number());",
    ),
    (
        "what was written again is not synced",
        WRITER,
        "    write_at({&part, 1}, offset);\n  }\n  files_.sync_data(file_.number());",
        "    write_at({&part, 1}, offset);\n  }",
    ),
    ("a segment's header is not written again", WRITER, "      rewrite(0);", "      rewrite(kPageBytes);"),
    (
        "a torn tail is left",
        WRITER,
        "      files_.truncate(file_.number(), end_);\n      files_.sync(file_.number());",
        "",
    ),
    (
        "a cut is not synced",
        WRITER,
        "      files_.truncate(file_.number(), end_);\n      files_.sync(file_.number());",
        "      files_.truncate(file_.number(), end_);",
    ),
    ("a segment that was never begun is left", WRITER, "    files_.remove(scanner.tail.headless);\n", ""),
    # what counts as whole
    (
        "padding is not looked at",
        SCAN,
        "return all_zero({buffer + size_bytes, padding}) && hasher.root()",
        "return hasher.root()",
    ),
    ("payloads are not looked at", SCAN, " && hasher.root() == candidate.header.payload_root;", ";"),
    ("a frame's place in the chain is not looked at", SCAN, " || header->previous != chain) break;", ") break;"),
    ("a frame's height is not looked at", SCAN, " || header->height != next", ""),
    ("the check of a header is not looked at", FORMAT, " &&\n         bytes.check == check_of(raw, salt);", ";"),
    ("the zeros of a header are not looked at", FORMAT, "all_zero(bytes.zero) && all_zero(bytes.zero_too) &&", ""),
    (
        "the rest of a segment header's page is not looked at",
        SCAN,
        " || !all_zero({page + kHeaderBytes, sizeof page - kHeaderBytes})",
        "",
    ),
    # torn or corrupt
    (
        "good frames behind a bad one are not looked for",
        SCAN,
        "if (header->durable_height > height()) {",
        "if (false) {",
    ),
    (
        "any frame behind a bad one is corruption",
        SCAN,
        "if (header->durable_height > height()) {",
        "if (offset != tail.end && header->height > height()) {",
    ),
    ("a bad segment before another one is torn", SCAN, "if (!is_last && tail.end != size) {", "if (false) {"),
    (
        "a lost header before frames is torn",
        SCAN,
        "if (!is_last || end_of_last_nonzero_page(files_, file.number(), kPageBytes, size) > kPageBytes) {",
        "if (!is_last) {",
    ),
    ("what is known to exist may be cut", SCAN, "  if (height() >= options.known_height) return;", "  return;"),
    ("a close mark shows nothing", SCAN, "  if (torn_from != tail.end) durable_height = height();\n", ""),
    (
        "bytes behind a close mark are not reported",
        SCAN,
        "tail.torn_bytes = torn_to > torn_from ? torn_to - torn_from : 0;",
        "tail.torn_bytes = torn_from == tail.end ? torn_to - torn_from : 0;",
    ),
    (
        "payloads that may be torn go unchecked",
        SCAN,
        "is_last && !candidates.empty() ? candidates.back().header.durable_height : UINT64_MAX;",
        "UINT64_MAX;",
    ),
    (
        "a reader does not look twice",
        JOURNAL,
        "if (!options_.read_only || scanner_.height() == height_before) throw;",
        "throw;",
    ),
    (
        "an error while reading is a torn tail",
        SCAN,
        "    candidates.push_back({place, *header, chain});",
        "    try { files_.size(file); } catch (const FileError&) { break; }\n    candidates.push_back({place, *header, chain});",
    ),
    # reading
    (
        "a block is given out unchecked",
        JOURNAL,
        " &&\n                     header->payload_root == payload_root(out, place.payload_bytes);",
        ";",
    ),
    # snapshots
    (
        "a snapshot is renamed before it is synced",
        SNAPSHOT,
        "    files_.sync(plain_.number());\n    files_.rename(path_, path);",
        "    files_.rename(path_, path);\n    files_.sync(plain_.number());",
    ),
    ("a snapshot is not synced", SNAPSHOT, "    files_.sync(plain_.number());\n", ""),
    ("a snapshot's name is not synced", SNAPSHOT, "    files_.sync_folder(folder);\n  }", "  }"),
    ("one snapshot is kept", SNAPSHOT, "++kept < kSnapshotsKept)", "++kept < 1)"),
    (
        "a section is not looked at",
        SNAPSHOT,
        "return whole && merkle::root_of_leaf_hashes(hashes.data(), chunks, threads) == entry.root;",
        "return whole;",
    ),
    (
        "a snapshot's height is not looked at",
        SNAPSHOT,
        "if (found.newest->header.height == height) return found;",
        "return found;",
    ),
    # what the system is asked for
    (
        "a data sync is left out",
        SYSTEM,
        "    if (retried([&] { return fdatasync(file); }) < 0) fail(path_of(file));\n",
        "",
    ),
    (
        "a sync is left out",
        SYSTEM,
        "    if (retried([&] { return fsync(file); }) < 0) fail(path_of(file));\n  }\n",
        "  }\n",
    ),
    (
        "a sync is one of data only",
        SYSTEM,
        "    if (retried([&] { return fsync(file); }) < 0) fail(path_of(file));\n  }\n",
        "    sync_data(file);\n  }\n",
    ),
    ("a folder is opened and not synced", SYSTEM, " || retried([&] { return fsync(folder.number()); }) < 0)", ")"),
    (
        "a data sync that failed is not told of",
        SYSTEM,
        "    if (retried([&] { return fdatasync(file); }) < 0) fail(path_of(file));",
        "    retried([&] { return fdatasync(file); });",
    ),
    (
        "a cut that failed is not told of",
        SYSTEM,
        "    if (retried([&] { return ftruncate(file, static_cast<off_t>(size)); }) < 0) fail(path_of(file));",
        "    (void)!retried([&] { return ftruncate(file, static_cast<off_t>(size)); });",
    ),
    (
        "a rename that failed is not told of",
        SYSTEM,
        "    if (::rename(from.c_str(), to.c_str()) != 0) fail(from);",
        "    (void)!::rename(from.c_str(), to.c_str());",
    ),
    (
        "a call that a signal interrupts has failed",
        SYSTEM,
        "    if (result >= 0 || errno != EINTR) return result;",
        "    return result;",
    ),
    (
        "a short read is the end of the file",
        SYSTEM,
        "      done += static_cast<size_t>(got);",
        "      done += static_cast<size_t>(got);\n      break;",
    ),
    (
        "a short write is said to be whole",
        SYSTEM,
        "    return static_cast<size_t>(written);",
        "    return (size_t{1} << 30) - left;",
    ),
    (
        "a write of nothing is tried for ever",
        SYSTEM,
        "    if (written == 0) throw FileError(path_of(file), ENOSPC);  // POSIX leaves open what that means\n",
        "",
    ),
    ("writes go through the system's cache", SYSTEM, "  if (direct) flags |= O_DIRECT;", "  (void)direct;"),
    ("a file that is there already is taken for a new one", SYSTEM, "O_CREAT | O_EXCL", "O_CREAT"),
    (
        "an error while room is made is taken for no room",
        SYSTEM,
        "    if (std::ranges::find(refusals, errno) == std::end(refusals)) fail(path_of(file));\n",
        "",
    ),
]
