// What volatile jobs may fill. Jobs and inputs that do not fit are refused. What tasks bring cannot
// be: a result without room is lost, and its task has failed; when the outcomes alone have filled
// as much again, the job that brings more is cancelled, and what it then brings is what workers
// hold of it. So the memory store need refuse nothing that the core has decided.
#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/utf8.h"
#include "coordinator/loop/loop.h"

namespace haul::coordinator {
namespace {

// What an outcome of one task costs in memory without results, for jobs whose outcomes come one by
// one.
constexpr std::size_t kOutcomeBytes = 400;
// With less than this left, no job is worth beginning.
constexpr std::size_t kLeastRoomBytes = 16 << 10;
constexpr std::size_t kMessageBytes = 256;

// Leaves of an outcome what needs no room. A success without its result is none; every other end
// stays what it is, or a suspect would not run again, and a cancelled task would have failed.
void Strip(OutcomeHeader& header, Outcome& outcome) {
  const bool has_output = outcome.results.byte_count() > 0 || !outcome.error_output.empty();
  if (has_output && header.status == TaskStatus::kSucceeded) {
    header.status = TaskStatus::kFailed;
    header.cause = Cause::kOutputLimit;
    outcome.message = "the memory for results of volatile jobs is full";
  }
  outcome.results = {};
  outcome.error_output.clear();
  outcome.message = std::string(CutUtf8(outcome.message, kMessageBytes));
}

}  // namespace

std::size_t Loop::VolatileRoom() const {
  const std::size_t used = VolatileBytesUsed();
  return used < options_.volatile_bytes ? options_.volatile_bytes - used : 0;
}

absl::Status Loop::NoRoomFor(const std::string& what) const {
  return absl::ResourceExhaustedError(absl::StrCat(
      "volatile: no room for ", what, ": jobs in memory fill ", VolatileBytesUsed(), " of ",
      options_.volatile_bytes,
      " bytes; forget those that have ended (haul job forget), or submit without --volatile"));
}

absl::Status Loop::CheckRoom(const JobSpec& spec, std::size_t template_bytes) const {
  if (!spec.is_volatile) return absl::OkStatus();
  const std::size_t room = VolatileRoom();
  if (room < template_bytes + kLeastRoomBytes) {
    return NoRoomFor(absl::StrCat("a job of ", template_bytes, " bytes"));
  }
  const std::uint64_t most_outcomes = (room - template_bytes) / kOutcomeBytes;
  if (spec.kind != WorkKind::kCommand || spec.task_count <= most_outcomes) return absl::OkStatus();
  return NoRoomFor(absl::StrCat("the outcomes of ", spec.task_count, " tasks"));
}

absl::Status Loop::CheckRoom(JobId open, const PackedBytes& inputs) const {
  const Job* job = core_->state().FindJob(open);
  if (job == nullptr || !job->facts.spec.is_volatile || inputs.count() == 0) {
    return absl::OkStatus();
  }
  return CheckInputRoom(inputs);
}

absl::Status Loop::CheckInputRoom(const PackedBytes& inputs) const {
  const std::size_t bytes =
      sizeof(Write) + inputs.byte_count() + inputs.end_offsets().size() * sizeof(std::uint32_t);
  if (bytes <= VolatileRoom()) return absl::OkStatus();
  return NoRoomFor(absl::StrCat(bytes, " bytes of inputs"));
}

void Loop::KeepWithinRoom(TasksFinished& event, Payload& payload) {
  const Job* job = core_->state().FindJob(event.job);
  const Assignment* assignment = core_->state().FindAssignment(event.assignment);
  if (job == nullptr || !job->facts.spec.is_volatile) return;
  if (assignment == nullptr || assignment->job != event.job) return;  // it will change nothing
  if (VolatileBytesUsed() / 2 >= options_.volatile_bytes && !job->facts.cancel) {
    Handle(JobCancelAsked{.request = NewRequest([](const Answer&) {}),
                          .job = event.job,
                          .by = absl::StrCat("the coordinator: volatile jobs fill twice the ",
                                             options_.volatile_bytes, " bytes that they may"),
                          .tasks = {}});
  }
  std::size_t room = VolatileRoom();
  for (std::size_t i = 0; i < payload.outcomes.size(); ++i) {
    Outcome& outcome = payload.outcomes[i];
    if (ByteCount(outcome) > room) Strip(event.outcomes[i], outcome);
    room -= std::min(room, ByteCount(outcome));
  }
}

}  // namespace haul::coordinator
