#include "coordinator/core/schedule.h"

#include <algorithm>
#include <utility>

#include "absl/container/btree_map.h"
#include "absl/strings/str_cat.h"
#include "coordinator/core/serve_line.h"

namespace haul::coordinator {
namespace {

// What a worker has free, less what this pass gave away.
struct Room {
  const Worker* worker = nullptr;
  std::uint64_t given_milli = 0;

  std::uint64_t At(std::uint32_t depth) const {
    const std::uint64_t free_milli = worker->free_milli(depth);
    return free_milli - std::min(free_milli, given_milli);
  }
  bool empty() const { return At(~0u) == 0; }
};

class Pass {
 public:
  Pass(const State& state, const ScheduleOptions& options, Now now)
      : state_(state), options_(options), now_(now), line_(state) {}

  Plan Run() {
    // Room that nobody could want is not looked at: there may be a thousand idle workers.
    if (line_.size() > 0 || !state_.backlogged_lanes().empty()) {
      for (const WorkerId id : state_.roomy_workers()) {
        room_.emplace_hint(room_.end(), id, Room{.worker = state_.FindWorker(id)});
      }
    }
    ReserveForThoseAlone();
    FillRoom();
    FeedLanes();
    AskBackForIdle();
    AskBackMisjudged();
    return std::move(plan_);
  }

 private:
  // Gives free room to jobs, the least served first.
  void FillRoom() {
    while (!room_.empty()) {
      Candidate* const best = line_.Next();
      if (best == nullptr) break;
      if (Place(*best, line_.size())) {
        line_.PutBack(*best);
      } else {
        OnNoRoom(*best->job);
        line_.Drop(*best);
      }
    }
    // Where every cpu is taken for good, by lanes that are kept filled, the first in line is
    // blocked too.
    while (!has_blocked_) {
      const Candidate* const first = line_.Next();
      if (first == nullptr || first->running > 0) break;
      OnNoRoom(*first->job);
      line_.Drop(*first);
    }
  }

  // One grant of room at one worker. False where nothing fits.
  bool Place(Candidate& candidate, std::size_t others) {
    if (candidate.ready_alone == 0) return PlaceBeside(candidate, false, others);
    if (!candidate.job->alone_on_worker()) return PlaceBeside(candidate, true, others);
    if (PlaceOnIdle(candidate)) return true;
    // Until a worker is idle, the rest of the job goes on.
    OnNoneIdle(*candidate.job);
    return candidate.ready > 0 && PlaceBeside(candidate, false, others);
  }

  bool PlaceBeside(Candidate& candidate, bool alone, std::size_t others) {
    const Job& job = *candidate.job;
    const std::uint32_t cpus = candidate.cpus_milli();
    const Worker* chosen = nullptr;
    std::uint64_t chosen_room = 0;
    std::uint64_t fitting = 0;
    for (const auto& [id, room] : room_) {
      const std::uint64_t free_milli = room.At(candidate.depth());
      if (free_milli < cpus || IsKeptFrom(id, job, alone) || !IsEligible(*room.worker, job))
        continue;
      ++fitting;
      if (chosen == nullptr || free_milli > chosen_room) {
        chosen = room.worker;
        chosen_room = free_milli;
      }
    }
    if (chosen == nullptr) return false;
    std::uint64_t slots = chosen_room / cpus;
    if (others > 0) slots = std::max<std::uint64_t>(1, slots / (2 * others + 2));
    // Few tasks are spread over the workers rather than put on one.
    const std::uint64_t share = (candidate.Wants() + fitting - 1) / fitting;
    slots = alone ? 1 : std::min({slots, share, candidate.Wants(), candidate.ready, kMaxWidth});
    Grant(candidate, *chosen, alone, slots);
    auto room = room_.find(chosen->id);
    room->second.given_milli += slots * cpus;
    if (room->second.empty()) room_.erase(room);
    return true;
  }

  // One task for a worker that has nothing, and gets nothing else.
  bool PlaceOnIdle(Candidate& candidate) {
    const auto idle = std::find_if(room_.begin(), room_.end(), [&](const auto& entry) {
      const Worker& worker = *entry.second.worker;
      return worker.assigned_tasks == 0 && entry.second.given_milli == 0 &&
             !IsKeptFrom(entry.first, *candidate.job, /*alone=*/true) &&
             IsEligible(worker, *candidate.job);
    });
    if (idle == room_.end()) return false;
    Grant(candidate, *state_.FindWorker(idle->first), true, 1);
    room_.erase(idle);
    return true;
  }

