#include "coordinator/rpc/follow_call.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/time.h"
#include "common/wire/convert.h"
#include "coordinator/rpc/convert.h"
#include "coordinator/rpc/selector.h"

namespace haul::coordinator {
namespace {

constexpr std::int64_t kStatusIntervalUs = 100'000;

}  // namespace

void FollowCall::Start(Loop& loop, const Call::Pointer& call) {
  const absl::StatusOr<const Job*> job = FindJob(loop.core().state(), call->request().job());
  if (!job.ok()) return call->Finish(job.status());
  const std::shared_ptr<FollowCall> follow(new FollowCall(loop, call, (*job)->id));
  follow->watch_ = loop.Watch(follow->job_, [follow] {
    follow->news_ = true;
    follow->status_changed_ = true;
    follow->Pump();
  });
  follow->watching_ = true;
  const OutcomeQuery& query = follow->query_;
  follow->reads_recent_ = !(*job)->facts.spec.is_volatile && !call->request().status_only() &&
                          query.with_payload && !query.in_order && !query.unsuccessful_only &&
                          query.only == OutcomeQuery().only;
  if (follow->reads_recent_) loop.KeepRecent(follow->job_);
  call->set_on_done([follow] { follow->Finish(absl::CancelledError("the client is gone")); });
  follow->busy_ = true;
  v1::FollowReply first;
  first.set_cursor(query.cursor);
  follow->AddStatus(first);
  loop.WhenDurable([follow, first = std::move(first)] {
    follow->busy_ = false;
    follow->Write(first, false);
  });
}

FollowCall::FollowCall(Loop& loop, Call::Pointer call, JobId job)
    : loop_(loop), call_(std::move(call)), job_(job), query_(ToQuery(job, call_->request())) {}

void FollowCall::Pump() {
  if (busy_ || finished_) return;
  const Job* job = loop_.core().state().FindJob(job_);
  if (job == nullptr) return Finish(absl::NotFoundError("the job was forgotten"));
  if (job->is_ended() && !ended_durable_) {
    // Only when the end is on the disk are all outcomes to be read there.
    busy_ = true;
    return loop_.WhenDurable([self = shared_from_this()] {
      self->busy_ = false;
      self->ended_durable_ = true;
      self->Pump();
    });
  }
  if (call_->request().status_only()) {
    if (job->is_ended() || !call_->request().follow()) {
      v1::FollowReply last;
      AddStatus(last);
      return Write(last, true);
    }
    return TellStatus();
  }
  if (!news_ && !job->is_ended()) return TellStatus();
  news_ = false;
  Read();
}

void FollowCall::Read() {
  if (caught_up_) {
    if (std::optional<OutcomePage> page = loop_.ReadRecent(query_)) return OnPage(*std::move(page));
    caught_up_ = false;
  }
  busy_ = true;
  const bool may_catch_up = reads_recent_ && loop_.RecentFollowsStore(job_);
  loop_.ReadOutcomes(query_,
                     [self = shared_from_this(), may_catch_up](absl::StatusOr<OutcomePage> page) {
                       self->busy_ = false;
                       self->caught_up_ = may_catch_up && page.ok() && page->complete;
                       self->OnPage(std::move(page));
                     });
}

void FollowCall::OnPage(absl::StatusOr<OutcomePage> page) {
  if (finished_) return;
  if (!page.ok()) return Finish(page.status());
  const Job* job = loop_.core().state().FindJob(job_);
  if (job == nullptr) return Finish(absl::NotFoundError("the job was forgotten"));
  if (!page->complete) news_ = true;
  query_.cursor = page->next_cursor;
  // That it has ended is told when that is on the disk, which Pump waits for.
  const bool end_is_ahead = job->is_ended() && !ended_durable_;
  const bool all_sent =
      page->complete && !end_is_ahead && (ended_durable_ || !call_->request().follow());
  if (page->entries.empty() && !all_sent) return Pump();
  v1::FollowReply reply;
  reply.set_cursor(page->next_cursor);
  for (OutcomePage::Entry& entry : page->entries) {
    const WorkerId worker_id = entry.outcome.worker;
    v1::Outcome& outcome = *reply.add_outcomes();
    wire::ToWire(std::move(entry.outcome), &outcome);
    outcome.set_sequence(entry.sequence);
    outcome.set_queued_unix_us(job->facts.accepted_unix_us);
    if (const WorkerJoined* worker = loop_.WorkerOnceKnown(worker_id)) {
      outcome.set_worker_name(worker->name);
      outcome.set_host(worker->host);
    }
  }
  const bool is_due = ReadClocks().monotonic_us - status_sent_us_ >= kStatusIntervalUs;
  if (all_sent || (is_due && !end_is_ahead)) AddStatus(reply);
  Write(reply, all_sent);
}

void FollowCall::Write(const v1::FollowReply& reply, bool last) {
  if (finished_) return;
  busy_ = true;
  call_->Write(reply, [self = shared_from_this(), last](bool ok) {
    self->busy_ = false;
    if (!ok) return self->Finish(absl::CancelledError("the client is gone"));
    if (last) return self->Finish(absl::OkStatus());
    self->Pump();
  });
}

void FollowCall::AddStatus(v1::FollowReply& reply) {
  const Job* job = loop_.core().state().FindJob(job_);
  if (job == nullptr) return;
  status_sent_us_ = ReadClocks().monotonic_us;
  status_changed_ = false;
  *reply.mutable_status() = ToWire(loop_.core().state(), *job);
}

void FollowCall::TellStatus() {
  if (!status_changed_) return;
  const std::int64_t due_us = status_sent_us_ + kStatusIntervalUs;
  if (ReadClocks().monotonic_us >= due_us) {
    v1::FollowReply reply;
    reply.set_cursor(query_.cursor);
    AddStatus(reply);
    return Write(reply, false);
  }
  if (std::exchange(timer_, true)) return;
  loop_.RunAt(due_us, [self = shared_from_this()] {
    self->timer_ = false;
    self->Pump();
  });
}

void FollowCall::Finish(const absl::Status& status) {
  if (std::exchange(finished_, true)) return;
  if (std::exchange(watching_, false)) {
    loop_.Unwatch(job_, watch_);
    if (reads_recent_) loop_.ReleaseRecent(job_);
  }
  call_->set_on_done(nullptr);
  if (!call_->over()) call_->Finish(status);
}

}  // namespace haul::coordinator
