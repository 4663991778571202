// The fixture of the chaos tests: a cluster for each test, and at its end nothing is left of it.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <iostream>
#include <memory>
#include <string>
#include <utility>

#include "tests/chaos/cluster.h"

namespace haul::chaos {

inline constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;

class ChaosTest : public testing::Test {
 protected:
  // A coordinator that serves. Once in a test.
  Cluster& StartCluster(ClusterOptions options = {}) {
    cluster_ = std::make_unique<Cluster>(std::move(options));
    cluster_->StartCoordinator();
    return *cluster_;
  }

  void TearDown() override {
    if (cluster_ == nullptr) return;
    for (const std::string& problem : cluster_->End()) ADD_FAILURE() << problem;
    if (HasFailure()) std::cerr << cluster_->Logs();
    cluster_.reset();
  }

  // Figures are told, not judged: how fast the machine is is not the test's business.
  static void Tell(const std::string& what, std::chrono::milliseconds figure) {
    std::cout << "[   FIGURE ] " << what << ": " << figure.count() << " ms" << std::endl;
  }

 private:
  std::unique_ptr<Cluster> cluster_;
};

}  // namespace haul::chaos
