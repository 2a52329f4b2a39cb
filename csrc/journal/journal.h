// The journal of one ledger: blocks by height from 1, in segment files, durable before they are acknowledged.
//
// Blocks are submitted in order and written in groups: whatever waits is written behind each other and synced once,
// by a thread that starts with the first submit, or by whoever waits while it is idle. After the first failed call the
// journal takes nothing more: what the system kept of a failed sync is unknown, only reading the disk anew can tell.
// All methods may be called from any thread.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "journal/file_system.h"
#include "journal/scan.h"
#include "journal/writer.h"

namespace pyledger::journal {

// The call does not fit the state of the journal: a height out of order, a write to a reader.
struct StateFailure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct JournalOptions {
  bool read_only = false;
  uint64_t segment_bytes = uint64_t{256} << 20;
  uint64_t queue_bytes = uint64_t{64} << 20;  // submit waits while more is queued
  bool background = true;                     // write in a thread of its own
  ScanOptions scan;
};

class Journal {
 public:
  // Reads what is there and, unless read-only, cuts a torn tail and makes the rest durable. Throws StorageFailure,
  // FileError.
  Journal(FileSystem& files, const std::string& folder, const Digest& genesis_hash, const JournalOptions& options);
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  // Takes the next block, given in parts, and copies it.
  void submit(uint64_t height, std::span<const Part> parts);
  // The same, and returns when the block is durable. Starts no thread.
  void append(uint64_t height, std::span<const Part> parts);
  // Returns when the block is durable.
  void wait(uint64_t height);

  // Of the last block that can be read: for a writer the last durable one.
  uint64_t height() const;
  uint64_t durable_height() const;
  uint64_t submitted_height() const;
  uint64_t size_bytes() const;  // of all frames
  uint64_t torn_bytes() const;
  uint64_t cut_bytes() const noexcept { return cut_bytes_; }  // torn when it was opened, cut since
  bool direct() const;

  uint64_t payload_bytes(uint64_t height) const;
  // File of a block and the offset of its payload in it; both stay.
  std::pair<std::string, uint64_t> payload_place(uint64_t height) const;
  // Writes payload_bytes(height) bytes. Throws Corruption if they are not what was appended.
  void read(uint64_t height, uint8_t* out) const;

  // For a reader: looks for blocks that were added, and returns the height.
  uint64_t refresh();

  // Writes what was submitted, marks the end and lets the lock go. Throws StorageFailure if a submitted block could
  // not be made durable and nobody was told. Closing twice is harmless.
  void close();

 private:
  using Lock = std::unique_lock<std::mutex>;

  void scan();
  void enqueue(uint64_t height, std::span<const Part> parts, bool background);
  void require_writable();
  Place place_of(uint64_t height, Segment& segment) const;
  AlignedBuffer take_buffer(uint64_t size_bytes);
  Frame gather(uint64_t height, std::span<const Part> parts, uint64_t payload_bytes);
  void wait_for_room(Lock& lock, uint64_t size_bytes);
  void commit(Lock& lock);
  void write_group(std::vector<Frame>& group);
  void publish(std::span<Frame> frames, const std::vector<Place>& places);
  void serve();
  void finish();
  void release();

  FileSystem& files_;
  const std::string folder_;
  const JournalOptions options_;
  File lock_file_;

  std::mutex submitting_;  // one submitter at a time: blocks are copied in the order of their heights
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  Scanner scanner_;
  std::unique_ptr<SegmentWriter> writer_;  // used by whoever set writing_
  std::vector<Frame> queue_;
  std::vector<AlignedBuffer> spare_;
  uint64_t queued_bytes_ = 0;  // submitted and not durable
  uint64_t submitted_ = 0;
  uint64_t cut_bytes_ = 0;
  bool writing_ = false;
  bool stopping_ = false;
  bool closed_ = false;
  std::string failure_;
  bool failure_told_ = false;  // somebody was told of it
  std::thread thread_;
};

}  // namespace pyledger::journal
