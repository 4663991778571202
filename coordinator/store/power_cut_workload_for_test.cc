#include "coordinator/store/power_cut_workload_for_test.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <map>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "coordinator/store/memory_store.h"
#include "coordinator/store/store_test_util.h"

namespace haul::coordinator {
namespace {

std::string Bytes(std::uint64_t seed, std::size_t size) {
  std::mt19937_64 random(seed);
  std::string bytes(size, '\0');
  for (std::size_t at = 0; at < size; at += sizeof(std::uint64_t)) {
    const std::uint64_t word = random();
    std::memcpy(bytes.data() + at, &word, std::min(sizeof word, size - at));
  }
  return bytes;
}

// A coordinator's decisions, one commit after another.
class Planner {
 public:
  explicit Planner(std::uint64_t seed) : random_(seed) {}

  WorkloadStep NextCommit() {
    WorkloadStep step;
    if (workers_.empty()) Join(step);
    const std::uint64_t writes = 1 + random_() % 3;  // group commit
    for (std::uint64_t i = 0; i < writes; ++i) Decide(step);
    return step;
  }
  // What no job refers to is dropped by a restart.
  void Restarted() { staged_ = 0; }

 private:
  struct Running {
    std::uint64_t task_count = 0;
    std::uint64_t ended = 0;
    bool at_most_once = false;
  };

  void Decide(WorkloadStep& step) {
    const std::uint64_t kind = random_() % 16;
    if (running_.empty() || kind < 2) return Accept(step);
    if (kind < 4) return Stage(step);
    if (kind < 10) return End(step);
    if (kind < 12) return Charge(step);
    if (kind < 13) return Join(step);
    if (kind < 14) return Leave(step);
    if (kind < 15) return Finish(step);
    Forget(step);
  }

  void Join(WorkloadStep& step) {
    workers_.push_back(++last_worker_);
    step.writes.emplace_back(WorkerJoined{WorkerId(last_worker_), absl::StrCat("w", last_worker_),
                                          absl::StrCat("incarnation-", random_()), "host",
                                          static_cast<std::int64_t>(random_() % 1'000'000),
                                          AssignmentId(1, random_() % 100)});
  }
  void Leave(WorkloadStep& step) {
    if (workers_.size() < 2) return Join(step);
    step.writes.emplace_back(WorkerLeft{WorkerId(workers_.front()), "lease ran out", 99});
    workers_.erase(workers_.begin());
  }

  void Stage(WorkloadStep& step) {
    if (staged_ == 0) ++last_set_;
    AppendInputs inputs{InputSetId(last_set_), staged_, {}};
    const std::uint64_t count = 1 + random_() % 40;
    for (std::uint64_t i = 0; i < count; ++i) {
      inputs.values.Append(Bytes(random_(), random_() % 200));
    }
    staged_ += count;
    step.writes.emplace_back(std::move(inputs));
  }

  void Accept(WorkloadStep& step) {
    const std::uint64_t id = ++last_job_;
    AddJob job =
        Job(id, staged_ > 0 ? staged_ : 20 + random_() % 1000, staged_ > 0 ? last_set_ : 0);
    job.record.spec.request_id = absl::StrCat("request-", id);
    job.job_template = Bytes(random_(), random_() % 3000);
    staged_ = 0;
    job.record.spec.at_most_once = random_() % 3 == 0;
    if (id % 4 == 0) {
      job.record.spec.parent = {AssignmentId(1, id), JobId(id - 1), id};
      job.record.spec.depth = 1;
    }
    running_[id] = {job.record.spec.task_count, 0, job.record.spec.at_most_once};
    step.writes.emplace_back(std::move(job));
  }

  std::uint64_t SomeJob() {
    auto it = running_.begin();
    std::advance(it, random_() % running_.size());
    return it->first;
  }

