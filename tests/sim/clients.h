// Clients that submit jobs of all kinds until they are told that they are accepted, and now and
// then once more; that cancel and forget some. One thread.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>

#include "coordinator/core/effects.h"
#include "coordinator/core/state.h"
#include "tests/sim/checkers.h"
#include "tests/sim/messages.h"
#include "tests/sim/timeline.h"

namespace haul::sim {

class Clients {
 public:
  struct Wiring {
    std::function<void(const coordinator::Event&)> ask;
    std::function<const coordinator::State*()> state;  // nullptr while there is no coordinator
    std::function<bool()> faults;
  };
  Clients(Timeline& timeline, Checkers& checkers, Wiring wiring)
      : timeline_(timeline), checkers_(checkers), wiring_(std::move(wiring)) {}

  // One more job, to be submitted within that time.
  void Add(std::int64_t within_us);
  // A job that a task submits and waits for; `answered` is called when it has ended, or is not to
  // be.
  void AddChild(const coordinator::ParentTask& parent, std::function<void()> answered);
  // What the coordinator answers.
  void OnAnswer(const coordinator::Effect& effect);
  void OnAccepted(const coordinator::JobAccepted& record);
  void OnCoordinatorDied() { asked_.clear(); }
  coordinator::RequestId NewRequest() { return coordinator::RequestId(++last_request_); }

  // nullptr for a job that never was.
  const JobTraits* TraitsOf(JobId job) const;
  // Everything was accepted, and what was to be closed or cancelled is.
  bool AllSaid() const;

 private:
  struct Submission {
    JobTraits traits;
    JobId job;                         // once answered
    std::uint64_t accepted_tasks = 0;  // of an open job, as far as it was told
    std::uint64_t offered_tasks = 0;   // of these what is under way begins behind the accepted ones
    bool all_offered = false;          // nothing more is to be said of it
    bool cancel = false;
    TaskRange unwanted;  // some of its tasks are cancelled, now and then
    bool forget = false;
    std::function<void()> answered;  // of a task's
    bool is_answered = false;
    bool cancelled = false;
    bool forgotten = false;
  };
  struct Asked {
    enum class What : std::uint8_t { kSubmit, kExtend, kCancel, kCancelTasks, kForget } what;
    std::size_t submission;
  };

  JobTraits NewTraits(std::size_t number);
  void Ask(std::size_t number, Asked::What what);
  void TrySubmit(std::size_t number);
  void TryFollowUps(std::size_t number);
  void TryChild(std::size_t number);
  static void Answer(Submission& submission);
  void AskExtend(coordinator::RequestId request, Submission& submission);
  void OnExtendAnswered(Submission& submission, const coordinator::Effect& effect);
  void OnSubmitAnswered(Submission& submission, const coordinator::Effect& effect);

  Timeline& timeline_;
  Checkers& checkers_;
  const Wiring wiring_;
  std::deque<Submission> submissions_;
  std::map<coordinator::RequestId, Asked> asked_;
  std::map<JobId, std::size_t> submission_of_;
  std::uint64_t last_request_ = 0;
};

}  // namespace haul::sim
