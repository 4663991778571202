#include "tests/sim/clients.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace haul::sim {

using coordinator::JobSpec;

JobTraits Clients::NewTraits(std::size_t number) {
  JobTraits traits;
  JobSpec& spec = traits.spec;
  spec.name = absl::StrCat(number);
  spec.request_id = absl::StrCat("request-", number);
  if (timeline_.Chance(50)) {
    spec.kind = coordinator::WorkKind::kFunction;
    spec.function = "f";
    spec.signature = "u()";
  }
  struct Length {
    std::uint64_t tasks;
    std::int64_t us;
  };
  constexpr Length kLengths[] = {{400, 500}, {80, 10'000}, {40, 100'000}, {12, 500'000}};
  const Length length = kLengths[timeline_.Below(4)];
  spec.task_count = 1 + timeline_.Below(length.tasks);
  traits.min_us = length.us;
  traits.max_us = length.us * (1 + static_cast<std::int64_t>(timeline_.Below(10)));
  spec.priority = static_cast<std::int32_t>(timeline_.Below(3));
  constexpr std::uint32_t kCpus[] = {1000, 1000, 1000, 250, 333, 1500, 2000, 4000};
  spec.cpus_milli = kCpus[timeline_.Below(8)];
  if (timeline_.Chance(30)) spec.max_running = 1 + static_cast<std::uint32_t>(timeline_.Below(3));
  if (timeline_.Chance(40)) spec.max_attempts = 2 + static_cast<std::uint32_t>(timeline_.Below(3));
  if (timeline_.Chance(20)) {
    spec.at_most_once = true;
    spec.max_attempts = 1;
  }
  spec.is_volatile = timeline_.Chance(15);
  if (timeline_.Chance(20)) {
    spec.is_open = true;
    traits.final_count = spec.task_count;
    spec.task_count = timeline_.Chance(50) ? 0 : timeline_.Below(traits.final_count);
    traits.is_abandoned = timeline_.Chance(10);
  }
  traits.fail_percent = timeline_.Chance(30) ? timeline_.Below(60) : 0;
  traits.large_percent = timeline_.Chance(20) ? timeline_.Below(50) : 0;
  if (timeline_.Chance(15)) traits.timeout_us = traits.min_us + (traits.max_us - traits.min_us) / 2;
  if (traits.is_function() && timeline_.Chance(30)) traits.crash_percent = timeline_.Below(30);
  if (traits.is_function() && timeline_.Chance(25)) {
    traits.own_process = true;
    if (timeline_.Chance(50))
      traits.tasks_per_process = 1 + static_cast<std::uint32_t>(timeline_.Below(5));
  }
  if (traits.is_function() && traits.timeout_us == 0 && timeline_.Chance(25)) {
    traits.call_percent = 1 + timeline_.Below(10);
  }
  // "w0" could run anything.
  if (!traits.is_function() && timeline_.Chance(20)) traits.not_at = "w1";
  return traits;
}

void Clients::Add(std::int64_t within_us) {
  const std::size_t number = submissions_.size();
  Submission submission{.traits = NewTraits(number), .job = {}};
  submission.cancel = timeline_.Chance(15);
  submission.forget = timeline_.Chance(15);
  if (timeline_.Chance(15)) {
    submission.unwanted = {timeline_.Below(20), 1 + timeline_.Below(20)};
  }
  submissions_.push_back(std::move(submission));
  timeline_.After(timeline_.Between(0, within_us), [this, number] { TrySubmit(number); });
}

void Clients::AddChild(const coordinator::ParentTask& parent, std::function<void()> answered) {
  const JobTraits& of_parent = *TraitsOf(parent.job);
  const std::size_t number = submissions_.size();
  Submission submission{.traits = of_parent, .job = {}};
  JobTraits& traits = submission.traits;
  JobSpec& spec = traits.spec;
  spec.name = absl::StrCat(number);
  spec.request_id = absl::StrCat("request-", number);
  spec.task_count = 1 + timeline_.Below(3);
  spec.max_running = 0;
  spec.max_attempts = 1;
  spec.at_most_once = false;
  spec.is_open = false;
  spec.parent = parent;
  ++spec.depth;  // as the coordinator will find it
  traits.min_us = 1'000;
  traits.max_us = 50'000;
  traits.call_percent = spec.depth > 4 ? 0 : of_parent.call_percent;
  submission.answered = std::move(answered);
  submissions_.push_back(std::move(submission));
  timeline_.After(timeline_.Between(0, 2'000), [this, number] { TryChild(number); });
}

void Clients::Answer(Submission& submission) {
  if (!std::exchange(submission.is_answered, true)) submission.answered();
}

void Clients::TryChild(std::size_t number) {
  Submission& submission = submissions_[number];
  if (submission.is_answered) return;
  const coordinator::State* state = wiring_.state();
  if (state != nullptr && submission.job.is_none()) {
    Ask(number, Asked::What::kSubmit);
  } else if (state != nullptr) {
    // A volatile one may be gone with its coordinator.
    const coordinator::Job* job = state->FindJob(submission.job);
    if (job == nullptr || job->is_ended()) return Answer(submission);
  }
  timeline_.After(timeline_.Between(5'000, 200'000), [this, number] { TryChild(number); });
}

const JobTraits* Clients::TraitsOf(JobId job) const {
  const auto it = submission_of_.find(job);
  return it == submission_of_.end() ? nullptr : &submissions_[it->second].traits;
}

bool Clients::AllSaid() const {
  for (const Submission& submission : submissions_) {
    if (submission.answered) continue;  // whose parent ends, or not
    if (submission.job.is_none() || (submission.cancel && !submission.cancelled)) return false;
    if (submission.traits.spec.is_open && !submission.all_offered) return false;
  }
  return true;
}

void Clients::Ask(std::size_t number, Asked::What what) {
  Submission& submission = submissions_[number];
  const coordinator::RequestId request = NewRequest();
  asked_[request] = {what, number};
  switch (what) {
    case Asked::What::kSubmit:
      return wiring_.ask(coordinator::JobSubmitted{request, submission.traits.spec});
    case Asked::What::kExtend:
      return AskExtend(request, submission);
    case Asked::What::kCancel:
      checkers_.OnCancelAsked(submission.job);
      return wiring_.ask(coordinator::JobCancelAsked{request, submission.job, "client", {}});
    case Asked::What::kCancelTasks: {
      wiring_.ask(
          coordinator::JobCancelAsked{request, submission.job, "client", {submission.unwanted}});
      const coordinator::State* state = wiring_.state();
      std::optional<AssignmentId> newest;
      if (state != nullptr && !state->assignments().empty()) {
        newest = state->assignments().rbegin()->first;
      }
      return checkers_.OnTasksCancelAsked(submission.job, submission.unwanted, newest);
    }
    case Asked::What::kForget:
      return wiring_.ask(coordinator::JobForgetAsked{request, submission.job});
  }
}

// The same again until it is answered, then more.
void Clients::AskExtend(coordinator::RequestId request, Submission& submission) {
  const std::uint64_t final_count = submission.traits.final_count;
  const std::uint64_t first = submission.accepted_tasks;
  if (submission.offered_tasks == first && first < final_count) {
    submission.offered_tasks += 1 + timeline_.Below(final_count - first);
  }
  const std::uint64_t count = submission.offered_tasks - first;
  const bool close = submission.offered_tasks == final_count && !submission.traits.is_abandoned;
  wiring_.ask(coordinator::JobExtendAsked{request, submission.job, first, count, 0, close});
}

void Clients::OnExtendAnswered(Submission& submission, const coordinator::Effect& effect) {
  const auto* extended = std::get_if<coordinator::AnswerExtend>(&effect.what);
  if (extended == nullptr) {
    // A volatile one may be gone with its coordinator, or it was cancelled.
    submission.all_offered = true;
    const bool may_be = submission.traits.spec.is_volatile || submission.cancel;
    if (!may_be) checkers_.Violate("a good extension of a job is refused");
    return;
  }
  if (extended->job != submission.job) return;
  checkers_.OnExtendAnswered(extended->job, extended->task_count);
  if (extended->task_count > submission.offered_tasks) {
    checkers_.Violate("a job has more tasks than were offered");
  }
  submission.accepted_tasks = std::max(submission.accepted_tasks, extended->task_count);
  const bool has_all = submission.accepted_tasks == submission.traits.final_count;
  if (!extended->open || (has_all && submission.traits.is_abandoned)) {
    submission.all_offered = true;
    if (!has_all && !submission.cancel) checkers_.Violate("an open job is closed by nobody");
  }
}

void Clients::TrySubmit(std::size_t number) {
  Submission& submission = submissions_[number];
  if (!submission.job.is_none() && !timeline_.Chance(20)) return TryFollowUps(number);
  if (wiring_.state() != nullptr) Ask(number, Asked::What::kSubmit);
  timeline_.After(timeline_.Between(100'000, 2'000'000), [this, number] { TrySubmit(number); });
}

void Clients::TryFollowUps(std::size_t number) {
  Submission& submission = submissions_[number];
  const coordinator::State* state = wiring_.state();
  const coordinator::Job* job = state != nullptr ? state->FindJob(submission.job) : nullptr;
  if (state != nullptr && submission.cancel && !submission.cancelled) {
    Ask(number, Asked::What::kCancel);
  } else if (state != nullptr && submission.traits.spec.is_open && !submission.all_offered) {
    Ask(number, Asked::What::kExtend);
  } else if (job != nullptr && !job->is_ended() && submission.unwanted.count > 0 &&
             timeline_.Chance(50)) {
    Ask(number, Asked::What::kCancelTasks);
  } else if (job != nullptr && job->is_ended() && submission.forget && !submission.forgotten) {
    Ask(number, Asked::What::kForget);
  } else if (submission.forgotten || (job != nullptr && job->is_ended() && !submission.forget)) {
    return;
  }
  timeline_.After(timeline_.Between(100'000, 3'000'000), [this, number] { TryFollowUps(number); });
}

void Clients::OnAccepted(const coordinator::JobAccepted& record) {
  submission_of_[record.job] = std::stoul(record.spec.name);
}

void Clients::OnAnswer(const coordinator::Effect& effect) {
  coordinator::RequestId request;
  std::visit(
      [&request](const auto& what) {
        if constexpr (requires { what.request; }) request = what.request;
      },
      effect.what);
  const auto it = asked_.find(request);
  if (it == asked_.end()) return;
  const Asked asked = it->second;
  asked_.erase(it);
  Submission& submission = submissions_.at(asked.submission);
  if (wiring_.faults() && timeline_.Chance(10)) return;  // its client lost the connection
  switch (asked.what) {
    case Asked::What::kSubmit:
      return OnSubmitAnswered(submission, effect);
    case Asked::What::kExtend:
      return OnExtendAnswered(submission, effect);
    case Asked::What::kCancel:
      submission.cancelled = true;
      return;
    case Asked::What::kCancelTasks:
      return;
    case Asked::What::kForget:
      submission.forgotten = std::holds_alternative<coordinator::AnswerJob>(effect.what);
      return;
  }
}

void Clients::OnSubmitAnswered(Submission& submission, const coordinator::Effect& effect) {
  const JobSpec& spec = submission.traits.spec;
  const auto* accepted = std::get_if<coordinator::AnswerSubmit>(&effect.what);
  if (accepted == nullptr) {
    const auto& error = std::get<coordinator::AnswerError>(effect.what);
    // After a restart the coordinator may not know of its parent, or who serves its function, yet.
    if (absl::IsUnavailable(error.status)) return;
    if (submission.answered && !absl::IsInvalidArgument(error.status)) return Answer(submission);
    // For good; so only a function may be, and only where nobody is left who serves it.
    if (!submission.traits.is_function() || !wiring_.state()->workers().empty()) {
      checkers_.Violate("a good submit is refused");
    }
    return;
  }
  checkers_.OnSubmitAnswered(accepted->job, spec.is_volatile);
  if (!submission.job.is_none() && submission.job != accepted->job && !spec.is_volatile) {
    checkers_.Violate("a repeated submit is another job");
  }
  if (submission.job == accepted->job) return;
  submission.job = accepted->job;
  submission.accepted_tasks = submission.offered_tasks = spec.task_count;
  submission.all_offered = false;
}

}  // namespace haul::sim
