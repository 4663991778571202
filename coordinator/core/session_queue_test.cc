#include "coordinator/core/session_queue.h"

#include <gtest/gtest.h>

#include <optional>
#include <random>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace haul::coordinator {
namespace {

class SessionQueueTest : public testing::Test {
 protected:
  void Add(decltype(Effect::what) what, RecordSequence rests_on) {
    queue_.Add({.effect = {std::move(what), rests_on}}, committed_);
  }
  void Assign(std::uint64_t id, RecordSequence rests_on) {
    Add(SendAssignment{.id = AssignmentId(id)}, rests_on);
  }
  void Acknowledge(std::uint64_t through, RecordSequence rests_on) {
    Add(SendDurable{.through = through}, rests_on);
  }
  void AssignLater(std::uint64_t id, RecordSequence rests_on) {
    queue_.Add(
        {.effect = {SendAssignment{.id = AssignmentId(id)}, rests_on}, .inputs_ready = false},
        committed_);
  }
  // What leaves now.
  std::string Leaving() {
    const SessionQueue::Look look = queue_.Take(committed_, now_us_);
    again_at_us_ = look.again_at_us;
    std::vector<std::string> said;
    for (const SessionQueue::Item& item : look.leaving) said.push_back(Words(item));
    return absl::StrJoin(said, ", ");
  }
  void WaitForCompany() { now_us_ += SessionQueue::kCompanyUs; }

  static std::string Words(const SessionQueue::Item& item) {
    if (const auto* send = std::get_if<SendAssignment>(&item.effect.what)) {
      return absl::StrCat("assign ", send->id.value());
    }
    if (const auto* durable = std::get_if<SendDurable>(&item.effect.what)) {
      return absl::StrCat("durable ", durable->through);
    }
    if (std::holds_alternative<SendWelcome>(item.effect.what)) return "welcome";
    if (const auto* revoke = std::get_if<SendRevoke>(&item.effect.what)) {
      return absl::StrCat("revoke ", revoke->id.value());
    }
    return std::holds_alternative<CloseSession>(item.effect.what) ? "close" : "another";
  }

