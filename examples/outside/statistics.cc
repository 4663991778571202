// libstatistics.so: haul up --functions libstatistics.so
#include "statistics.h"

#include <algorithm>
#include <numeric>
#include <stdexcept>

namespace {

Summary Summarise(const Series& series) {
  const std::vector<double>& values = series.values;
  if (values.empty()) throw std::invalid_argument(series.name + " has no values");
  const auto [least, greatest] = std::minmax_element(values.begin(), values.end());
  const double sum = std::accumulate(values.begin(), values.end(), 0.0);
  return {.count = values.size(),
          .mean = sum / static_cast<double>(values.size()),
          .least = *least,
          .greatest = *greatest};
}

HAUL_SERVE(kSummarise, [](haul::Context&, const std::vector<Series>& all) {
  Summaries summaries;
  for (const Series& series : all) summaries[series.name] = Summarise(series);
  return summaries;
});

}  // namespace