  void Grant(Candidate& candidate, const Worker& worker, bool alone, std::uint64_t slots) {
    const Job& job = *candidate.job;
    (alone ? candidate.ready_alone : candidate.ready) -= slots;
    candidate.running += slots;
    granted_[{worker.id, LaneKey{job.id, alone}}] += slots;
    newly_running_[job.id] += slots;
    if (job.blocked_since_us != 0 && unblocked_.insert(job.id).second) {
      plan_.blocked.push_back({job.id, 0});
    }
    if (alone && candidate.ready_alone == 0 && job.alone_blocked_since_us != 0) {
      plan_.blocked.push_back({job.id, 0, /*alone=*/true});
    }
  }

  // The first in line that fits nowhere: after a while a worker that could run it is kept free for
  // it.
  void OnNoRoom(const Job& job) {
    if (has_blocked_ || unblocked_.contains(job.id)) return;
    const Worker* const best = RoomiestFor(job);
    if (best == nullptr) return;  // nobody ever: that keeps no room from others
    has_blocked_ = true;
    if (job.blocked_since_us == 0) {
      plan_.blocked.push_back({job.id, now_.monotonic_us});
    } else if (IsLongAgo(job.blocked_since_us)) {
      Reserve(*best, job, /*alone=*/false);
    }
  }

  // Tasks that want a whole worker, while other tasks of their job may go on.
  void OnNoneIdle(const Job& job) {
    if (job.alone_blocked_since_us == 0 && alone_noted_.insert(job.id).second) {
      plan_.blocked.push_back({job.id, now_.monotonic_us, /*alone=*/true});
    }
  }
  // The first of those that have waited for a while, wherever it stands in line: none would ever be
  // idle while there is enough to do.
  void ReserveForThoseAlone() {
    for (const ServeOrder& order : state_.ready_jobs().apart()) {
      const Job& job = *state_.FindJob(order.job);
      if (job.ready_alone.empty() || !job.alone_on_worker()) continue;
      if (job.alone_blocked_since_us == 0 || !IsLongAgo(job.alone_blocked_since_us)) continue;
      const Worker* const best = RoomiestFor(job);
      if (best == nullptr) continue;
      has_blocked_ = true;
      return Reserve(*best, job, /*alone=*/true);
    }
  }

  const Worker* RoomiestFor(const Job& job) const {
    const std::uint32_t depth = job.facts.spec.depth;
    const Worker* best = nullptr;
    for (const auto& [id, worker] : state_.workers()) {
      if (!worker.takes_work() || !IsEligible(worker, job)) continue;
      if (best == nullptr || worker.free_milli(depth) > best->free_milli(depth)) best = &worker;
    }
    return best;
  }
  bool IsLongAgo(std::int64_t since_us) const {
    return now_.monotonic_us - since_us >= options_.reserve_after_ms * 1000;
  }
  void Reserve(const Worker& worker, const Job& job, bool alone) {
    reserved_worker_ = worker.id;
    reserved_job_ = &job;
    reserved_alone_ = alone;
  }

  // Not for deeper ones: what blocks its cpus may wait for them. `alone`: the job's tasks that want
  // a whole worker.
  bool IsKeptFrom(WorkerId worker, const Job& job, bool alone) const {
    if (worker != reserved_worker_) return false;
    if (&job == reserved_job_) return reserved_alone_ && !alone;
    const JobSpec& theirs = reserved_job_->facts.spec;
    return job.facts.spec.priority <= theirs.priority && job.facts.spec.depth <= theirs.depth;
  }

  // Turns grants into tasks, and tops up lanes that run low.
  void FeedLanes() {
    for (const auto& [place, slots] : granted_) {
      const Worker& worker = *state_.FindWorker(place.first);
      const auto lane = worker.lanes.find(place.second);
      const std::uint64_t running = lane == worker.lanes.end() ? 0 : lane->second.running_width();
      const std::uint64_t outstanding = lane == worker.lanes.end() ? 0 : lane->second.outstanding;
      FeedLane(place.first, place.second, running + slots, outstanding, slots);
    }
    for (const auto& place : state_.hungry_lanes()) {
      if (granted_.contains(place) || place.second.alone) continue;
      const Worker& worker = *state_.FindWorker(place.first);
      const Job& job = *state_.FindJob(place.second.job);
      if (!IsEligible(worker, job) || job.ready.empty() || state_.WaitsForAdoption(job)) continue;
      if (job.runs_too_many()) continue;  // until lanes ran dry
      const Lane& lane = worker.lanes.find(place.second)->second;
      const auto width = static_cast<std::uint32_t>(lane.running_width());
      if (lane.backlog() > BacklogTarget(state_, job, width, options_) / 2) continue;
      if (IsDenied(worker, job)) continue;
      FeedLane(place.first, place.second, width, lane.outstanding, 0);
    }
  }