  SessionQueue queue_;
  RecordSequence committed_ = 0;
  std::int64_t now_us_ = 1'000'000;
  std::optional<std::int64_t> again_at_us_;  // what the last look said
};

TEST_F(SessionQueueTest, WhatIsDurableLeavesInTheOrderInWhichItWasDecided) {
  Add(SendWelcome{}, 1);
  Assign(1, 1);
  Add(SendRevoke{.id = AssignmentId(1)}, 0);
  EXPECT_EQ(Leaving(), "");
  EXPECT_EQ(again_at_us_, std::nullopt);  // a commit it is that they wait for
  committed_ = 1;
  EXPECT_EQ(Leaving(), "welcome, assign 1, revoke 1");
  EXPECT_TRUE(queue_.empty());
}

TEST_F(SessionQueueTest, WhatIsNotDurableHoldsUpWhatIsBehindIt) {
  Assign(1, 1);
  Assign(2, 2);
  Add(SendRevoke{.id = AssignmentId(1)}, 1);
  committed_ = 1;
  EXPECT_EQ(Leaving(), "assign 1");
  committed_ = 2;
  EXPECT_EQ(Leaving(), "assign 2, revoke 1");
}

TEST_F(SessionQueueTest, AnAssignmentWaitsForItsInputs) {
  AssignLater(1, 0);
  AssignLater(2, 0);
  Assign(3, 0);
  PackedBytes one;
  one.Append("one");
  PackedBytes two;
  two.Append("two");
  queue_.InputsRead(AssignmentId(2), two);
  EXPECT_EQ(Leaving(), "");
  queue_.InputsRead(AssignmentId(1), one);
  const SessionQueue::Look look = queue_.Take(committed_, now_us_);
  ASSERT_EQ(look.leaving.size(), 3u);
  EXPECT_EQ(look.leaving[0].inputs, one);
  EXPECT_EQ(look.leaving[1].inputs, two);
  EXPECT_EQ(look.leaving[2].inputs.count(), 0u);
}

TEST_F(SessionQueueTest, InputsOfWhatLeavesNoMoreAreDropped) {
  AssignLater(1, 0);
  Add(CloseSession{}, 0);
  queue_.InputsRead(AssignmentId(1), {});
  EXPECT_EQ(Leaving(), "close");
}

TEST_F(SessionQueueTest, NothingThatWaitsLeavesBeforeTheSessionIsClosed) {
  Assign(1, 1);
  Acknowledge(1, 2);
  Add(CloseSession{}, 0);
  EXPECT_EQ(Leaving(), "close");
  EXPECT_TRUE(queue_.empty());
}

// ---- acknowledgements wait for company ----

TEST_F(SessionQueueTest, AnAcknowledgementLeavesWithWhatComesNext) {
  Acknowledge(1, 0);
  EXPECT_EQ(Leaving(), "");
  EXPECT_EQ(again_at_us_, now_us_ + SessionQueue::kCompanyUs);
  now_us_ += 1'000;
  Assign(1, 0);
  EXPECT_EQ(Leaving(), "durable 1, assign 1");
}

TEST_F(SessionQueueTest, AnAcknowledgementThatStaysAloneLeavesInTheEnd) {
  Acknowledge(1, 0);
  Leaving();
  now_us_ += SessionQueue::kCompanyUs - 1;
  EXPECT_EQ(Leaving(), "");
  EXPECT_EQ(again_at_us_, now_us_ + 1);
  now_us_ += 1;
  EXPECT_EQ(Leaving(), "durable 1");
  EXPECT_EQ(again_at_us_, std::nullopt);
}

TEST_F(SessionQueueTest, AcknowledgementsThatKeepComingDoNotPutOffTheFirst) {
  for (std::uint64_t batch = 1; batch <= 5; ++batch) {
    Acknowledge(batch, 0);
    EXPECT_EQ(Leaving(), "");
    now_us_ += 1'000;
  }
  EXPECT_EQ(Leaving(), "durable 5");
}

TEST_F(SessionQueueTest, WhatComesAfterAnAcknowledgementHasLeftWaitsAnew) {
  Acknowledge(1, 0);
  Leaving();
  WaitForCompany();
  EXPECT_EQ(Leaving(), "durable 1");
  Acknowledge(2, 0);
  EXPECT_EQ(Leaving(), "");
  EXPECT_EQ(again_at_us_, now_us_ + SessionQueue::kCompanyUs);
}

TEST_F(SessionQueueTest, AnAcknowledgementThatHasWaitedEnoughLeavesWithItsCommit) {
  Acknowledge(1, 1);
  Leaving();
  WaitForCompany();
  EXPECT_EQ(Leaving(), "");
  EXPECT_EQ(again_at_us_, std::nullopt);  // the commit is what it waits for now
  committed_ = 1;
  EXPECT_EQ(Leaving(), "durable 1");
}

// ---- and become one ----

TEST_F(SessionQueueTest, AcknowledgementsOfOneCommitAreOne) {
  Acknowledge(1, 1);
  Acknowledge(2, 1);
  Add(SendRevoke{.id = AssignmentId(1)}, 0);
  committed_ = 1;
  EXPECT_EQ(Leaving(), "durable 2, revoke 1");
}

// Were the first to wait for the last of those that came since, it would never leave while batches
// come faster than commits.
TEST_F(SessionQueueTest, TheFirstAcknowledgementLeavesWithItsOwnCommitAndThoseBehindItAreOne) {
  Acknowledge(1, 1);
  Acknowledge(2, 2);
  Acknowledge(3, 3);
  Leaving();
  WaitForCompany();
  committed_ = 1;
  EXPECT_EQ(Leaving(), "durable 1");
  WaitForCompany();
  committed_ = 2;
  EXPECT_EQ(Leaving(), "") << "batch 3 is not durable";
  committed_ = 3;
  EXPECT_EQ(Leaving(), "durable 3");
}

TEST_F(SessionQueueTest, AcknowledgementsDoNotMergeAcrossWhatWasDecidedBetweenThem) {
  Acknowledge(1, 0);
  Add(SendRevoke{.id = AssignmentId(1)}, 0);
  Acknowledge(2, 0);
  EXPECT_EQ(Leaving(), "durable 1, revoke 1, durable 2");
}

TEST_F(SessionQueueTest, AnAcknowledgementIsNotTakenBackByALesserOne) {
  Acknowledge(5, 1);
  Acknowledge(3, 1);
  Assign(1, 0);
  committed_ = 1;
  EXPECT_EQ(Leaving(), "assign 1, durable 5");
}

// ---- assignments overtake ----

TEST_F(SessionQueueTest, AnAssignmentDoesNotWaitForTheCommitOfWhatIsAcknowledged) {
  Acknowledge(1, 2);
  Acknowledge(2, 3);
  Assign(1, 1);
  committed_ = 1;
  EXPECT_EQ(Leaving(), "assign 1");
  committed_ = 3;
  WaitForCompany();
  EXPECT_EQ(Leaving(), "durable 1, durable 2");
}

TEST_F(SessionQueueTest, AnAssignmentDoesNotOvertakeWhatIsDurableNoLaterThanItself) {
  Acknowledge(1, 1);
  Assign(1, 2);
  committed_ = 1;
  EXPECT_EQ(Leaving(), "durable 1");
  committed_ = 2;
  EXPECT_EQ(Leaving(), "assign 1");
}

TEST_F(SessionQueueTest, AnAssignmentWhoseInputsAreReadHoldsUpNoAcknowledgementThatIsDurable) {
  committed_ = 1;
  Acknowledge(1, 1);
  AssignLater(1, 0);
  EXPECT_EQ(Leaving(), "durable 1");
}

TEST_F(SessionQueueTest, AnAssignmentOvertakesNothingElse) {
  Add(SendWelcome{}, 1);
  Acknowledge(1, 2);
  Add(SendRevoke{.id = AssignmentId(1)}, 2);
  Assign(2, 0);
  committed_ = 1;
  EXPECT_EQ(Leaving(), "welcome");
  committed_ = 2;
  EXPECT_EQ(Leaving(), "durable 1, revoke 1, assign 2");
}

// ---- whatever comes ----

// Batches, assignments, revokes and commits at any time, as a core gives them: an acknowledgement
// rests on the last record that there is. What is committed grows to the end, and then time passes.
class SessionQueueHistory {
 public:
  explicit SessionQueueHistory(std::uint64_t seed) : random_(seed) {}