  void End(WorkloadStep& step) {
    const std::uint64_t id = SomeJob();
    Running& job = running_[id];
    const std::uint64_t left = job.task_count - job.ended;
    if (left == 0) return Finish(step);
    const std::uint64_t count = random_() % 4 == 0 ? 1 : std::min(left, 1 + random_() % 20);
    const bool failed = random_() % 5 == 0;
    AddOutcome outcome =
        Ended(id, job.ended, count, failed ? TaskStatus::kFailed : TaskStatus::kSucceeded);
    outcome.outcome.assignment = AssignmentId(1, ++last_assignment_);
    outcome.outcome.busy_ns = random_() % 1'000'000;
    if (count == 1 && random_() % 3 == 0) {
      AddOutputs(step, outcome);
    } else {
      const bool uniform = random_() % 2 == 0;
      for (std::uint64_t i = 0; i < count; ++i) {
        outcome.outcome.results.Append(Bytes(random_(), uniform ? 8 : random_() % 400));
      }
    }
    job.ended += count;
    step.writes.emplace_back(std::move(outcome));
  }

  static void AddOutputs(WorkloadStep& step, AddOutcome& write) {
    Outcome& outcome = write.outcome;
    OutputName name{write.job, outcome.assignment, outcome.tasks.first, OutputStream::kOutput};
    outcome.output_file = name.Reference();
    outcome.output_bytes = OutputContent(name).size();
    step.outputs.push_back(name);
    name.stream = OutputStream::kError;
    outcome.error_file = name.Reference();
    outcome.error_bytes = OutputContent(name).size();
    step.outputs.push_back(name);
  }

  void Charge(WorkloadStep& step) {
    const std::uint64_t id = SomeJob();
    const Running& job = running_[id];
    if (job.ended == job.task_count) return Finish(step);
    if (job.at_most_once) {
      const std::uint64_t count = 1 + random_() % (job.task_count - job.ended);
      step.writes.emplace_back(StartsRecorded{
          JobId(id), {job.ended, count}, AssignmentId(1, random_() % 999), random_() % 3 == 0});
      return;
    }
    step.writes.emplace_back(AttemptsCharged{JobId(id), job.ended,
                                             static_cast<std::uint32_t>(1 + random_() % 3), 1,
                                             random_() % 2 == 0, AssignmentId(1, random_() % 999)});
  }

  void Finish(WorkloadStep& step) {
    const std::uint64_t id = SomeJob();
    const Running job = running_[id];
    const bool whole = job.ended == job.task_count;
    if (!whole) step.writes.emplace_back(JobCancelRequested{JobId(id), "me", 5});
    step.writes.emplace_back(
        JobEnded{.job = JobId(id),
                 .state = whole ? JobState::kSucceeded : JobState::kCancelled,
                 .counts = {.succeeded = job.ended, .cancelled = job.task_count - job.ended},
                 .unix_us = 6});
    running_.erase(id);
    ended_.push_back(id);
  }

  void Forget(WorkloadStep& step) {
    if (ended_.empty()) return End(step);
    step.writes.emplace_back(JobForgotten{JobId(ended_.front())});
    ended_.erase(ended_.begin());
  }

