// Jobs that tasks submit: they belong to that start of their parent, and end with it.
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/planted_bug.h"
#include "coordinator/core/core.h"

namespace haul::coordinator {

absl::Status Core::CheckParent(const ParentTask& parent) const {
  if (parent.assignment.is_none()) return absl::OkStatus();
  const std::string name =
      absl::StrCat("parent: task ", parent.task, " of job ", parent.job.value());
  if (!state_.ParentGoesOn(parent)) {
    if (state_.adopting()) {
      return absl::UnavailableError(
          absl::StrCat(name, ": the coordinator restarted and waits for the workers it knew"));
    }
    return absl::FailedPreconditionError(absl::StrCat(name, " has ended under assignment ",
                                                      parent.assignment.value(),
                                                      ", or was given to another"));
  }
  const Job& job = *state_.FindJob(parent.job);
  if (job.is_cancelled({parent.task, 1})) {
    return absl::FailedPreconditionError(absl::StrCat(name, " is cancelled"));
  }
  if (job.facts.spec.depth >= options_.max_depth) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, " is at depth ", job.facts.spec.depth,
                     ", and jobs of tasks of jobs may be no deeper than ", options_.max_depth));
  }
  return absl::OkStatus();
}

void Core::On(const BlockedReported& event) {
  const Worker* worker = state_.FindWorker(event.session);
  const Assignment* assignment = state_.FindAssignment(event.assignment);
  if (worker == nullptr || assignment == nullptr || assignment->worker != worker->id) return;
  if (Planted(PlantedBug::kBlockedKeepCpus)) return;
  Note(TasksBlocked{event.assignment, event.count});
}

void Core::Reduce(AssignmentId id, const IntervalSet& tasks) {
  auto child = state_.children().lower_bound(Child{.assignment = id, .job = {}});
  for (; child != state_.children().end() && child->assignment == id; ++child) {
    if (tasks.Contains(child->task)) orphans_.push_back(child->job);
  }
  Note(AssignmentReduced{id, tasks});
}

// After a restart: the starts that nobody came back with.
void Core::FindOrphans() {
  for (const Child& child : state_.children()) {
    if (!state_.ParentGoesOn(state_.FindJob(child.job)->facts.spec.parent)) {
      orphans_.push_back(child.job);
    }
  }
}

// Once a step counts on nothing that it knows of them any more.
void Core::EndOrphans() {
  if (Planted(PlantedBug::kChildrenOutliveParent)) orphans_.clear();
  for (const JobId id : std::exchange(orphans_, {})) {
    const Job& job = *state_.FindJob(id);
    const ParentTask& parent = job.facts.spec.parent;
    Cancel(
        job, {},
        absl::StrCat("the end of its parent, task ", parent.task, " of job ", parent.job.value()));
  }
}

}  // namespace haul::coordinator