  bool IsDenied(const Worker& worker, const Job& job) const {
    return IsKeptFrom(worker.id, job, /*alone=*/false) || line_.IsOutranked(job, worker);
  }

  void FeedLane(WorkerId worker, const LaneKey& key, std::uint64_t width, std::uint64_t outstanding,
                std::uint64_t at_least) {
    const Job& job = *state_.FindJob(key.job);
    std::uint64_t& taken = taken_[key];
    const std::uint64_t all = key.alone ? job.ready_alone.size() : job.ready.size();
    const std::uint64_t left = all - std::min(all, taken);
    std::uint64_t count = at_least;
    if (!key.alone) {
      const auto lane_width = static_cast<std::uint32_t>(width);
      std::uint64_t backlog = BacklogTarget(state_, job, lane_width, options_);
      if (state_.workers().size() > 1) {
        backlog = std::min(backlog, left * width / (2 * RunningAfter(job)));
      }
      const std::uint64_t target = width + backlog;
      if (target > outstanding) count = std::max(count, target - outstanding);
    }
    count = std::min(count, left);
    if (count == 0) return;
    taken += count;
    plan_.feeds.push_back({.worker = worker,
                           .job = job.id,
                           .alone = key.alone,
                           .width = static_cast<std::uint32_t>(width),
                           .count = count,
                           .on_trust = count > at_least && job.mean_task_ns == 0});
  }

  // With what this pass gave it. Never 0 for a job of which a lane is fed.
  std::uint64_t RunningAfter(const Job& job) const {
    const auto granted = newly_running_.find(job.id);
    return job.running_width + (granted == newly_running_.end() ? 0 : granted->second);
  }

  // A lane of which something could be asked back, and what waits in it is worth.
  struct Waiting {
    std::int64_t backlog_ns = 0;
    WorkerId worker;
    bool alone = false;
    const Job* job = nullptr;
    const Lane* lane = nullptr;
  };
  // The most first.
  std::vector<Waiting> WorthAskingBack() const {
    std::vector<Waiting> waiting;
    for (const auto& [worker_id, key] : state_.backlogged_lanes()) {
      const Worker& worker = *state_.FindWorker(worker_id);
      const Job& job = *state_.FindJob(key.job);
      if (!worker.connected() || job.has_ready() || job.facts.cancel || !MayRunMore(job)) continue;
      const Lane& lane = worker.lanes.find(key)->second;
      const auto backlog_ns =
          static_cast<std::int64_t>(lane.backlog() * job.mean_task_ns / std::max(lane.width, 1u));
      if (backlog_ns <= options_.revoke_above_ms * 1'000'000) continue;
      if (LastAssignment(lane).revoke_asked) continue;
      waiting.push_back({backlog_ns, worker_id, key.alone, &job, &lane});
    }
    std::stable_sort(waiting.begin(), waiting.end(), [](const Waiting& a, const Waiting& b) {
      return a.backlog_ns > b.backlog_ns;
    });
    return waiting;
  }

  // Room that nobody took gets part of what waits elsewhere, or behind few of its job at the same
  // worker: what comes back is given anew, and wider.
  void AskBackForIdle() {
    if (room_.empty() || state_.backlogged_lanes().empty()) return;
    std::vector<Waiting> waiting = WorthAskingBack();
    for (auto room = room_.begin(); room != room_.end() && !waiting.empty(); ++room) {
      const auto best = std::find_if(waiting.begin(), waiting.end(), [&](const Waiting& one) {
        const JobSpec& spec = one.job->facts.spec;
        return room->second.At(spec.depth) >= spec.cpus_milli &&
               !(one.worker == room->first && one.alone) &&
               !IsKeptFrom(room->first, *one.job, one.alone) &&
               IsEligible(*room->second.worker, *one.job);
      });
      if (best == waiting.end()) continue;
      plan_.ask_back.push_back({LastAssignment(*best->lane).id, (best->lane->backlog() + 1) / 2});
      asked_.insert(LastAssignment(*best->lane).id);
      waiting.erase(best);
    }
  }

  // Nothing of it has ended as soon as expected: what waits may go where there is room, one by one.
  void AskBackMisjudged() {
    for (const auto& [given_us, id] : state_.on_trust()) {
      if (now_.monotonic_us - given_us < options_.trust_ms * 1000) break;
      const Assignment& assignment = *state_.FindAssignment(id);
      if (assignment.revoke_asked || asked_.contains(id) ||
          !state_.FindWorker(assignment.worker)->connected()) {
        continue;
      }
      plan_.ask_back.push_back({id, assignment.tasks.size()});
    }
  }

