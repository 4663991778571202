#include "cli/follow_job.h"

#include <unistd.h>

#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>

#include "cli/format.h"
#include "cli/interrupt.h"
#include "cli/progress.h"
#include "cli/status.h"
#include "cli/task_printer.h"

namespace haul::cli {
namespace {

using client::FollowUpdate;
using client::Status;

void PrintSubmitted(const client::Submitted& submitted) {
  PrintJson({{"object", "submitted"},
             {"job", submitted.job.value},
             {"already_accepted", submitted.already_accepted}});
  std::fflush(stdout);
}

// After the first Ctrl-C: the job goes on, unless another one comes soon.
int Detach(Client& client, client::JobId job, Interrupts& interrupts) {
  const auto id = static_cast<unsigned long long>(job.value);
  std::fprintf(stderr,
               "haul: job %llu goes on without this terminal (`haul job wait %llu`); "
               "Ctrl-C again within 2s cancels it\n",
               id, id);
  if (!interrupts.WaitForSecond(std::chrono::seconds(2))) return kExitInterrupted;
  if (const auto cancelled = client.Cancel(job); !cancelled.ok()) {
    Fail(cancelled.status());
  } else {
    std::fprintf(stderr, "haul: job %llu is cancelled\n", id);
  }
  return kExitInterrupted;
}

// Prints all updates of a job; holds what its end needs.
class JobFollower {
 public:
  JobFollower(const Globals& globals, Client& client, client::JobId job,
              const client::JobSpec& spec)
      : json_(globals.json()),
        client_(client),
        job_(job),
        printer_(client, job, spec, {.json = globals.json(), .with_stderr = true, .selector = {}}),
        progress_(isatty(STDERR_FILENO) != 0 && !globals.json()) {}

  Status Follow(bool keep_order, std::stop_token stop) {
    client::FollowOptions options;
    options.in_order = keep_order;
    options.on_connection_lost = [this](const Status& why) {
      const Progress::Hidden hidden(progress_);
      std::fprintf(stderr, "haul: %s; trying again\n", why.message().c_str());
    };
    const Status followed = client_.Follow(
        job_, options, [&](FollowUpdate& update) { return OnUpdate(update, stop); }, stop);
    progress_.End();
    return print_status_.ok() ? followed : print_status_;
  }

  // The job's last words, and its exit status.
  int Finish() {
    if (!last_.has_value() || !last_->ended()) {
      return Fail(kExitTaskFailed, "the coordinator stopped telling before the job had ended");
    }
    printer_.PrintFailures();
    if (json_) {
      PrintJson(ToJson(*last_));
    } else if (last_->state != client::JobState::kSucceeded) {
      std::fprintf(stderr, "haul: job %llu: %s\n", static_cast<unsigned long long>(job_.value),
                   DescribeCounts(*last_).c_str());
    }
    return ExitStatus(*last_);
  }

 private:
  bool OnUpdate(FollowUpdate& update, const std::stop_token& stop) {
    if (!update.outcomes.empty()) {
      const Progress::Hidden hidden(progress_);
      for (const client::Outcome& outcome : update.outcomes) {
        print_status_ = printer_.Print(outcome, stop);
        if (!print_status_.ok()) return false;
      }
      print_status_ = FlushOutput();
      if (!print_status_.ok()) return false;
      // The progress line would take an unfinished line of output along when it goes.
      if (output_is_terminal_ && progress_.enabled() && printer_.is_within_line()) {
        std::fputc('\n', stdout);
        std::fflush(stdout);
      }
    }
    if (update.status.has_value()) {
      last_ = std::move(update.status);
      if (!last_->ended()) progress_.Update(*last_);
    }
    return true;
  }

  const bool json_;
  const bool output_is_terminal_ = isatty(STDOUT_FILENO) != 0;
  Client& client_;
  const client::JobId job_;
  TaskPrinter printer_;
  Progress progress_;
  std::optional<client::JobStatus> last_;
  Status print_status_;
};

}  // namespace

int SubmitAndFollow(const Globals& globals, Client& client, PreparedJob& job, bool keep_order) {
  const auto submitted = Submit(client, job);
  if (!submitted.ok()) return Fail(submitted.status());
  if (globals.json()) PrintSubmitted(*submitted);
  Interrupts interrupts;
  JobFollower follower(globals, client, submitted->job, job.spec);
  const Status followed = follower.Follow(keep_order, interrupts.token());
  if (followed.kind() == client::ErrorKind::kStopped) {
    return Detach(client, submitted->job, interrupts);
  }
  const std::string id = std::to_string(submitted->job.value);
  if (followed.kind() == client::ErrorKind::kNotFound) {
    return Fail(
        kExitTaskFailed,
        "job " + id + " is gone: it was forgotten, or volatile and lost with the coordinator");
  }
  if (!followed.ok()) {
    return Fail(ExitStatus(followed.kind()), followed.message() + "; the job is " + id +
                                                 ": go on with `haul job wait " + id + "`");
  }
  return follower.Finish();
}

int SubmitOnly(const Globals& globals, Client& client, PreparedJob& job) {
  const auto submitted = Submit(client, job);
  if (!submitted.ok()) return Fail(submitted.status());
  if (globals.json()) {
    PrintSubmitted(*submitted);
  } else {
    std::printf("%llu\n", static_cast<unsigned long long>(submitted->job.value));
  }
  return kExitSuccess;
}

}  // namespace haul::cli
