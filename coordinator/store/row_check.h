// A check over the values of a row, kept in the row. SQLite finds pages that cannot be pages; that
// a number or a byte within one changed on the disk, this finds, when the row is read.
//
// The sums are part of the file format.
#pragma once

#include <cstdint>
#include <string_view>

#include "coordinator/core/records.h"
#include "coordinator/store/store.h"

namespace haul::coordinator {

class RowCheck {
 public:
  RowCheck& Add(std::uint64_t value);
  RowCheck& Add(std::string_view bytes);
  std::uint32_t sum() const { return static_cast<std::uint32_t>(state_ >> 32); }

 private:
  std::uint64_t state_ = 0x9e3779b97f4a7c15;
};

// Two sums in one column: of what a start reads, and of the long rest, which is read later.
struct SplitCheck {
  std::uint32_t head = 0;
  std::uint32_t rest = 0;
  std::int64_t packed() const {
    return static_cast<std::int64_t>(std::uint64_t{rest} << 32 | head);
  }
  static SplitCheck Unpack(std::int64_t packed) {
    const auto bits = static_cast<std::uint64_t>(packed);
    return {static_cast<std::uint32_t>(bits), static_cast<std::uint32_t>(bits >> 32)};
  }
};

std::uint32_t CheckOf(const JobAccepted& record);
std::uint32_t CheckOfTemplate(JobId job, std::string_view job_template);
std::uint32_t CheckOf(const JobCancelRequested& record);
std::uint32_t CheckOf(const JobEnded& record);
std::uint32_t CheckOf(const AttemptsCharged& record);
std::uint32_t CheckOf(const StartsRecorded& record);
std::uint32_t CheckOf(const JobExtended& record);
std::uint32_t CheckOf(const WorkerJoined& record);
// Of what OutcomeRecorded needs.
std::uint32_t CheckOfHead(JobId job, TaskRange tasks, TaskStatus status, Cause cause,
                          WorkerId worker, std::int64_t finished_unix_us);
// Of everything else.
std::uint32_t CheckOfRest(const Outcome& outcome);
std::uint32_t CheckOfInputs(InputSetId set, TaskIndex first, std::uint64_t count,
                            std::uint32_t uniform_size, std::string_view end_offsets,
                            std::string_view data);

}  // namespace haul::coordinator
