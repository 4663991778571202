#include "coordinator/store/memory_store.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "coordinator/store/page_builder.h"
#include "coordinator/store/recovered_outcomes.h"
#include "coordinator/store/write_checks.h"

namespace haul::coordinator {
namespace {

// What a commit may add; nothing for what frees.
std::size_t Needed(const Write& write) {
  if (std::holds_alternative<DropInputs>(write) || std::holds_alternative<JobForgotten>(write) ||
      std::holds_alternative<WorkerLeft>(write)) {
    return 0;
  }
  return ByteCount(write);
}

}  // namespace

std::size_t MemoryStore::bytes() const {
  const MutexLock lock(&mutex_);
  return bytes_;
}

absl::Status MemoryStore::Commit(const std::vector<Write>& writes) {
  const MutexLock lock(&mutex_);
  std::size_t needed = 0;
  for (const Write& write : writes) needed += Needed(write);
  if (needed > 0 && bytes_ + needed > byte_limit_) {
    return absl::ResourceExhaustedError(absl::StrCat("volatile jobs hold ", bytes_, " bytes, and ",
                                                     needed, " more would pass the limit of ",
                                                     byte_limit_));
  }
  outcome_sequences_.clear();
  for (const Write& write : writes) {
    absl::Status status = std::visit(
        [this](const auto& w) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return Apply(w); }, write);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

// ---- inputs ----

absl::Status MemoryStore::Apply(const AppendInputs& write) {
  if (absl::Status checked = CheckInputs(write); !checked.ok()) return checked;
  Inputs& inputs = inputs_[write.set];
  if (write.first != inputs.end) return InputGap(write.set, write.first, inputs.end);
  inputs.chunks.emplace(write.first, write.values);
  inputs.end += write.values.count();
  const std::size_t bytes = ByteCount(Write(std::in_place_type<DropInputs>)) +
                            write.values.byte_count() +
                            write.values.end_offsets().size() * sizeof(std::uint32_t);
  inputs.bytes += bytes;
  bytes_ += bytes;
  last_input_set_ = std::max(last_input_set_, write.set);
  return absl::OkStatus();
}

absl::Status MemoryStore::Apply(const DropInputs& write) {
  const auto it = inputs_.find(write.set);
  if (it == inputs_.end()) return absl::OkStatus();
  bytes_ -= it->second.bytes;
  inputs_.erase(it);
  return absl::OkStatus();
}

void MemoryStore::DropLooseInputs() {
  absl::flat_hash_set<InputSetId> used;
  for (const auto& [id, job] : jobs_) used.insert(job.record.spec.input_set);
  std::vector<InputSetId> loose;
  for (const auto& [set, inputs] : inputs_) {
    if (!used.contains(set)) loose.push_back(set);
  }
  for (const InputSetId set : loose) Apply(DropInputs{set}).IgnoreError();
}

// ---- jobs ----

MemoryStore::Job* MemoryStore::FindJob(JobId id) {
  const auto it = jobs_.find(id);
  return it == jobs_.end() ? nullptr : &it->second;
}

absl::Status MemoryStore::Apply(const AddJob& write) {
  const JobId id = write.record.job;
  const JobSpec& spec = write.record.spec;
  if (!spec.request_id.empty() && !requests_.emplace(spec.owner, spec.request_id).second) {
    return absl::InternalError(absl::StrCat("a second job for a request, ", id.value()));
  }
  const auto [it, added] = jobs_.try_emplace(id);
  if (!added) return absl::InternalError(absl::StrCat("a second job ", id.value()));
  Job& job = it->second;
  job.record = write.record;
  job.job_template = write.job_template;
  job.bytes = ByteCount(Write(write));
  bytes_ += job.bytes;
  last_job_ = std::max(last_job_, id);
  last_input_set_ = std::max(last_input_set_, spec.input_set);
  return absl::OkStatus();
}

template <typename Record>
absl::Status MemoryStore::Keep(const Record& write, std::vector<Record> Job::*records) {
  Job* const job = FindJob(write.job);
  if (job == nullptr) return UnknownJob(write.job);
  (job->*records).push_back(write);
  job->bytes += sizeof(write);
  bytes_ += sizeof(write);
  return absl::OkStatus();
}

absl::Status MemoryStore::Apply(const JobExtended& write) { return Keep(write, &Job::extensions); }

absl::Status MemoryStore::Apply(const JobCancelRequested& write) {
  Job* const job = FindJob(write.job);
  if (job == nullptr) return UnknownJob(write.job);
  job->cancel = write;
  return absl::OkStatus();
}

absl::Status MemoryStore::Apply(const JobEnded& write) {
  Job* const job = FindJob(write.job);
  if (job == nullptr) return UnknownJob(write.job);
  job->ended = write;
  return absl::OkStatus();
}

absl::Status MemoryStore::Apply(const JobForgotten& write) {
  const auto it = jobs_.find(write.job);
  if (it == jobs_.end()) return UnknownJob(write.job);
  const JobSpec& spec = it->second.record.spec;
  if (absl::Status dropped = Apply(DropInputs{spec.input_set}); !dropped.ok()) return dropped;
  requests_.erase({spec.owner, spec.request_id});
  bytes_ -= it->second.bytes;
  jobs_.erase(it);
  return absl::OkStatus();
}

// ---- tasks ----

bool MemoryStore::CanJoin(const Outcome& last, const Outcome& next) {
  const auto has_payload = [](const Outcome& outcome) {
    return outcome.results.count() != 0 || !outcome.error_output.empty() ||
           !outcome.output_file.empty() || !outcome.error_file.empty();
  };
  // Single tasks come from jobs that asked for the detail of each.
  return last.tasks.count > 1 && next.tasks.count > 1 && last.tasks.end() == next.tasks.first &&
         !has_payload(last) && !has_payload(next) && last.status == next.status &&
         last.cause == next.cause && last.code == next.code && last.message == next.message &&
         last.pid == next.pid && last.attempt == next.attempt &&
         last.assignment == next.assignment && last.worker == next.worker &&
         last.culprit == next.culprit;
}

void MemoryStore::Join(const Outcome& next, Outcome& last) {
  last.tasks.count += next.tasks.count;
  last.started_unix_us = std::min(last.started_unix_us, next.started_unix_us);
  last.finished_unix_us = std::max(last.finished_unix_us, next.finished_unix_us);
  last.busy_ns += next.busy_ns;
  last.user_cpu_us += next.user_cpu_us;
  last.system_cpu_us += next.system_cpu_us;
  last.peak_memory_bytes = std::max(last.peak_memory_bytes, next.peak_memory_bytes);
}

absl::Status MemoryStore::Apply(const AddOutcome& write) {
  if (absl::Status checked = CheckOutcome(write); !checked.ok()) return checked;
  Job* const job = FindJob(write.job);
  if (job == nullptr) return UnknownJob(write.job);
  const TaskRange tasks = write.outcome.tasks;
  // Runs are disjoint: of those that begin before its end, only the last can touch it.
  const auto after = job->by_index.lower_bound(tasks.end());
  if (after != job->by_index.begin()) {
    const TaskRange earlier = job->outcomes[std::prev(after)->second].outcome.tasks;
    if (Touches(earlier, tasks)) return SecondOutcome(write.job, tasks, earlier);
  }
  const std::uint64_t ended_before = job->ended_tasks;
  job->ended_tasks += tasks.count;
  outcome_sequences_.push_back(job->ended_tasks);
  if (!job->outcomes.empty() && CanJoin(job->outcomes.back().outcome, write.outcome)) {
    Join(write.outcome, job->outcomes.back().outcome);
    return absl::OkStatus();
  }
  job->by_index.emplace(tasks.first, job->outcomes.size());
  job->outcomes.push_back({ended_before, write.outcome});
  // That every result is empty is said by there being none.
  Outcome& stored = job->outcomes.back().outcome;
  if (stored.results.byte_count() == 0) stored.results = {};
  const std::size_t bytes = ByteCount(stored);
  job->bytes += bytes;
  bytes_ += bytes;
  return absl::OkStatus();
}

absl::Status MemoryStore::Apply(const AttemptsCharged& write) {
  return Keep(write, &Job::attempts);
}

absl::Status MemoryStore::Apply(const StartsRecorded& write) { return Keep(write, &Job::starts); }

// ---- workers ----

absl::Status MemoryStore::Apply(const WorkerJoined& write) {
  if (!workers_.try_emplace(write.worker, Worker{write}).second) {
    return absl::InternalError(absl::StrCat("a second worker ", write.worker.value()));
  }
  bytes_ += ByteCount(Write(write));
  last_worker_ = std::max(last_worker_, write.worker);
  return absl::OkStatus();
}

absl::Status MemoryStore::Apply(const WorkerLeft& write) {
  const auto it = workers_.find(write.worker);
  if (it == workers_.end() || it->second.left) return UnknownWorker(write.worker);
  it->second.left = true;  // and stays, for its name
  return absl::OkStatus();
}

// ---- recovery ----

absl::StatusOr<Recovered> MemoryStore::Recover() {
  const MutexLock lock(&mutex_);
  DropLooseInputs();
  Recovered recovered{.epoch = ++epoch_,
                      .last_job = last_job_,
                      .last_worker = last_worker_,
                      .last_input_set = last_input_set_,
                      .jobs = {},
                      .records = {},
                      .workers_once_known = {}};
  for (const auto& [id, worker] : workers_) {
    recovered.workers_once_known.push_back(worker.joined);
    if (!worker.left) recovered.records.emplace_back(worker.joined);
  }
  for (const auto& [id, job] : jobs_) {
    recovered.jobs.push_back({job.record, job.ended ? std::string() : job.job_template});
    AddJobRecords(job, recovered.records);
  }
  return recovered;
}

void MemoryStore::AddJobRecords(const Job& job, std::vector<DurableRecord>& records) const {
  if (!job.ended) {
    for (const JobExtended& extension : job.extensions) records.emplace_back(extension);
    // Charges and starts first: an outcome ends what they say of its tasks.
    for (const AttemptsCharged& attempts : job.attempts) records.emplace_back(attempts);
    for (const StartsRecorded& starts : job.starts) records.emplace_back(starts);
    RecoveredOutcomes outcomes(records);
    for (const auto& [first, position] : job.by_index) {
      const Outcome& outcome = job.outcomes[position].outcome;
      outcomes.Add({.job = job.record.job,
                    .tasks = outcome.tasks,
                    .status = outcome.status,
                    .cause = outcome.cause,
                    .message = {},
                    .worker = outcome.worker,
                    .unix_us = outcome.finished_unix_us});
    }
  }
  if (job.cancel) records.emplace_back(*job.cancel);
  if (job.ended) records.emplace_back(*job.ended);
}

// ---- reading ----

class MemoryStore::Reader final : public StoreReader {
 public:
  explicit Reader(MemoryStore& store) : store_(store) {}

  absl::StatusOr<PackedBytes> ReadInputs(InputSetId set, TaskRange range) override {
    PackedBytes values;
    if (range.count == 0) return values;
    const MutexLock lock(&store_.mutex_);
    const auto it = store_.inputs_.find(set);
    if (it == store_.inputs_.end() || EndOf(range) > it->second.end) {
      return absl::NotFoundError(
          absl::StrCat("no input of task ", EndOf(range) - 1, " in set ", set.value()));
    }
    auto chunk = std::prev(it->second.chunks.upper_bound(range.first));
    for (TaskIndex next = range.first; next < range.end(); ++chunk) {
      const TaskIndex chunk_end = chunk->first + chunk->second.count();
      const std::uint64_t count = std::min(chunk_end, range.end()) - next;
      const PackedBytes part = chunk->second.Slice(next - chunk->first, count);
      if (values.byte_count() + part.byte_count() > std::numeric_limits<std::uint32_t>::max()) {
        return absl::OutOfRangeError("inputs of 4 GiB or more must be read in parts");
      }
      values.Append(part);
      next += count;
    }
    return values;
  }

  absl::StatusOr<OutcomePage> ReadOutcomes(const OutcomeQuery& query) override {
    const MutexLock lock(&store_.mutex_);
    const Job* const job = store_.FindJob(query.job);
    if (job == nullptr) return OutcomePage{.entries = {}, .next_cursor = query.cursor};
    return query.in_order ? ReadInOrder(*job, query) : ReadCompleted(*job, query);
  }

  absl::StatusOr<std::string> ReadTemplate(JobId id) override {
    const MutexLock lock(&store_.mutex_);
    const Job* const job = store_.FindJob(id);
    if (job == nullptr) return absl::NotFoundError(absl::StrCat("no job ", id.value()));
    return job->job_template;
  }

 private:
  MemoryStore& store_;
};

absl::StatusOr<std::unique_ptr<StoreReader>> MemoryStore::NewReader() {
  return std::make_unique<Reader>(*this);
}

namespace {

std::uint64_t Share(std::uint64_t total, std::uint64_t count, std::uint64_t of) {
  return static_cast<std::uint64_t>(static_cast<double>(total) * static_cast<double>(count) /
                                    static_cast<double>(of));
}

// Without its first `seen` tasks; whole where it has results.
Outcome RestOf(Outcome rest, std::uint64_t seen) {
  // A cursor of ours ends where an outcome ended, and then only a joined one goes on.
  if (seen == 0 || rest.results.count() != 0) return rest;
  const std::uint64_t whole = rest.tasks.count;
  rest.tasks = {rest.tasks.first + seen, whole - seen};
  rest.busy_ns = Share(rest.busy_ns, rest.tasks.count, whole);
  rest.user_cpu_us = Share(rest.user_cpu_us, rest.tasks.count, whole);
  rest.system_cpu_us = Share(rest.system_cpu_us, rest.tasks.count, whole);
  return rest;
}

// What the query wants of an outcome whose first `seen` tasks were told. False: the page is full.
bool AddRest(const OutcomeQuery& query, const Outcome& outcome, std::uint64_t sequence,
             std::uint64_t seen, PageBuilder& page) {
  if (!page.Wants(outcome.tasks, outcome.status)) return true;
  Outcome rest = RestOf(outcome, seen);
  if (!page.Wants(rest.tasks, rest.status)) return true;
  if (!query.with_payload) {
    rest.results = {};
    rest.error_output.clear();
  }
  return page.Add(sequence, std::move(rest));
}

}  // namespace

OutcomePage MemoryStore::ReadCompleted(const Job& job, const OutcomeQuery& query) {
  PageBuilder page(query);
  auto it = std::partition_point(
      job.outcomes.begin(), job.outcomes.end(),
      [&query](const StoredOutcome& stored) { return stored.sequence() <= query.cursor; });
  for (; it != job.outcomes.end() && page.MayLook(); ++it) {
    const std::uint64_t seen = std::max(query.cursor, it->ended_before) - it->ended_before;
    if (!AddRest(query, it->outcome, it->sequence(), seen, page)) break;
    page.MoveCursor(it->sequence());
  }
  return std::move(page).Finish();
}

absl::btree_map<TaskIndex, std::size_t>::const_iterator MemoryStore::RunAt(const Job& job,
                                                                           TaskIndex task) {
  const auto after = job.by_index.upper_bound(task);
  if (after == job.by_index.begin()) return after;
  const auto before = std::prev(after);
  return job.outcomes[before->second].outcome.tasks.end() > task ? before : after;
}

OutcomePage MemoryStore::ReadInOrder(const Job& job, const OutcomeQuery& query) {
  PageBuilder page(query);
  TaskIndex next = std::max(query.cursor, query.only.first);
  for (auto it = RunAt(job, next); it != job.by_index.end() && it->first < EndOf(query.only);
       ++it) {
    const StoredOutcome& stored = job.outcomes[it->second];
    const TaskRange tasks = stored.outcome.tasks;
    if (tasks.first > next) break;  // a gap: what stands there has not ended
    if (!page.MayLook()) break;
    // Only a page moves the cursor beyond the first task that was asked for.
    const bool was_moved = query.cursor > query.only.first;
    const std::uint64_t seen = was_moved ? std::max(query.cursor, tasks.first) - tasks.first : 0;
    if (!AddRest(query, stored.outcome, stored.sequence(), seen, page)) break;
    next = tasks.end();
    page.MoveCursor(next);
  }
  return std::move(page).Finish();
}

}  // namespace haul::coordinator
