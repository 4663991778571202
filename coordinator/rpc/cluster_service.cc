#include "coordinator/rpc/cluster_service.h"

#include <unistd.h>

#include <fstream>

#include "common/version.h"
#include "coordinator/rpc/convert.h"
#include "coordinator/rpc/selector.h"

namespace haul::coordinator {
namespace {

std::uint64_t ResidentBytes() {
  std::ifstream statm("/proc/self/statm");
  std::uint64_t total_pages = 0, resident_pages = 0;
  statm >> total_pages >> resident_pages;
  return resident_pages * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
}

}  // namespace

void ClusterService::Serve(const rpc::ServerQueue& server, const ClusterFacts& facts) {
  facts_ = facts;
  using InfoCall = Unary<v1::InfoRequest, v1::InfoReply>;
  InfoCall::Serve(server, service_, &Service::RequestInfo, [this](auto call) {
    loop_.WhenDurable([call, reply = Info()] { call->Finish(reply); });
  });
  using StopCall = Unary<v1::StopRequest, v1::StopReply>;
  StopCall::Serve(server, service_, &Service::RequestStop, [this](auto call) {
    loop_.WhenDurable([this, call] {
      call->Finish(v1::StopReply());
      stop_();
    });
  });
  ListWorkersCall::Serve(server, service_, &Service::RequestListWorkers,
                         [this](auto call) { ListWorkers(call); });
  using DrainCall = Unary<v1::DrainWorkerRequest, v1::WorkerStatus>;
  DrainCall::Serve(server, service_, &Service::RequestDrainWorker, [this](auto call) {
    AskWorker<v1::DrainWorkerRequest>(
        call, WorkerDrainAsked{.deadline_ms = call->request().deadline_ms()});
  });
  using StopWorkerCall = Unary<v1::StopWorkerRequest, v1::WorkerStatus>;
  StopWorkerCall::Serve(server, service_, &Service::RequestStopWorker, [this](auto call) {
    AskWorker<v1::StopWorkerRequest>(call, WorkerStopAsked{});
  });
  using FunctionsCall = Unary<v1::ListFunctionsRequest, v1::ListFunctionsReply>;
  FunctionsCall::Serve(server, service_, &Service::RequestListFunctions, [this](auto call) {
    v1::ListFunctionsReply reply;
    for (const auto& [function, served_by] : loop_.core().state().functions()) {
      auto& wire = *reply.add_functions();
      wire.mutable_info()->set_name(function.name);
      wire.mutable_info()->set_signature(function.signature);
      wire.mutable_info()->set_library(function.library);
      wire.set_workers(served_by.workers);
    }
    call->Finish(reply);
  });
}

v1::InfoReply ClusterService::Info() const {
  const State& state = loop_.core().state();
  v1::InfoReply reply;
  reply.set_version(std::string(kVersion));
  reply.set_epoch(loop_.core().epoch());
  reply.set_pid(static_cast<std::uint32_t>(getpid()));
  reply.set_data_directory(facts_.data_directory);
  reply.set_address(facts_.address);
  reply.set_started_unix_us(facts_.started_unix_us);
  // Every command asks for this first, so it does not look at jobs that have ended.
  std::uint64_t ready = 0;
  for (const ReadyJobs::Use& use : state.ready_jobs().by_use()) {
    const Job& job = *state.FindJob(use.job);
    ready += job.ready.size() + job.ready_alone.size();
  }
  std::uint64_t assigned = 0, connected = 0, cpus_milli = 0;
  for (const auto& [id, worker] : state.workers()) {
    assigned += worker.assigned_tasks;
    if (!worker.connected()) continue;
    ++connected;
    cpus_milli += worker.profile.cpus_milli;
  }
  reply.set_jobs_active(state.active_jobs());
  reply.set_jobs_ended(state.jobs().size() - state.active_jobs());
  reply.set_workers_connected(connected);
  reply.set_tasks_ready(ready);
  reply.set_tasks_assigned(assigned);
  reply.set_cpus_milli(cpus_milli);
  reply.set_resident_bytes(ResidentBytes());
  reply.set_adopting(state.adopting());
  return reply;
}

void ClusterService::ListWorkers(const ListWorkersCall::Pointer& call) {
  const State& state = loop_.core().state();
  v1::ListWorkersReply reply;
  if (!call->request().worker().empty()) {
    const absl::StatusOr<const Worker*> worker = FindWorker(state, call->request().worker());
    if (!worker.ok()) return call->Finish(worker.status());
    *reply.add_workers() = ToWire(state, **worker, true);
  } else {
    for (const auto& [id, worker] : state.workers())
      *reply.add_workers() = ToWire(state, worker, false);
  }
  loop_.WhenDurable([call, reply = std::move(reply)] { call->Finish(reply); });
}

template <typename Request, typename Event>
void ClusterService::AskWorker(const typename Unary<Request, v1::WorkerStatus>::Pointer& call,
                               Event event) {
  const absl::StatusOr<const Worker*> worker =
      FindWorker(loop_.core().state(), call->request().worker());
  if (!worker.ok()) return call->Finish(worker.status());
  const v1::WorkerStatus before = ToWire(loop_.core().state(), **worker, true);
  event.worker = (*worker)->id;
  event.request = loop_.NewRequest([this, call, before, id = (*worker)->id](const Answer& answer) {
    if (!answer.ok()) return call->Finish(answer.status());
    // It may have left already; then this is the last that was known of it.
    const Worker* found = loop_.core().state().FindWorker(id);
    v1::WorkerStatus reply = found == nullptr ? before : ToWire(loop_.core().state(), *found, true);
    if (found == nullptr) reply.set_state(v1::WORKER_STATE_LEFT);
    loop_.WhenDurable([call, reply = std::move(reply)] { call->Finish(reply); });
  });
  loop_.Handle(event);
}

}  // namespace haul::coordinator
