// What a start gives back comes from a file, which may be damaged; the core believes every record.
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "common/utf8.h"
#include "coordinator/store/store.h"
#include "coordinator/store/write_checks.h"

namespace haul::coordinator {
namespace {

// Greater ids are those of volatile jobs, which carry the epoch.
constexpr std::uint64_t kMostJobs = 1ull << 32;

class Checker {
 public:
  absl::Status Check(const Recovered& recovered) {
    if (recovered.epoch == 0 || recovered.epoch >= kMostEpochs) {
      return Number("meta.epoch", recovered.epoch, kMostEpochs - 1);
    }
    for (const RecoveredJob& job : recovered.jobs) {
      if (absl::Status status = CheckJob(job.record); !status.ok()) return status;
    }
    for (const DurableRecord& record : recovered.records) {
      absl::Status status = std::visit([this](const auto& r) { return On(r); }, record);
      if (!status.ok()) return status;
    }
    for (const WorkerJoined& worker : recovered.workers_once_known) {
      if (absl::Status status = CheckWorker(worker); !status.ok()) return status;
    }
    return absl::OkStatus();
  }

 private:
  struct Job {
    std::uint64_t task_count = 0;
    bool at_most_once = false;
    bool is_open = false;
    bool is_closed = false;
    TaskIndex outcomes_end = 0;  // they come in the order of their tasks
    bool ended = false;
  };

  static absl::Status Damaged(absl::string_view what) {
    return absl::DataLossError(absl::StrCat("haul.db is damaged: ", what));
  }
  static absl::Status Number(absl::string_view column, std::uint64_t value, std::uint64_t most) {
    return Damaged(absl::StrCat(column, ": ", value, ", must be 1 to ", most));
  }
  // Text on the wire, where a message with other bytes could not even be read.
  static absl::Status CheckText(absl::string_view column, const std::string& text) {
    return IsUtf8(text) ? absl::OkStatus() : Damaged(absl::StrCat(column, ": not UTF-8"));
  }

  absl::Status CheckJob(const JobAccepted& record) {
    const JobSpec& spec = record.spec;
    if (record.job.is_none() || record.job.value() >= kMostJobs) {
      return Number("jobs.id", record.job.value(), kMostJobs - 1);
    }
    if ((spec.task_count == 0 && !spec.is_open) || spec.task_count > kMostTasks) {
      return Number("jobs.task_count", spec.task_count, kMostTasks);
    }
    if (spec.cpus_milli == 0) return Number("jobs.cpus_milli", 0, ~0u);
    const std::uint32_t most_attempts = spec.at_most_once ? 1 : ~0u;
    if (spec.max_attempts == 0 || spec.max_attempts > most_attempts) {
      return Number("jobs.max_attempts", spec.max_attempts, most_attempts);
    }
    if ((spec.depth > 0) == spec.parent.assignment.is_none()) {
      return Damaged(absl::StrCat("jobs.depth: ", spec.depth, " of a job ",
                                  spec.depth > 0 ? "without" : "with", " a parent"));
    }
    for (const auto& [column, text] :
         {std::pair("jobs.name", &spec.name), std::pair("jobs.owner", &spec.owner),
          std::pair("jobs.request_id", &spec.request_id),
          std::pair("jobs.description", &spec.description),
          std::pair("jobs.function", &spec.function),
          std::pair("jobs.signature", &spec.signature)}) {
      if (absl::Status status = CheckText(column, *text); !status.ok()) return status;
    }
    const Job job{
        .task_count = spec.task_count, .at_most_once = spec.at_most_once, .is_open = spec.is_open};
    const bool is_new = jobs_.try_emplace(record.job, job).second;
    return is_new ? absl::OkStatus() : Damaged(absl::StrCat("two jobs ", record.job.value()));
  }

  static absl::Status CheckWorker(const WorkerJoined& worker) {
    if (worker.worker.is_none()) return Damaged("workers.id: 0, must be at least 1");
    for (const auto& [column, text] : {std::pair("workers.name", &worker.name),
                                       std::pair("workers.incarnation", &worker.incarnation),
                                       std::pair("workers.host", &worker.host)}) {
      if (absl::Status status = CheckText(column, *text); !status.ok()) return status;
    }
    return absl::OkStatus();
  }

