// Inputs on their way: from a submit to the store, and from there to the worker that gets the
// tasks.
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/time.h"
#include "coordinator/loop/loop.h"

namespace haul::coordinator {

absl::Status Loop::StageInputs(InputSetId set, bool is_volatile, TaskIndex first,
                               PackedBytes values) {
  if (is_volatile) {
    if (absl::Status room = CheckInputRoom(values); !room.ok()) return room;
    return memory_.Commit({AppendInputs{set, first, std::move(values)}});
  }
  input_cache_.Add(set, first, values);
  writes_.push_back(AppendInputs{set, first, std::move(values)});
  return absl::OkStatus();
}

void Loop::DropInputs(InputSetId set, bool is_volatile) {
  if (is_volatile) {
    const absl::Status dropped = memory_.Commit({::haul::coordinator::DropInputs{set}});
    if (!dropped.ok()) failure_ = dropped;
    return;
  }
  input_cache_.Drop(set);
  writes_.push_back(::haul::coordinator::DropInputs{set});
}

// Of an open job, which has these tasks already.
void Loop::AddInputs(const JobExtended& extended, PackedBytes values) {
  const JobSpec& spec = core_->state().FindJob(extended.job)->facts.spec;
  const TaskIndex first = spec.task_count - extended.count;
  HAUL_CHECK(values.count() == extended.count);
  if (spec.is_volatile) {
    memory_writes_.emplace_back(AppendInputs{spec.input_set, first, std::move(values)});
    return;
  }
  input_cache_.Add(spec.input_set, first, values);
  writes_.emplace_back(AppendInputs{spec.input_set, first, std::move(values)});
}

SessionQueue::Item Loop::WithInputs(SessionId session, Effect effect) {
  SessionQueue::Item item{.effect = std::move(effect)};
  const auto* send = std::get_if<SendAssignment>(&item.effect.what);
  if (send == nullptr) return item;
  if (send->with_spec) item.job_template = templates_.at(send->job);
  const JobSpec& spec = core_->state().FindJob(send->job)->facts.spec;
  if (spec.input_set.is_none()) return item;
  if (std::optional<PackedBytes> cached = input_cache_.Find(spec.input_set, send->tasks)) {
    item.inputs = *std::move(cached);
    return item;
  }
  if (spec.is_volatile) {
    absl::StatusOr<PackedBytes> inputs = memory_reader_->ReadInputs(spec.input_set, send->tasks);
    HAUL_CHECK(inputs.ok());
    item.inputs = *std::move(inputs);
    return item;
  }
  item.inputs_ready = false;
  // They are on the disk no later than what the effect rests on.
  waiting_.emplace(item.effect.rests_on,
                   [this, session, id = send->id, set = spec.input_set, tasks = send->tasks] {
                     ReadInputs(session, id, set, tasks);
                   });
  return item;
}

void Loop::ReadInputs(SessionId session, AssignmentId assignment, InputSetId set, TaskRange tasks) {
  const bool taken =
      read_thread_->TryRun([this, set, tasks, session, assignment]() -> SideThread::Continuation {
        return [this, session, assignment, inputs = reader_->ReadInputs(set, tasks)]() mutable {
          // Inputs that were acknowledged and cannot be read mean a broken database.
          if (!inputs.ok()) {
            failure_ = absl::Status(
                inputs.status().code(),
                absl::StrCat("cannot read the inputs of a job: ", inputs.status().message()));
            return;
          }
          const auto it = sessions_.find(session);
          if (it != sessions_.end()) it->second.queue.InputsRead(assignment, *std::move(inputs));
        };
      });
  if (taken) return;
  RunAt(ReadClocks().monotonic_us + options_.tick_ms * 1000,
        [this, session, assignment, set, tasks] { ReadInputs(session, assignment, set, tasks); });
}

}  // namespace haul::coordinator