  void Run() {
    for (int i = 0; i < 300; ++i) {
      Happen();
      Look();
    }
    committed_ = last_record_;
    Look();
    now_us_ += SessionQueue::kCompanyUs;
    Look();
    EXPECT_TRUE(queue_.empty()) << "something waits for ever";
    EXPECT_EQ(acknowledged_, batch_records_.size());
  }

 private:
  std::uint64_t Below(std::uint64_t end) { return random_() % end; }

  void Happen() {
    now_us_ += static_cast<std::int64_t>(Below(3'000));
    switch (Below(5)) {
      case 0:
      case 1:
        last_record_ += Below(2);
        batch_records_.push_back(last_record_);
        queue_.Add({.effect = {SendDurable{.through = batch_records_.size()}, last_record_}},
                   committed_);
        return;
      case 2:
        queue_.Add({.effect = {SendAssignment{.id = AssignmentId(++last_id_)}, SomeRecord()}},
                   committed_);
        return;
      case 3:
        queue_.Add({.effect = {SendRevoke{.id = AssignmentId(++last_id_)}, SomeRecord()}},
                   committed_);
        return;
      case 4:
        committed_ += Below(last_record_ - committed_ + 1);
        return;
    }
  }
  RecordSequence SomeRecord() { return Below(last_record_ + 1); }

  void Look() {
    const SessionQueue::Look look = queue_.Take(committed_, now_us_);
    for (const SessionQueue::Item& item : look.leaving) {
      EXPECT_LE(item.effect.rests_on, committed_);
      if (const auto* durable = std::get_if<SendDurable>(&item.effect.what)) {
        EXPECT_GT(durable->through, acknowledged_);
        acknowledged_ = durable->through;
        EXPECT_LE(batch_records_[acknowledged_ - 1], committed_) << "more than what is durable";
      } else {
        const auto* send = std::get_if<SendAssignment>(&item.effect.what);
        const AssignmentId id = send ? send->id : std::get<SendRevoke>(item.effect.what).id;
        EXPECT_EQ(id, AssignmentId(++last_left_)) << "out of order";
      }
    }
    if (look.again_at_us) EXPECT_LE(*look.again_at_us, now_us_ + SessionQueue::kCompanyUs);
  }

  std::mt19937_64 random_;
  SessionQueue queue_;
  std::int64_t now_us_ = 0;
  RecordSequence last_record_ = 0;
  RecordSequence committed_ = 0;
  std::vector<RecordSequence> batch_records_;  // by batch, what its acknowledgement rests on
  std::uint64_t acknowledged_ = 0;
  std::uint64_t last_id_ = 0;
  std::uint64_t last_left_ = 0;
};

TEST(SessionQueueHistoryTest, EverythingLeavesInTimeAndInOrderAndSaysOnlyWhatIsDurable) {
  for (std::uint64_t seed = 1; seed <= 200 && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    SessionQueueHistory(seed).Run();
  }
}

}  // namespace
}  // namespace haul::coordinator
