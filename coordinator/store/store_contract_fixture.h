// What tests of every store share: one of them, started, with a reader.
#pragma once

#include <memory>
#include <utility>

#include "coordinator/store/store_subjects.h"
#include "coordinator/store/store_test_util.h"
#include "gtest/gtest.h"

namespace haul::coordinator {

class StoreContractTest : public ::testing::TestWithParam<StoreKind> {
 protected:
  void SetUp() override { StartAfresh(); }
  void StartAfresh() {
    reader_.reset();
    subject_ = GetParam().make();
    Recover();
  }

  template <typename... Each>
  void Commit(Each... writes) {
    const absl::Status status = subject_->store().Commit(Writes(std::move(writes)...));
    ASSERT_TRUE(status.ok()) << status;
  }
  template <typename... Each>
  absl::Status TryCommit(Each... writes) {
    return subject_->store().Commit(Writes(std::move(writes)...));
  }

  Recovered Recover() {
    absl::StatusOr<Recovered> recovered = subject_->store().Recover();
    EXPECT_TRUE(recovered.ok()) << recovered.status();
    auto reader = subject_->store().NewReader();
    EXPECT_TRUE(reader.ok()) << reader.status();
    reader_ = *std::move(reader);
    return *std::move(recovered);
  }
  Recovered Restart() {
    reader_.reset();
    subject_->Restart();
    return Recover();
  }

  OutcomePage Read(const OutcomeQuery& query) {
    absl::StatusOr<OutcomePage> page = reader_->ReadOutcomes(query);
    EXPECT_TRUE(page.ok()) << page.status();
    return page.ok() ? *std::move(page) : OutcomePage{};
  }
  PackedBytes Inputs(std::uint64_t set, TaskRange range) {
    absl::StatusOr<PackedBytes> values = reader_->ReadInputs(InputSetId(set), range);
    EXPECT_TRUE(values.ok()) << values.status();
    return values.ok() ? *std::move(values) : PackedBytes{};
  }
  absl::StatusCode InputsError(std::uint64_t set, TaskRange range) {
    return reader_->ReadInputs(InputSetId(set), range).status().code();
  }

  std::unique_ptr<StoreSubject> subject_;
  std::unique_ptr<StoreReader> reader_;
};

}  // namespace haul::coordinator
