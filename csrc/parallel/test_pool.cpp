#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <stdexcept>
#include <thread>
#include <vector>

#include "parallel/pool.h"
#include "parallel/failing_new.h"

using pyledger::parallel::run;

static void check_each_task_runs_once(unsigned threads, size_t tasks) {
  std::vector<std::atomic<int>> count(tasks);
  auto task = [&](size_t t) { count[t]++; };
  run(threads, tasks, task);
  for (auto& c : count) CHECK(c == 1);
}

TEST_CASE("each task runs once where no thread can be started") {
  std::vector<std::atomic<int>> count(1000);
  auto task = [&](size_t t) { count[t]++; };
  auto run_without_memory = [&](unsigned threads) {
    pyledger::parallel::allocations_left = 0;
    CHECK_NOTHROW(run(threads, count.size(), task));
    pyledger::parallel::allocations_left = -1;
  };
  run_without_memory(2);
  check_each_task_runs_once(2, 10);  // the pool is there
  run_without_memory(100);           // and gets no more workers
  for (auto& c : count) CHECK(c == 2);
}

TEST_CASE("each task runs once for any thread count") {
  for (unsigned threads : {0u, 1u, 2u, 3u, 7u}) {
    for (size_t tasks : {0u, 1u, 2u, 5u, 1000u}) check_each_task_runs_once(threads, tasks);
  }
}

TEST_CASE("an exception in a task reaches the caller after all tasks ended") {
  std::atomic<int> ended{0};
  auto task = [&](size_t t) {
    ended++;
    if (t == 3) throw std::runtime_error("task 3");
  };
  CHECK_THROWS_AS(run(2, 10, task), std::runtime_error);
  CHECK(ended == 10);
  check_each_task_runs_once(2, 10);
}

TEST_CASE("nested and concurrent calls run each task once") {
  std::atomic<int> count{0};
  auto inner = [&](size_t) { count++; };
  auto outer = [&](size_t) { run(2, 10, inner); };
  std::thread other([&] { run(2, 10, outer); });
  run(2, 10, outer);
  other.join();
  CHECK(count == 200);
}

#if defined(__SANITIZE_THREAD__)
// A child that starts threads is what the next test is about; ThreadSanitizer would end it.
extern "C" __attribute__((visibility("default"))) const char* __tsan_default_options() { return "die_after_fork=0"; }
#endif

TEST_CASE("a forked child can use the pool") {
  check_each_task_runs_once(2, 10);
  const pid_t child = fork();
  if (child == 0) {
    std::atomic<int> count{0};
    auto task = [&](size_t) { count++; };
    run(2, 100, task);
    _exit(count == 100 ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
}
