#include "coordinator/rpc/selector.h"

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace haul::coordinator {

absl::StatusOr<const Job*> FindJob(const State& state, const v1::JobSelector& selector) {
  switch (selector.by_case()) {
    case v1::JobSelector::kJobId:
      if (const Job* job = state.FindJob(JobId(selector.job_id()))) return job;
      return absl::NotFoundError(absl::StrCat("job: there is no job ", selector.job_id()));
    case v1::JobSelector::kName: {
      if (selector.name().empty()) break;  // else it were the newest job without a name
      const Job* newest = nullptr;
      for (const auto& [id, job] : state.jobs()) {
        if (job.facts.spec.name != selector.name()) continue;
        if (newest == nullptr || job.facts.accepted_unix_us >= newest->facts.accepted_unix_us) {
          newest = &job;
        }
      }
      if (newest != nullptr) return newest;
      return absl::NotFoundError(
          absl::StrCat("job: there is no job named '", absl::CEscape(selector.name()), "'"));
    }
    case v1::JobSelector::kLast:
      if (!selector.last()) break;
      if (const Job* job = state.NewestJob()) return job;
      return absl::NotFoundError("job: there is no job yet");
    case v1::JobSelector::BY_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError("job: empty, name a job by its id, its name, or 'last'");
}

absl::StatusOr<const Worker*> FindWorker(const State& state, const std::string& name_or_id) {
  for (const auto& [id, worker] : state.workers()) {
    if (worker.facts.name == name_or_id) return &worker;
  }
  std::uint64_t id = 0;
  if (absl::SimpleAtoi(name_or_id, &id)) {
    if (const Worker* worker = state.FindWorker(WorkerId(id))) return worker;
  }
  return absl::NotFoundError(
      absl::StrCat("worker: there is no worker '", absl::CEscape(name_or_id), "'"));
}

}  // namespace haul::coordinator
