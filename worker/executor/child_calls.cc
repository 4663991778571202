#include "worker/executor/child_calls.h"

#include "absl/strings/str_cat.h"
#include "common/utf8.h"
#include "haul/library.h"

namespace haul::executor {

std::uint64_t ChildCalls::Submit(AssignmentId assignment, TaskIndex task, std::string_view function,
                                 std::string_view signature, std::string_view arguments) {
  std::uint64_t number = 0;
  {
    MutexLock lock(&mutex_);
    std::shared_ptr<Caller>& caller = callers_[{assignment, task}];
    if (caller == nullptr) caller = std::make_shared<Caller>();
    number = ++caller->last_number;
    Call& call = caller->calls[number];
    if (caller->unanswered == kMostCalls) {
      call.answer = {HAUL_ANSWER_REFUSED,
                     absl::StrCat(kMostCalls, " calls of this task have no answer yet")};
      return number;
    }
    if (arguments.size() > kMostArgumentBytes) {
      call.answer = {HAUL_ANSWER_REFUSED,
                     absl::StrCat("arguments of ", arguments.size(), " bytes; the limit is ",
                                  kMostArgumentBytes)};
      return number;
    }
    if (unanswered_bytes_ + arguments.size() > kMostCallBytes) {
      call.answer = {HAUL_ANSWER_REFUSED,
                     absl::StrCat("the arguments of calls without an answer have ",
                                  unanswered_bytes_ + arguments.size(),
                                  " bytes in this process; the limit is ", kMostCallBytes)};
      return number;
    }
    ++caller->unanswered;
    unanswered_bytes_ += call.argument_bytes = arguments.size();
  }
  v1::ChildCall call;
  call.set_assignment_id(assignment.value());
  call.set_task(task);
  call.set_number(number);
  call.set_function(ToUtf8(function));
  call.set_signature(ToUtf8(signature));
  call.set_arguments(arguments.data(), arguments.size());
  outbox_.AddCall(std::move(call));
  return number;
}

ChildCalls::Answer ChildCalls::Wait(AssignmentId assignment, TaskIndex task, std::uint64_t number,
                                    const std::function<bool()>& stop_requested) {
  MutexLock lock(&mutex_);
  const auto found = callers_.find({assignment, task});
  if (found == callers_.end() || !found->second->calls.contains(number)) {
    return {HAUL_ANSWER_REFUSED,
            absl::StrCat("this task has no call ", number, " whose answer was not taken")};
  }
  const std::shared_ptr<Caller> caller = found->second;
  const auto take = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const auto call = caller->calls.find(number);
    Answer answer = *std::move(call->second.answer);
    caller->calls.erase(call);
    return answer;
  };
  Call& call = caller->calls.at(number);
  if (call.answer.has_value()) return take();
  if (stop_requested()) return {HAUL_ANSWER_STOPPED, {}};
  if (waiting_ >= waiting_limit_) {
    return {HAUL_ANSWER_BUSY,
            absl::StrCat(waiting_, " tasks of this process wait for their calls, ",
                         "which is the limit; the call itself goes on")};
  }
  ++waiting_;
  caller->resumed = false;
  // Before anybody can say that it could go on.
  mutex_.Unlock();
  outbox_.AddWaiting(assignment, task);
  mutex_.Lock();
  if (call.answer.has_value()) {
    mutex_.Unlock();
    outbox_.AddResumable(assignment, task);
    mutex_.Lock();
  } else {
    caller->waits_for = number;
  }
  while (!caller->resumed && !stop_requested()) caller->changed.Wait(&mutex_);
  caller->waits_for = 0;
  --waiting_;
  if (!caller->resumed) return {HAUL_ANSWER_STOPPED, {}};
  return take();
}

void ChildCalls::End(AssignmentId assignment, TaskIndex task) {
  MutexLock lock(&mutex_);
  const auto found = callers_.find({assignment, task});
  if (found == callers_.end()) return;
  for (const auto& [number, call] : found->second->calls) {
    if (!call.answer.has_value()) unanswered_bytes_ -= call.argument_bytes;
  }
  callers_.erase(found);
}

void ChildCalls::OnAnswer(v1::ChildAnswer answer) {
  const AssignmentId assignment(answer.assignment_id());
  {
    MutexLock lock(&mutex_);
    const auto found = callers_.find({assignment, answer.task()});
    if (found == callers_.end()) return;
    Caller& caller = *found->second;
    const auto call = caller.calls.find(answer.number());
    if (call == caller.calls.end() || call->second.answer.has_value()) return;
    call->second.answer = {static_cast<std::int32_t>(answer.status()),
                           std::move(*answer.mutable_data())};
    --caller.unanswered;
    unanswered_bytes_ -= call->second.argument_bytes;
    if (caller.waits_for != answer.number()) return;
    caller.waits_for = 0;
  }
  outbox_.AddResumable(assignment, answer.task());
}

void ChildCalls::OnResumed(AssignmentId assignment, TaskIndex task) {
  MutexLock lock(&mutex_);
  const auto found = callers_.find({assignment, task});
  if (found == callers_.end()) return;
  found->second->resumed = true;
  found->second->changed.SignalAll();
}

void ChildCalls::Wake() {
  MutexLock lock(&mutex_);
  for (const auto& [key, caller] : callers_) caller->changed.SignalAll();
}

}  // namespace haul::executor