  std::mt19937_64 random_;
  std::uint64_t last_job_ = 0, last_worker_ = 0, last_set_ = 0, last_assignment_ = 0;
  std::uint64_t staged_ = 0;  // inputs of a submit that is not accepted yet
  std::vector<std::uint64_t> workers_;
  std::map<std::uint64_t, Running> running_;
  std::vector<std::uint64_t> ended_;
};

// ---- dumps ----

std::string Sum(std::string_view bytes) {
  return absl::StrCat(bytes.size(), ":", std::hash<std::string_view>()(bytes));
}

std::string Text(const DurableRecord& record) {
  struct Visitor {
    std::string operator()(const JobAccepted& r) const {
      const JobSpec& s = r.spec;
      return absl::StrCat("job ", r.job.value(), " ", s.name, " ", s.owner, " ", s.request_id, " ",
                          s.description, " ", s.function, " ", s.task_count, " ",
                          s.input_set.value(), " ", s.at_most_once ? "once " : "",
                          s.parent.assignment.value(), " ", s.parent.job.value(), " ",
                          s.parent.task, " ", s.depth, " ", r.unix_us);
    }
    std::string operator()(const OutcomeRecorded& r) const {
      return absl::StrCat("outcome ", r.job.value(), " ", r.tasks.first, "+", r.tasks.count, " ",
                          static_cast<int>(r.status), " ", static_cast<int>(r.cause), " ",
                          r.worker.value(), " ", r.unix_us);
    }
    std::string operator()(const AttemptsCharged& r) const {
      return absl::StrCat("charged ", r.job.value(), " ", r.task, " ", r.attempts, " ", r.crashes,
                          " ", r.run_alone ? "alone" : "", " ", r.assignment.value());
    }
    std::string operator()(const JobExtended& r) const {
      return absl::StrCat("extended ", r.job.value(), " ", r.count, " ", r.input_bytes,
                          r.closed ? " closed" : "");
    }
    std::string operator()(const StartsRecorded& r) const {
      return absl::StrCat(r.withdrawn ? "withdrawn " : "starts ", r.job.value(), " ", r.tasks.first,
                          "+", r.tasks.count, " ", r.assignment.value());
    }
    std::string operator()(const JobCancelRequested& r) const {
      return absl::StrCat("cancel ", r.job.value(), " ", r.by, " ", r.unix_us);
    }
    std::string operator()(const JobEnded& r) const {
      return absl::StrCat("ended ", r.job.value(), " ", static_cast<int>(r.state), " ",
                          r.counts.succeeded, " ", r.counts.failed, " ", r.counts.cancelled, " ",
                          r.unix_us);
    }
    std::string operator()(const JobForgotten& r) const {
      return absl::StrCat("forgotten ", r.job.value());
    }
    std::string operator()(const WorkerJoined& r) const {
      return absl::StrCat("worker ", r.worker.value(), " ", r.name, " ", r.incarnation, " ", r.host,
                          " ", r.unix_us, " ", r.joined_after.value());
    }
    std::string operator()(const WorkerLeft& r) const {
      return absl::StrCat("left ", r.worker.value());
    }
  };
  return std::visit(Visitor{}, record) + "\n";
}

absl::StatusOr<std::string> DumpOutput(const OutputFiles* files, const std::string& reference,
                                       std::uint64_t bytes) {
  if (reference.empty() || files == nullptr) return reference;
  const absl::StatusOr<std::string> content =
      files->Read(reference, 0, OutputFiles::kPieceLimitBytes);
  if (!content.ok()) return content.status();
  if (content->size() != bytes || *content != OutputContent(*OutputName::Parse(reference))) {
    return absl::DataLossError(absl::StrCat("the output ", reference, " has ", content->size(),
                                            " bytes, not the ", bytes, " that were written"));
  }
  return reference;
}

absl::StatusOr<std::string> DumpOutcomes(JobId job, StoreReader& reader, const OutputFiles* files) {
  const absl::StatusOr<OutcomePage> page =
      reader.ReadOutcomes({.job = job, .byte_limit = 64 << 20});
  if (!page.ok()) return page.status();
  std::string text;
  for (const OutcomePage::Entry& entry : page->entries) {
    const Outcome& o = entry.outcome;
    for (const auto& [reference, bytes] :
         {std::pair(o.output_file, o.output_bytes), std::pair(o.error_file, o.error_bytes)}) {
      const absl::StatusOr<std::string> output = DumpOutput(files, reference, bytes);
      if (!output.ok()) return output.status();
      absl::StrAppend(&text, *output, " ");
    }
    std::string results;
    for (std::uint64_t i = 0; i < o.results.count(); ++i) {
      absl::StrAppend(&results, o.results[i].size(), ",");
    }
    results += o.results.data();
    absl::StrAppend(&text, o.tasks.first, "+", o.tasks.count, " ", static_cast<int>(o.status), " ",
                    static_cast<int>(o.cause), " ", o.assignment.value(), " ", o.worker.value(),
                    " ", o.busy_ns, " ", o.finished_unix_us, " ", Sum(results), "\n");
  }
  return text;
}

}  // namespace

std::vector<WorkloadStep> MakeWorkload(std::uint64_t seed, std::size_t commits) {
  Planner planner(seed);
  std::vector<WorkloadStep> steps;
  for (std::size_t i = 1; i <= commits; ++i) {
    steps.push_back(planner.NextCommit());
    if (i % 23 == 0) {
      steps.push_back({.restarts = true, .outputs = {}, .writes = {}});
      planner.Restarted();
    }
  }
  return steps;
}

std::vector<Write> OneMoreCommit(std::uint64_t job) {
  return Writes(Job(job, 30), Ended(job, 0, 10));
}

std::string OutputContent(const OutputName& name) {
  const std::uint64_t seed =
      name.job.value() * 1000 + name.task * 2 + static_cast<std::uint64_t>(name.stream);
  return Bytes(seed, 3000 + seed % 5000);
}

absl::Status WriteOutput(OutputFiles& files, const OutputName& name) {
  absl::StatusOr<std::unique_ptr<OutputFiles::Writer>> writer = files.NewWriter(name);
  if (!writer.ok()) return writer.status();
  const std::string content = OutputContent(name);
  absl::Status status = (*writer)->Append(std::string_view(content).substr(0, 1000));
  status.Update((*writer)->Append(std::string_view(content).substr(1000)));
  return status.ok() ? (*writer)->Finish().status() : status;
}

absl::StatusOr<std::string> Dump(const Recovered& recovered, StoreReader& reader,
                                 const OutputFiles* files) {
  std::string text =
      absl::StrCat("last ", recovered.last_job.value(), " ", recovered.last_worker.value(), " ",
                   recovered.last_input_set.value(), "\n");
  for (const WorkerJoined& worker : recovered.workers_once_known) {
    absl::StrAppend(&text, "once ", Text(worker));
  }
  for (const RecoveredJob& job : recovered.jobs) {
    const JobId id = job.record.job;
    const absl::StatusOr<std::string> job_template = reader.ReadTemplate(id);
    if (!job_template.ok()) return job_template.status();
    absl::StrAppend(&text, Text(job.record), Sum(job.job_template), " ", Sum(*job_template), "\n");
    const absl::StatusOr<std::string> outcomes = DumpOutcomes(id, reader, files);
    if (!outcomes.ok()) return outcomes.status();
    text += *outcomes;
    if (job.record.spec.input_set.is_none()) continue;
    const auto inputs =
        reader.ReadInputs(job.record.spec.input_set, {0, job.record.spec.task_count});
    if (!inputs.ok()) return inputs.status();
    for (std::uint64_t i = 0; i < inputs->count(); ++i) {
      absl::StrAppend(&text, (*inputs)[i].size(), ",");
    }
    absl::StrAppend(&text, Sum(inputs->data()), "\n");
  }
  for (const DurableRecord& record : recovered.records) text += Text(record);
  return text;
}

std::vector<std::string> ExpectedDumps(const std::vector<WorkloadStep>& steps,
                                       const std::vector<Write>& last) {
  std::vector<std::string> dumps;
  const auto commits = static_cast<std::size_t>(
      std::count_if(steps.begin(), steps.end(), [](const auto& step) { return !step.restarts; }));
  for (std::size_t wanted = 0; wanted <= commits; ++wanted) {
    MemoryStore store(64 << 20);
    HAUL_CHECK(store.Recover().ok());
    std::size_t done = 0;
    for (const WorkloadStep& step : steps) {
      if (step.restarts) {
        HAUL_CHECK(store.Recover().ok());
      } else if (done++ == wanted) {
        break;
      } else {
        HAUL_CHECK(store.Commit(step.writes).ok());
      }
    }
    if (!last.empty()) HAUL_CHECK(store.Commit(last).ok());
    const absl::StatusOr<Recovered> recovered = store.Recover();
    HAUL_CHECK(recovered.ok());
    const absl::StatusOr<std::string> dump = Dump(*recovered, **store.NewReader(), nullptr);
    HAUL_CHECK(dump.ok());
    dumps.push_back(*dump);
  }
  return dumps;
}

}  // namespace haul::coordinator
