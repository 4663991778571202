// Open jobs: they get more tasks until whoever extends them closes them, or is gone.
#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/planted_bug.h"
#include "coordinator/core/core.h"

namespace haul::coordinator {

absl::Status Core::CheckExtend(const JobExtendAsked& event) const {
  const Job* job = state_.FindJob(event.job);
  const std::string name = absl::StrCat("job ", event.job.value());
  if (job == nullptr) return absl::NotFoundError(name);
  if (job->facts.cancel) return absl::FailedPreconditionError(absl::StrCat(name, " is cancelled"));
  if (!job->facts.open) {
    return absl::FailedPreconditionError(absl::StrCat(name, " takes no more tasks"));
  }
  const std::uint64_t task_count = job->facts.spec.task_count;
  if (event.first != task_count && !Planted(PlantedBug::kRepeatedExtendAdds)) {
    return absl::OutOfRangeError(absl::StrCat("first: ", event.first, ", must be ", task_count,
                                              ", as many tasks as ", name, " has"));
  }
  if (event.count > options_.max_tasks_per_job - task_count) {
    return absl::InvalidArgumentError(absl::StrCat("count: ", event.count, " more than ",
                                                   task_count, " tasks are over the limit of ",
                                                   options_.max_tasks_per_job));
  }
  return absl::OkStatus();
}

void Core::On(const JobExtendAsked& event) {
  const Job* job = state_.FindJob(event.job);
  // What is said again changes nothing.
  const bool has_them = job != nullptr && event.count <= job->facts.spec.task_count &&
                        event.first <= job->facts.spec.task_count - event.count &&
                        (event.count == 0 || !Planted(PlantedBug::kRepeatedExtendAdds));
  if (!has_them) {
    if (const absl::Status status = CheckExtend(event); !status.ok()) {
      return Do(AnswerError{event.request, status});
    }
  }
  if (job->facts.open) Note(JobKeptOpen{event.job, lease_clock_us()});
  if (!has_them) {
    Extend(*job, event.count, event.input_bytes, event.close);
  } else if (event.close && job->facts.open) {
    Extend(*job, 0, 0, true);
  }
  const bool open = job->facts.open && !job->facts.cancel;
  Do(AnswerExtend{event.request, event.job, job->facts.spec.task_count, open},
     Planted(PlantedBug::kExtendAnsweredBeforeCommit) ? 0 : last_sequence_);
}

void Core::Extend(const Job& job, std::uint64_t count, std::uint64_t input_bytes, bool close) {
  if (!job.has_ready()) CatchUp(job.id);
  const RecordSequence sequence =
      Record(JobExtended{job.id, count, input_bytes, close}, job.facts.spec.is_volatile);
  if (sequence > 0) Note(JobRestsOn{job.id, sequence});
  Settle(job.id);
}

// Nobody will ever close them; what they have is done all the same. Those that tasks submitted end
// with their parents, whose workers have their lease to come back.
void Core::CloseAbandonedJobs(bool stood_still) {
  const std::int64_t silence_us = std::max(options_.open_job_lease_ms, options_.lease_ms) * 1000;
  std::vector<JobId> abandoned;
  for (const JobId id : state_.open_jobs()) {
    const Job& job = *state_.FindJob(id);
    if (!job.facts.spec.parent.assignment.is_none()) continue;
    if (stood_still) {
      Note(JobKeptOpen{id, lease_clock_us()});
    } else if (lease_clock_us() - job.kept_open_us > silence_us) {
      abandoned.push_back(id);
    }
  }
  for (const JobId id : abandoned) Extend(*state_.FindJob(id), 0, 0, true);
}

}  // namespace haul::coordinator
