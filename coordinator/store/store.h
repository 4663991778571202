// Where durable records live: projected onto tables, and given back as records on start.
//
// Threads: a Store belongs to one thread (the store thread; the loop thread for the memory store),
// each StoreReader to one thread of its own choice. A reader sees what was committed before it was
// asked, and may outlive nothing: destroy readers before their store.
//
// Errors: a commit that fails leaves the store unusable; the process is expected to say why and
// end, since what the disk then holds is known only by opening it again.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/outcome.h"
#include "common/packed_bytes.h"
#include "coordinator/core/records.h"

namespace haul::coordinator {

// One write. In the order of a batch, as the core decided it.

// Inputs of an unfinished submit: the values of tasks [first, first + values.count()). Chunks of a
// set come in ascending order without gaps. A set that no job refers to is dropped at the next
// start.
struct AppendInputs {
  InputSetId set;
  TaskIndex first = 0;
  PackedBytes values;
};
struct DropInputs {
  InputSetId set;
};
struct AddJob {
  JobAccepted record;
  std::string job_template;  // opaque bytes
};
struct AddOutcome {
  JobId job;
  Outcome outcome;           // with its worker and assignment
  bool is_followed = false;  // somebody waits to read it: not the store's concern
};
using Write = std::variant<AppendInputs, DropInputs, AddJob, JobExtended, AddOutcome,
                           AttemptsCharged, StartsRecorded, JobCancelRequested, JobEnded,
                           JobForgotten, WorkerJoined, WorkerLeft>;

// What a start gives back.
struct RecoveredJob {
  JobAccepted record;
  std::string job_template;  // empty for an ended job
};
struct Recovered {
  std::uint64_t epoch = 0;  // of this start: durable already, greater than any earlier start's
  JobId last_job;           // the greatest id ever given out, forgotten ones included
  WorkerId last_worker;
  InputSetId last_input_set;
  std::vector<RecoveredJob> jobs;  // ascending ids
  // In an order in which applying them gives the state: outcomes (without payload), attempts,
  // starts and extensions of jobs that go on, cancel requests, ends of ended jobs with their
  // counts; workers that joined and did not leave.
  std::vector<DurableRecord> records;
  // All of them, also those that left, by ascending id: for their names.
  std::vector<WorkerJoined> workers_once_known;
};

// DATA_LOSS for what no sound store gives back: records that contradict each other or themselves.
// The core ends the process over such. Costs as much as there are records.
absl::Status CheckRecovered(const Recovered& recovered);

// A position in a job's outcomes. In order of completion: the sequence of the last one seen. In
// index order: the next task index.
struct OutcomePage {
  struct Entry {
    std::uint64_t sequence = 0;
    Outcome outcome;
  };
  std::vector<Entry> entries;
  std::uint64_t next_cursor = 0;
  // False: the page was cut at a limit, there is more right now. It may be empty.
  bool complete = true;
};
struct OutcomeQuery {
  JobId job;
  bool in_order = false;     // by task index, without gaps from the cursor on; else by completion
  std::uint64_t cursor = 0;  // 0: from the start
  TaskRange only{0, ~0ull};  // outcomes that touch this range
  bool unsuccessful_only = false;
  bool with_payload = true;  // results and outputs; otherwise only how the tasks ended
  // The page has at least one outcome of those that were looked at, whatever its size.
  std::size_t byte_limit = 1 << 20;
  // So many outcomes are looked at, wanted or not: others wait for the reader meanwhile.
  std::size_t row_limit = 20'000;
};

class StoreReader {
 public:
  virtual ~StoreReader() = default;
  // The values of tasks [range.first, range.end()), all of which must have been committed.
  // NOT_FOUND.
  virtual absl::StatusOr<PackedBytes> ReadInputs(InputSetId set, TaskRange range) = 0;
  // In index order an outcome that is cut by the cursor comes whole (its range starts before the
  // cursor). Only one without results may come as its rest, as it does where it grew after a page
  // had brought what it was.
  virtual absl::StatusOr<OutcomePage> ReadOutcomes(const OutcomeQuery& query) = 0;
  // The template of an accepted job, for showing it. NOT_FOUND.
  virtual absl::StatusOr<std::string> ReadTemplate(JobId job) = 0;
};

class Store {
 public:
  virtual ~Store() = default;
  // Once, before anything else. Raises the epoch. From a file, only what CheckRecovered takes.
  virtual absl::StatusOr<Recovered> Recover() = 0;
  // One transaction: all of it is durable when this returns OK. What the core should never have
  // decided, such as a second outcome of a task or a second job for a request, is INTERNAL.
  virtual absl::Status Commit(const std::vector<Write>& writes) = 0;
  // Of the outcomes of the last commit, in their order: where readers find each.
  virtual const std::vector<std::uint64_t>& outcome_sequences() const = 0;
  virtual absl::StatusOr<std::unique_ptr<StoreReader>> NewReader() = 0;
};

// Roughly what a write takes in memory, for the bounds of queues.
std::size_t ByteCount(const Write& write);

}  // namespace haul::coordinator
