#include "parallel/pool.h"

#include <unistd.h>
#if defined(__linux__)
#include <sched.h>
#endif

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <new>
#include <thread>

namespace pyledger::parallel {
namespace {

constexpr unsigned kThreadsMax = 256;
thread_local bool inside_task = false;

struct Job {
  TaskFunction function;
  void* context;
  size_t tasks;
  unsigned helpers_wanted;
  std::atomic<size_t> next{0};
  std::mutex error_mutex{};
  std::exception_ptr error{};

  void work() noexcept {
    inside_task = true;
    for (size_t task; (task = next.fetch_add(1, std::memory_order_relaxed)) < tasks;) {
      try {
        function(context, task);
      } catch (...) {
        const std::lock_guard<std::mutex> lock(error_mutex);
        if (!error) error = std::current_exception();
      }
    }
    inside_task = false;
  }
};

class Pool {
 public:
  // False if another thread is using the pool.
  bool try_run(Job& job) {
    std::unique_lock<std::mutex> turn(turn_, std::try_to_lock);
    if (!turn.owns_lock()) return false;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      start_workers(job.helpers_wanted);
      job_ = &job;
      generation_++;
    }
    wake_.notify_all();
    job.work();
    std::unique_lock<std::mutex> lock(mutex_);
    job_ = nullptr;  // a worker that wakes from now on finds nothing to do
    done_.wait(lock, [this] { return busy_ == 0; });
    return true;
  }

 private:
  // A system that gives no more threads is no reason to fail: those that run do all the work, the caller at least.
  void start_workers(unsigned wanted) noexcept {
    try {
      for (; workers_ < wanted; workers_++) std::thread([this] { serve(); }).detach();
    } catch (const std::exception&) {  // std::system_error, std::bad_alloc
    }
  }

  void serve() {
    std::unique_lock<std::mutex> lock(mutex_);
    for (uint64_t seen = 0;;) {
      wake_.wait(lock, [&] { return generation_ != seen; });
      seen = generation_;
      Job* job = job_;
      if (job == nullptr || job->helpers_wanted == 0) continue;
      job->helpers_wanted--;
      busy_++;
      lock.unlock();
      job->work();
      lock.lock();
      if (--busy_ == 0) done_.notify_one();
    }
  }

  std::mutex turn_;  // held by the caller whose job runs
  std::mutex mutex_;
  std::condition_variable wake_, done_;
  Job* job_ = nullptr;
  uint64_t generation_ = 0;
  unsigned workers_ = 0;
  unsigned busy_ = 0;
};

// A forked child has none of its parent's threads, so it gets a pool of its own. Pools are never destroyed: their
// detached threads may sleep in them until the process ends. Null if there is no memory for one.
Pool* this_process_pool() noexcept {
  static std::mutex mutex;
  static Pool* pool = nullptr;
  static pid_t owner = 0;
  const std::lock_guard<std::mutex> lock(mutex);
  if (owner != getpid()) {
    pool = new (std::nothrow) Pool;
    owner = pool == nullptr ? 0 : getpid();
  }
  return pool;
}

}  // namespace

unsigned thread_count(unsigned requested) noexcept {
  if (requested != 0) return std::min(requested, kThreadsMax);
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) {
    return std::clamp(static_cast<unsigned>(CPU_COUNT(&set)), 1u, kThreadsMax);
  }
#endif
  return std::clamp(std::thread::hardware_concurrency(), 1u, kThreadsMax);
}

void run(unsigned threads, size_t tasks, TaskFunction function, void* context) {
  const size_t workers = std::min<size_t>(thread_count(threads), tasks);
  if (workers > 1 && !inside_task) {
    Job job{function, context, tasks, static_cast<unsigned>(workers - 1)};
    if (Pool* pool = this_process_pool(); pool != nullptr && pool->try_run(job)) {
      if (job.error) std::rethrow_exception(job.error);
      return;
    }
  }
  for (size_t task = 0; task < tasks; task++) function(context, task);
}

}  // namespace pyledger::parallel
