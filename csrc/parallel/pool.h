// Runs independent tasks on a few threads that stay alive between calls.
//
// run() returns when every task has returned; the caller works too. Calls from inside a task, and calls made while
// another thread holds the pool, run on the caller alone: the result never depends on the number of threads.
// Where the system refuses threads or memory for them, run() goes on with those there are: it throws what tasks throw.
#pragma once

#include <cstddef>

namespace pyledger::parallel {

// Number of threads for a request: itself, or for 0 the number of CPUs this process may run on.
unsigned thread_count(unsigned requested) noexcept;

using TaskFunction = void (*)(void* context, size_t task);

// Calls function(context, t) once for each t in [0, tasks). The first exception thrown by a task is thrown again here
// after all tasks have ended.
void run(unsigned threads, size_t tasks, TaskFunction function, void* context);

// The same for any callable f(size_t).
template <class F>
void run(unsigned threads, size_t tasks, F& f) {
  run(threads, tasks, [](void* context, size_t task) { (*static_cast<F*>(context))(task); }, &f);
}

}  // namespace pyledger::parallel