  // Of a job that goes on.
  absl::Status Find(absl::string_view table, JobId id, Job** job) {
    const auto it = jobs_.find(id);
    if (it == jobs_.end() || it->second.ended) {
      return Damaged(absl::StrCat(table, ": a row of job ", id.value(), ", which ",
                                  it == jobs_.end() ? "is not there" : "has ended"));
    }
    *job = &it->second;
    return absl::OkStatus();
  }
  static absl::Status CheckRange(absl::string_view table, JobId id, const Job& job,
                                 TaskRange tasks) {
    const std::uint64_t most = job.task_count;
    if (tasks.count > 0 && tasks.first < most && tasks.count <= most - tasks.first) {
      return absl::OkStatus();
    }
    return Damaged(absl::StrCat(table, ": a row of tasks [", tasks.first, ", ", EndOf(tasks),
                                ") of job ", id.value(), ", which has ", most));
  }
  static absl::Status Miscounted(JobId id, const Job& job) {
    return Damaged(absl::StrCat("jobs: job ", id.value(), " of ", job.task_count,
                                " tasks ended, but not with as many"));
  }

  absl::Status On(const JobAccepted& record) { return CheckJob(record); }
  absl::Status On(const JobExtended& record) {
    Job* job = nullptr;
    if (absl::Status status = Find("extensions", record.job, &job); !status.ok()) return status;
    if (!job->is_open || job->is_closed) {
      return Damaged(absl::StrCat("extensions: a row of job ", record.job.value(), ", which is ",
                                  job->is_open ? "closed" : "not open"));
    }
    if (record.count > kMostTasks - job->task_count) {
      return Number("extensions.count", record.count, kMostTasks - job->task_count);
    }
    job->task_count += record.count;
    job->is_closed = record.closed;
    return absl::OkStatus();
  }
  absl::Status On(const OutcomeRecorded& record) {
    Job* job = nullptr;
    if (absl::Status status = Find("outcomes", record.job, &job); !status.ok()) return status;
    absl::Status range = CheckRange("outcomes", record.job, *job, record.tasks);
    if (!range.ok()) return range;
    if (record.tasks.first < job->outcomes_end) {
      return Damaged(absl::StrCat("outcomes: task ", record.tasks.first, " of job ",
                                  record.job.value(), " has two"));
    }
    job->outcomes_end = record.tasks.end();
    if (!IsFinal(record.status)) {
      return Number("outcomes.status", static_cast<std::uint64_t>(record.status),
                    static_cast<std::uint64_t>(TaskStatus::kLost));
    }
    return absl::OkStatus();
  }
  absl::Status On(const AttemptsCharged& record) {
    Job* job = nullptr;
    if (absl::Status status = Find("attempts", record.job, &job); !status.ok()) return status;
    return CheckRange("attempts", record.job, *job, {record.task, 1});
  }
  absl::Status On(const StartsRecorded& record) {
    Job* job = nullptr;
    if (absl::Status status = Find("starts", record.job, &job); !status.ok()) return status;
    if (!job->at_most_once) {
      return Damaged(absl::StrCat("starts: a row of job ", record.job.value(),
                                  ", whose starts are not recorded"));
    }
    return CheckRange("starts", record.job, *job, record.tasks);
  }
  absl::Status On(const JobCancelRequested& record) {
    Job* job = nullptr;
    return Find("jobs.cancel_by", record.job, &job);
  }
  absl::Status On(const JobEnded& record) {
    Job* job = nullptr;
    if (absl::Status status = Find("jobs.state", record.job, &job); !status.ok()) return status;
    job->ended = true;
    const TaskCounts& counts = record.counts;
    // How many an open one had is not given back.
    std::uint64_t left = job->is_open ? kMostTasks : job->task_count;
    for (const std::uint64_t count :
         {counts.succeeded, counts.failed, counts.cancelled, counts.lost}) {
      if (count > left) return Miscounted(record.job, *job);
      left -= count;
    }
    return left == 0 || job->is_open ? absl::OkStatus() : Miscounted(record.job, *job);
  }
  absl::Status On(const JobForgotten& record) {
    return Damaged(absl::StrCat("job ", record.job.value(), " is forgotten, and there"));
  }
  absl::Status On(const WorkerJoined& record) {
    const bool is_new =
        workers_.insert(record.worker).second && incarnations_.insert(record.incarnation).second;
    if (is_new) return CheckWorker(record);
    return Damaged(absl::StrCat("workers: worker ", record.worker.value(), " is there twice"));
  }
  absl::Status On(const WorkerLeft& record) {
    return Damaged(absl::StrCat("worker ", record.worker.value(), " has left, and is there"));
  }

  absl::flat_hash_map<JobId, Job> jobs_;
  absl::flat_hash_set<WorkerId> workers_;
  absl::flat_hash_set<std::string> incarnations_;
};

}  // namespace

absl::Status CheckRecovered(const Recovered& recovered) { return Checker().Check(recovered); }

}  // namespace haul::coordinator
