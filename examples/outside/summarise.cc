// Calls kSummarise on the cluster that the environment names, once as it should be and once not.
#include <exception>
#include <iostream>
#include <memory>

#include "haul/executor.h"
#include "statistics.h"

int main() {
  auto client = haul::Client::Connect();
  if (!client.ok()) {
    std::cerr << client.status().message() << "\n";
    return 1;
  }
  try {
    haul::Executor executor(**client);
    auto summaries = executor.Submit(kSummarise, {{"low", {1, 2, 3}}, {"high", {10, 30}}});
    auto none = executor.Submit(kSummarise, {{"empty", {}}});
    for (const auto& [name, summary] : summaries.Get()) {
      std::cout << name << ": " << summary.count << " values from " << summary.least << " to "
                << summary.greatest << ", mean " << summary.mean << "\n";
    }
    none.Get();
  } catch (const haul::FunctionError& error) {
    std::cout << "refused: " << error.what() << "\n";
    return 0;
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
  }
  return 1;
}
