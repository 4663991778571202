#include "worker/executor/crash_marks.h"

#include <stdlib.h>
#include <unistd.h>

#include "common/check.h"

namespace haul::executor {
namespace {

constexpr std::size_t kStackBytes = 64u << 10;

// A plain pointer in the program's own TLS: safe to read in a signal handler.
thread_local Slot* slot_of_thread = nullptr;

// What a function forks has these handlers too, and shares the slots: its end is not the
// executor's.
pid_t executor_pid = 0;

// The slot of the thread that ends this executor; null where nobody is to be named.
Slot* SlotToMark() {
  Slot* const slot = slot_of_thread;
  if (slot == nullptr || ::getpid() != executor_pid) return nullptr;
  const bool is_running = slot->state.load(std::memory_order_relaxed) ==
                          static_cast<std::uint32_t>(SlotState::kRunning);
  return is_running ? slot : nullptr;
}

// Only what may be called in a signal handler.
void OnSignal(int signal, siginfo_t* info, void*) {
  // Sent by another process, it is nobody's fault here.
  const bool sent = info->si_code == SI_USER && info->si_pid != ::getpid();
  Slot* const slot = sent ? nullptr : SlotToMark();
  if (slot != nullptr) {
    slot->signal.store(signal, std::memory_order_relaxed);
    slot->state.store(static_cast<std::uint32_t>(SlotState::kSignalled), std::memory_order_release);
  }
  // The disposition is the default again (SA_RESETHAND); the signal waits until this returns.
  ::raise(signal);
}

void OnExit(int status, void*) {
  Slot* const slot = SlotToMark();
  if (slot != nullptr) {
    slot->state.store(static_cast<std::uint32_t>(SlotState::kExiting), std::memory_order_release);
  }
  ::_exit(status);
}

}  // namespace

void InstallCrashMarks() {
  executor_pid = ::getpid();
  struct sigaction action {};
  action.sa_sigaction = &OnSignal;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | static_cast<int>(SA_RESETHAND);
  ::sigemptyset(&action.sa_mask);
  for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT}) {
    HAUL_CHECK(::sigaction(signal, &action, nullptr) == 0);
  }
  HAUL_CHECK(::on_exit(&OnExit, nullptr) == 0);
}

CrashMarksOfThread::CrashMarksOfThread(Slot* slot)
    : stack_(std::make_unique<std::byte[]>(kStackBytes)) {
  slot_of_thread = slot;
  stack_t stack{};
  stack.ss_sp = stack_.get();
  stack.ss_size = kStackBytes;
  HAUL_CHECK(::sigaltstack(&stack, &previous_) == 0);
}

CrashMarksOfThread::~CrashMarksOfThread() {
  // A sanitizer has a stack of its own there and wants it back.
  ::sigaltstack(&previous_, nullptr);
  slot_of_thread = nullptr;
}

}  // namespace haul::executor
