// journal_bit_flips [bytes] [threads]: flips each bit of a journal of so many bytes (1 MiB by default), once closed and
// once as a crash leaves it. Ends with 1 if a flip had a result that it must not have.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include "journal/bit_flips.h"

int main(int count, char** arguments) {
  using namespace pyledger::journal;
  const uint64_t bytes = count > 1 ? std::strtoull(arguments[1], nullptr, 10) : uint64_t{1} << 20;
  const unsigned threads = count > 2 ? static_cast<unsigned>(std::atoi(arguments[2])) : 2;
  uint64_t wrong = 0;
  for (const bool closed : {true, false}) {
    const auto start = std::chrono::steady_clock::now();
    std::vector<FlipReport> reports(threads);
    std::vector<std::thread> workers;
    for (unsigned t = 0; t < threads; t++) {
      workers.emplace_back([&, t] { reports[t] = flip_bits(bytes, closed, t, threads); });
    }
    for (std::thread& worker : workers) worker.join();
    FlipReport sum;
    for (const FlipReport& report : reports) {
      sum.flips += report.flips;
      sum.refused += report.refused;
      sum.cut += report.cut;
      sum.reported += report.reported;
      sum.wrong += report.wrong;
      if (sum.first.empty()) sum.first = report.first;
    }
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    std::printf(
        "%s: %llu flips in %.1f s: %llu refused, %llu cut in the last group, %llu reported behind the last block, "
        "%llu wrong%s%s\n",
        closed ? "closed" : "left by a crash", static_cast<unsigned long long>(sum.flips), seconds.count(),
        static_cast<unsigned long long>(sum.refused), static_cast<unsigned long long>(sum.cut),
        static_cast<unsigned long long>(sum.reported), static_cast<unsigned long long>(sum.wrong),
        sum.first.empty() ? "" : ": ", sum.first.c_str());
    std::fflush(stdout);
    wrong += sum.wrong;
  }
  return wrong == 0 ? 0 : 1;
}
