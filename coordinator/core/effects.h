// Effects: what shall be done, in the imperative. Each names the durable record that it rests on,
// and the shell carries it out only when that record is on disk: what leaves the house is already
// on disk. Plain values.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "common/ids.h"
#include "coordinator/core/events.h"

namespace haul::coordinator {

// Counts the durable records of this process; 0 is before the first.
using RecordSequence = std::uint64_t;

struct AnswerSubmit {
  RequestId request;
  JobId job;
  bool already_accepted = false;  // what was submitted now is to be dropped
};
struct AnswerExtend {  // so far the job has so many tasks, and takes more or not
  RequestId request;
  JobId job;
  std::uint64_t task_count = 0;
  bool open = false;
};
struct AnswerJob {  // the request about this job was carried out
  RequestId request;
  JobId job;
};
struct AnswerWorker {
  RequestId request;
  WorkerId worker;
};
struct AnswerError {
  RequestId request;
  absl::Status status;
};

struct SendWelcome {
  SessionId session;
  WorkerId worker;
  std::vector<AssignmentId> dropped;
};
struct ChargedTask {
  TaskIndex task = 0;
  std::uint32_t attempts = 0;
};
struct SendAssignment {
  SessionId session;
  AssignmentId id;
  JobId job;
  TaskRange tasks;
  std::uint32_t width = 1;
  bool alone = false;
  bool with_spec = false;  // the worker may answer for nothing else of this job
  std::vector<ChargedTask> charged;
};
struct SendRevoke {
  SessionId session;
  AssignmentId id;
  std::uint64_t count = 0;
};
struct SendCancel {
  SessionId session;
  AssignmentId id;
  JobId job;
  std::string by;
  std::vector<TaskRange> tasks;  // empty: all of it
};
struct SendDurable {
  SessionId session;
  std::uint64_t through = 0;
};
struct SendDrain {
  SessionId session;
  std::uint64_t deadline_ms = 0;  // what is left of it, at least 1; 0: none
};
struct SendStop {
  SessionId session;
};
struct SendDepart {
  SessionId session;
};
struct CloseSession {
  SessionId session;
  absl::Status status;
};
// For followers: there are new outcomes, it ended, or it is gone.
struct NotifyJob {
  JobId job;
  bool forgotten = false;
};

struct Effect {
  std::variant<AnswerSubmit, AnswerExtend, AnswerJob, AnswerWorker, AnswerError, SendWelcome,
               SendAssignment, SendRevoke, SendCancel, SendDurable, SendDrain, SendStop, SendDepart,
               CloseSession, NotifyJob>
      what;
  RecordSequence rests_on = 0;
};

// The session that an effect speaks to; none for answers and notifications.
inline SessionId SessionOf(const Effect& effect) {
  return std::visit(
      [](const auto& what) -> SessionId {
        if constexpr (requires { what.session; }) {
          return what.session;
        } else {
          return {};
        }
      },
      effect.what);
}

}  // namespace haul::coordinator
