// What may have taken a worker down: found by running suspects alone.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "coordinator/core/core.h"

namespace haul::coordinator {
namespace {

// Of a worker that died: how many tasks of a lane may have been running.
constexpr std::uint64_t kSuspectsPerSlot = 16;
constexpr std::uint64_t kMoreSuspects = 64;

}  // namespace

std::vector<Core::Suspect> Core::SuspectsAt(const Worker& worker) const {
  std::vector<Suspect> suspects;
  for (const auto& [key, lane] : worker.lanes) {
    // Its first tasks run, but what it says of those that ended is on the way for some
    // milliseconds: of short tasks a few more have started than are known here.
    std::uint64_t left = kSuspectsPerSlot * lane.running_width() + kMoreSuspects;
    for (const AssignmentId id : lane.assignments) {
      for (const TaskRange& range : state_.FindAssignment(id)->tasks.ranges()) {
        const std::uint64_t count = std::min(left, range.count);
        left -= count;
        for (std::uint64_t i = 0; i < count; ++i)
          suspects.push_back({id, key.job, range.first + i});
      }
    }
  }
  return suspects;
}

// Nobody is charged but who was alone there; all run alone from now on, until they end.
void Core::Suspected(const std::vector<Suspect>& suspects, bool ran_alone,
                     const std::string& reason) {
  for (const Suspect& suspect : suspects) {
    const Job& job = *state_.FindJob(suspect.job);
    if (job.is_cancelled({suspect.task, 1}) || job.facts.spec.at_most_once) continue;
    Charge charge = job.ChargeOf(suspect.task);
    if (ran_alone) ++charge.crashes;
    if (!job.suspected) Note(JobSuspected{job.id});
    if (charge.crashes >= options_.max_crashes) {
      RecordOutcome(job, {.job = job.id,
                          .tasks = {suspect.task, 1},
                          .status = TaskStatus::kFailed,
                          .cause = Cause::kWorkerLost,
                          .message = absl::StrCat("it ran alone on workers that died: ",
                                                  charge.crashes, " times; the last ", reason),
                          .unix_us = now_.unix_us});
    } else if (ran_alone || !charge.run_alone) {
      charge.run_alone = true;
      RecordCharge(suspect.assignment, job, suspect.task, charge);
    }
  }
}

}  // namespace haul::coordinator
