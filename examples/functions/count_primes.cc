// Counts primes with a segmented sieve of Eratosthenes over odd numbers.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include "examples.h"

namespace examples {
namespace {

constexpr std::uint64_t kLimit = 100'000'000'000'000;
// One byte an odd number; a segment fits into a core's second-level cache.
constexpr std::uint64_t kSegmentOdds = 128u << 10;

std::vector<std::uint32_t> OddPrimesTo(std::uint64_t limit) {
  std::vector<bool> composite(limit + 1, false);
  std::vector<std::uint32_t> primes;
  for (std::uint64_t n = 3; n <= limit; n += 2) {
    if (composite[n]) continue;
    primes.push_back(static_cast<std::uint32_t>(n));
    for (std::uint64_t multiple = n * n; multiple <= limit; multiple += 2 * n)
      composite[multiple] = true;
  }
  return primes;
}

// The primes among `odds` odd numbers from `first` on.
std::uint64_t CountSegment(std::uint64_t first, std::uint64_t odds,
                           const std::vector<std::uint32_t>& primes,
                           std::vector<std::uint8_t>& is_prime) {
  is_prime.assign(odds, 1);
  const std::uint64_t end = first + 2 * odds;
  for (const std::uint64_t prime : primes) {
    if (prime * prime >= end) break;
    // The first odd multiple within, from prime^2 on: smaller ones have smaller factors.
    std::uint64_t multiple = std::max(prime * prime, (first + prime - 1) / prime * prime);
    if (multiple % 2 == 0) multiple += prime;
    for (std::uint64_t i = (multiple - first) / 2; i < odds; i += prime) is_prime[i] = 0;
  }
  return static_cast<std::uint64_t>(std::count(is_prime.begin(), is_prime.end(), std::uint8_t{1}));
}

HAUL_SERVE(kCountPrimes, [](haul::Context& context, std::uint64_t low, std::uint64_t high) {
  if (low > high) throw std::invalid_argument("the range ends before it begins");
  if (high > kLimit) throw std::invalid_argument("the range goes beyond 10^14");
  std::uint64_t count = low <= 2 && high > 2 ? 1 : 0;
  std::uint64_t first = std::max<std::uint64_t>(low, 3) | 1;
  const std::vector<std::uint32_t> primes =
      OddPrimesTo(static_cast<std::uint64_t>(std::sqrt(static_cast<double>(high))) + 1);
  std::vector<std::uint8_t> is_prime;
  while (first < high) {
    if (context.stop_requested()) throw std::runtime_error("stopped while it counted");
    const std::uint64_t odds = std::min(kSegmentOdds, (high - first + 1) / 2);
    count += CountSegment(first, odds, primes, is_prime);
    first += 2 * odds;
  }
  return count;
});

}  // namespace
}  // namespace examples
