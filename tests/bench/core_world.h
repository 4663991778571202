// The coordinator's core with workers that end what they get, without wires, disks and clocks.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "coordinator/core/core.h"

namespace haul {

// So many workers of four cpus run one array job; each says once a millisecond what it did.
class CoreWorld {
 public:
  explicit CoreWorld(std::uint64_t workers) : core_(coordinator::CoreOptions(), 1) {
    Send(coordinator::ServingStarted{});
    workers_.resize(workers);
    for (std::uint64_t i = 0; i < workers; ++i) {
      coordinator::WorkerConnected hello{.session = SessionId(i + 1)};
      hello.profile.name = "w" + std::to_string(i);
      hello.profile.incarnation = hello.profile.name;
      hello.profile.cpus_milli = kCpus * 1000;
      Send(hello);
    }
  }

  // Until the job has ended; tasks take so long.
  void Run(std::uint64_t tasks, std::uint64_t task_ns) {
    coordinator::JobSpec spec;
    spec.task_count = tasks;
    Send(coordinator::JobSubmitted{coordinator::RequestId(1), spec});
    const JobId job = core_.state().jobs().begin()->first;
    while (!core_.state().FindJob(job)->is_ended()) {
      now_.monotonic_us += 1000;
      for (std::uint64_t i = 0; i < workers_.size(); ++i) Work(i, task_ns);
      Send(coordinator::TimePassed{});
    }
  }
  // So many jobs of one task are there; then as many as `more` follow, each when one has ended.
  void RunLine(std::uint64_t waiting, std::uint64_t more) {
    coordinator::JobSpec spec;
    spec.task_count = 1;
    for (std::uint64_t i = 0; i < waiting; ++i) {
      Send(coordinator::JobSubmitted{coordinator::RequestId(i + 1), spec});
    }
    constexpr std::uint64_t kTaskNs = 1'000'000;
    for (std::uint64_t ended = 0; ended < more; ended += kCpus) {
      now_.monotonic_us += 1000;
      for (std::uint64_t i = 0; i < kCpus; ++i) {
        Send(coordinator::JobSubmitted{coordinator::RequestId(waiting + ended + i + 1), spec});
      }
      Work(0, kTaskNs);
      Send(coordinator::TimePassed{});
    }
  }
  std::uint64_t messages() const { return messages_; }

 private:
  static constexpr std::uint64_t kCpus = 4;
  struct Worker {
    std::deque<coordinator::SendAssignment> assignments;
    std::uint64_t carried_ns = 0;  // cpu time towards the next task
  };

  void Work(std::uint64_t index, std::uint64_t task_ns) {
    Worker& worker = workers_[index];
    worker.carried_ns += kCpus * 1'000'000;
    std::uint64_t can = worker.carried_ns / task_ns;
    while (!worker.assignments.empty() && can > 0) {
      coordinator::SendAssignment& assignment = worker.assignments.front();
      const std::uint64_t count = std::min(can, assignment.tasks.count);
      coordinator::TasksFinished finished{.session = SessionId(index + 1),
                                          .batch_sequence = ++messages_,
                                          .assignment = assignment.id,
                                          .job = assignment.job};
      finished.outcomes.push_back(
          {.tasks = {assignment.tasks.first, count}, .busy_ns = count * task_ns});
      can -= count;
      worker.carried_ns -= count * task_ns;
      assignment.tasks.first += count;
      assignment.tasks.count -= count;
      if (assignment.tasks.count == 0) worker.assignments.pop_front();
      Send(finished);
    }
    if (worker.assignments.empty()) worker.carried_ns = 0;
  }

  void Send(const coordinator::Event& event) {
    for (coordinator::Effect& effect : core_.Step(event, now_).effects) {
      auto* assignment = std::get_if<coordinator::SendAssignment>(&effect.what);
      if (assignment == nullptr) continue;
      workers_[assignment->session.value() - 1].assignments.push_back(std::move(*assignment));
    }
  }

  coordinator::Core core_;
  Now now_{1'000'000, 1'700'000'000'000'000};
  std::vector<Worker> workers_;
  std::uint64_t messages_ = 0;
};

}  // namespace haul
