// journal_crash_states [states] [seed] [call ...]: explores until so many different states were opened and compared
// (1,000,000 by default), with faults at random and, now and then, at each call. Ends with 1 if one of them lost or
// invented anything. The calls named (sync_data, sync, sync_folder, truncate) do nothing: that must be found.
#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "journal/crash_states.h"

int main(int count, char** arguments) {
  using namespace pyledger::journal;
  const uint64_t states = count > 1 ? std::strtoull(arguments[1], nullptr, 10) : 1'000'000;
  CrashOptions options;
  if (count > 2) options.seed = std::strtoull(arguments[2], nullptr, 10);
  for (int i = 3; i < count; i++) options.lies.insert(arguments[i]);
  CrashExplorer explorer(options);
  const auto start = std::chrono::steady_clock::now();
  for (unsigned round = 0; explorer.report().states < states; round++) {
    if (round % 200 == 0) {
      explorer.explore_faults_at_each_call();
    } else {
      explorer.explore_random();
    }
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  const CrashReport& report = explorer.report();
  std::printf(
      "%llu states in %.1f s (%llu drawn again), %llu cut what was not acknowledged; %llu writers, %llu ended by a "
      "fault\n",
      static_cast<unsigned long long>(report.states), seconds.count(), static_cast<unsigned long long>(report.repeated),
      static_cast<unsigned long long>(report.cut), static_cast<unsigned long long>(report.writers),
      static_cast<unsigned long long>(report.faults));
  std::printf("lost %llu, invented %llu, refused %llu%s%s\n", static_cast<unsigned long long>(report.lost),
              static_cast<unsigned long long>(report.invented), static_cast<unsigned long long>(report.refused),
              report.first.empty() ? "" : ": ", report.first.c_str());
  for (const auto& [name, count] : report.struck) {
    std::printf("%s %llu\n", name.c_str(), static_cast<unsigned long long>(count));
  }
  return report.violations() == 0 ? 0 : 1;
}
