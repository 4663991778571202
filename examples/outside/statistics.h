// The function, as both sides see it. Its types are plain C++; nothing else is written for them.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "haul/containers.h"
#include "haul/function.h"

struct Series {
  std::string name;
  std::vector<double> values;
};

struct Summary {
  std::uint64_t count = 0;
  double mean = 0;
  double least = 0;
  double greatest = 0;
};

// By the names of the series.
using Summaries = std::map<std::string, Summary>;

inline constexpr haul::Function<Summaries(std::vector<Series>)> kSummarise{"summarise.v1"};
