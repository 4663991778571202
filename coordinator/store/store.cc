#include "coordinator/store/store.h"

#include "absl/strings/str_cat.h"
#include "coordinator/store/write_checks.h"

namespace haul::coordinator {
namespace {

std::size_t Extra(const AppendInputs& write) {
  return write.values.byte_count() + write.values.end_offsets().size() * sizeof(std::uint32_t);
}
std::size_t Extra(const AddJob& write) {
  const JobSpec& spec = write.record.spec;
  return spec.name.size() + spec.owner.size() + spec.request_id.size() + spec.function.size() +
         spec.signature.size() + write.job_template.size() + spec.description.size();
}
std::size_t Extra(const AddOutcome& write) { return ByteCount(write.outcome) - sizeof(Outcome); }
std::size_t Extra(const JobCancelRequested& write) { return write.by.size(); }
std::size_t Extra(const WorkerJoined& write) {
  return write.name.size() + write.incarnation.size() + write.host.size();
}
std::size_t Extra(const WorkerLeft& write) { return write.reason.size(); }
std::size_t Extra(const DropInputs&) { return 0; }
std::size_t Extra(const AttemptsCharged&) { return 0; }
std::size_t Extra(const JobExtended&) { return 0; }
std::size_t Extra(const StartsRecorded&) { return 0; }
std::size_t Extra(const JobEnded&) { return 0; }
std::size_t Extra(const JobForgotten&) { return 0; }

std::string ToString(TaskRange tasks) {
  return absl::StrCat("[", tasks.first, ", ", EndOf(tasks), ")");
}

}  // namespace

std::size_t ByteCount(const Write& write) {
  return sizeof(Write) + std::visit([](const auto& w) { return Extra(w); }, write);
}

absl::Status CheckInputs(const AppendInputs& write) {
  if (write.set.is_none()) return absl::InternalError("inputs of no set");
  if (write.values.count() == 0) return absl::InternalError("a chunk without inputs");
  return absl::OkStatus();
}

absl::Status CheckOutcome(const AddOutcome& write) {
  const Outcome& outcome = write.outcome;
  const std::string where = absl::StrCat("the outcome of tasks ", ToString(outcome.tasks),
                                         " of job ", write.job.value(), " ");
  if (outcome.tasks.count == 0 || EndOf(outcome.tasks) == ~0ull) {
    return absl::InternalError(absl::StrCat(where, "is of no tasks"));
  }
  if (outcome.status == TaskStatus::kCrashed) {
    return absl::InternalError(absl::StrCat(where, "is not final"));
  }
  if (outcome.results.count() != 0 && outcome.results.count() != outcome.tasks.count) {
    return absl::InternalError(absl::StrCat(where, "has ", outcome.results.count(), " results"));
  }
  return absl::OkStatus();
}

absl::Status UnknownJob(JobId job) {
  return absl::InternalError(absl::StrCat("a record of job ", job.value(), ", which is not there"));
}

absl::Status UnknownWorker(WorkerId worker) {
  return absl::InternalError(
      absl::StrCat("a record of worker ", worker.value(), ", which is not there"));
}

absl::Status SecondOutcome(JobId job, TaskRange tasks, TaskRange earlier) {
  return absl::InternalError(absl::StrCat("a second outcome for tasks of job ", job.value(), ": ",
                                          ToString(tasks), " after ", ToString(earlier)));
}

absl::Status InputGap(InputSetId set, TaskIndex first, TaskIndex expected) {
  return absl::InternalError(
      absl::StrCat("inputs of set ", set.value(), " go on at ", first, ", not at ", expected));
}

}  // namespace haul::coordinator