  // Otherwise what comes back could only go where it was.
  bool MayRunMore(const Job& job) const {
    const std::uint32_t limit = job.facts.spec.max_running;
    return (limit == 0 || job.running_width < limit) && !state_.WaitsForAdoption(job);
  }

  const Assignment& LastAssignment(const Lane& lane) const {
    return *state_.FindAssignment(*lane.assignments.rbegin());
  }

  static constexpr std::uint64_t kMaxWidth = 65'535;

  const State& state_;
  const ScheduleOptions& options_;
  const Now now_;
  Plan plan_;
  ServeLine line_;
  absl::btree_map<WorkerId, Room> room_;  // where there is any
  absl::btree_map<std::pair<WorkerId, LaneKey>, std::uint64_t> granted_;
  absl::btree_map<JobId, std::uint64_t> newly_running_;
  absl::btree_map<LaneKey, std::uint64_t> taken_;
  absl::btree_set<AssignmentId> asked_;
  absl::btree_set<JobId> unblocked_;
  absl::btree_set<JobId> alone_noted_;
  bool has_blocked_ = false;
  WorkerId reserved_worker_;
  const Job* reserved_job_ = nullptr;
  bool reserved_alone_ = false;  // for those of its tasks that want a whole worker
};

bool Serves(const WorkerProfile& profile, const JobSpec& spec) {
  if (spec.kind == WorkKind::kCommand) return true;
  return std::any_of(
      profile.functions.begin(), profile.functions.end(), [&](const ServedFunction& function) {
        return function.name == spec.function && function.signature == spec.signature;
      });
}

}  // namespace

Plan Schedule(const State& state, const ScheduleOptions& options, Now now) {
  return Pass(state, options, now).Run();
}

std::uint64_t BacklogTarget(const State& state, const Job& job, std::uint32_t width,
                            const ScheduleOptions& options) {
  const std::uint64_t expected_ns = state.ExpectedTaskNs(job);
  if (expected_ns == 0 || job.facts.spec.at_most_once) return 0;
  auto target_ns = static_cast<std::uint64_t>(options.backlog_target_ms) * 1'000'000 * width;
  if (job.mean_task_ns == 0) target_ns /= options.trusted_part;
  std::uint64_t tasks = (target_ns + expected_ns / 2) / expected_ns;
  tasks = std::min(tasks, options.max_backlog_tasks);
  return std::min(tasks, job.facts.input_sizes.TasksWithin(job.ready.First(1).first,
                                                           options.max_backlog_input_bytes));
}

bool IsEligible(const Worker& worker, const Job& job) {
  return worker.takes_work() && worker.profile.cpus_milli >= job.facts.spec.cpus_milli &&
         !job.refused_by.contains(worker.id) && Serves(worker.profile, job.facts.spec);
}

std::string WaitingReason(const State& state, const Job& job) {
  if (job.is_ended()) return "";
  if (!job.has_ready()) {
    const bool waits_for_more = job.facts.open && job.assigned_tasks == 0;
    return waits_for_more ? "it is open, and waits for more tasks" : "";
  }
  if (state.WaitsForAdoption(job)) {
    return "the coordinator restarted and waits for the workers it knew";
  }
  const JobSpec& spec = job.facts.spec;
  if (spec.max_running > 0 && job.running_width >= spec.max_running) {
    return absl::StrCat("as many run as --max-running allows: ", spec.max_running);
  }
  std::uint64_t takes_work = 0, serves = 0, has_directory = 0, fits = 0, largest_milli = 0;
  for (const auto& [id, worker] : state.workers()) {
    if (!worker.takes_work()) continue;
    ++takes_work;
    if (!Serves(worker.profile, spec)) continue;
    ++serves;
    if (job.refused_by.contains(id)) continue;
    ++has_directory;
    largest_milli = std::max(largest_milli, worker.profile.cpus_milli);
    if (worker.profile.cpus_milli >= spec.cpus_milli) ++fits;
  }
  if (takes_work == 0) return "no worker is connected that takes work";
  if (serves == 0) {
    return absl::StrCat("no worker serves the function ", spec.function, " ", spec.signature);
  }
  if (has_directory == 0) return "no worker has the job's directory";
  if (fits == 0) {
    return absl::StrCat("a task asks for ", spec.cpus_milli,
                        " thousandths of a cpu, and no worker has more than ", largest_milli);
  }
  if (job.assigned_tasks > 0) return "";
  if (job.ready.empty() && job.alone_on_worker()) {
    return "a worker died while it ran these tasks: each runs alone on a worker, once one is idle";
  }
  return "other jobs come first: all cpus of the workers that could run it are taken";
}

}  // namespace haul::coordinator
