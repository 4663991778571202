// haul-executor: loads libraries of functions and runs them on its threads, for a worker that
// speaks to it over descriptor 3 (proto/haul/v1/executor.proto). User code runs in this process,
// and ends it when it crashes.
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/utf8.h"
#include "haul/v1/executor.pb.h"
#include "worker/executor/crash_marks.h"
#include "worker/executor/frame.h"
#include "worker/executor/library.h"
#include "worker/executor/outbox.h"
#include "worker/executor/pool.h"
#include "worker/executor/slots.h"

namespace haul::executor {
namespace {

constexpr int kTickMs = 20;

struct Arguments {
  PoolOptions pool;
  std::vector<std::string> libraries;
};

[[noreturn]] void Usage(const std::string& why) {
  std::fprintf(stderr,
               "haul-executor: %s\n"
               "usage: haul-executor --threads T --results DIR [--thread-limit N] "
               "[--result-limit BYTES] --library LIB...\n"
               "A worker starts it; it is of no use by hand.\n",
               why.c_str());
  std::exit(2);
}

std::uint64_t Number(const std::string& option, const char* text, std::uint64_t limit) {
  const std::string_view view(text);
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(view.data(), view.data() + view.size(), value);
  if (error != std::errc() || end != view.data() + view.size() || value == 0 || value > limit) {
    Usage(absl::StrCat(option, ": '", text, "', write a number from 1 to ", limit));
  }
  return value;
}

Arguments ParseArguments(int argc, char** argv) {
  static const option kOptions[] = {{"threads", required_argument, nullptr, 't'},
                                    {"thread-limit", required_argument, nullptr, 'n'},
                                    {"result-limit", required_argument, nullptr, 'r'},
                                    {"results", required_argument, nullptr, 'd'},
                                    {"library", required_argument, nullptr, 'l'},
                                    {nullptr, 0, nullptr, 0}};
  Arguments arguments;
  int chosen = 0;
  while ((chosen = ::getopt_long(argc, argv, "", kOptions, nullptr)) != -1) {
    if (chosen == 't') {
      arguments.pool.threads = static_cast<std::uint32_t>(Number("--threads", optarg, kSlotLimit));
    } else if (chosen == 'n') {
      arguments.pool.thread_limit =
          static_cast<std::uint32_t>(Number("--thread-limit", optarg, kSlotLimit));
    } else if (chosen == 'r') {
      arguments.pool.results.bytes = Number("--result-limit", optarg, std::uint64_t{1} << 40);
    } else if (chosen == 'd') {
      arguments.pool.results.directory = optarg;
    } else if (chosen == 'l') {
      arguments.libraries.emplace_back(optarg);
    } else {
      Usage("unknown option");
    }
  }
  if (optind != argc) Usage("unexpected argument");
  if (arguments.pool.results.directory.empty()) Usage("--results is missing");
  return arguments;
}

// A terminal's Ctrl-C and a service manager's SIGTERM are for the worker, which decides when this
// ends. Handlers rather than SIG_IGN: programs that functions start shall not inherit it.
void IgnoreSignals() {
  struct sigaction action {};
  action.sa_handler = [](int) {};
  action.sa_flags = SA_RESTART;
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGPIPE}) ::sigaction(signal, &action, nullptr);
}

v1::Ready LoadLibraries(const std::vector<std::string>& paths, FunctionTable* functions) {
  v1::Ready ready;
  ready.set_protocol(1);
  ready.set_pid(static_cast<std::uint32_t>(::getpid()));
  for (const std::string& path : paths) {
    const absl::Status status = functions->Load(path);
    if (status.ok()) continue;
    ready.set_error(ToUtf8(std::string(status.message())));
    return ready;
  }
  for (const auto& [name, function] : functions->functions()) {
    v1::FunctionInfo* info = ready.add_functions();
    info->set_name(name);
    info->set_signature(function.signature_text);
    info->set_library(ToUtf8(function.library));
  }
  return ready;
}

// The worker has gone, or ends this: user code gets no say in it.
[[noreturn]] void Leave() { ::_exit(0); }

void Handle(v1::ToExecutor& message, Pool& pool) {
  for (v1::Run& run : *message.mutable_runs()) pool.Run(std::move(run));
  for (const v1::Reclaim& reclaim : message.reclaims()) {
    pool.Reclaim(AssignmentId(reclaim.assignment_id()), reclaim.count());
  }
  for (const v1::StopTasks& stop : message.stops()) {
    const AssignmentId assignment(stop.assignment_id());
    if (stop.count() > 0) {
      pool.StopSome(assignment, {stop.first(), stop.count()},
                    stop.timed_out() ? StopReason::kTimedOut : StopReason::kCancelled);
    } else {
      pool.StopTasks(assignment);
    }
  }
  for (v1::ChildAnswer& answer : *message.mutable_answers()) {
    pool.calls().OnAnswer(std::move(answer));
  }
  for (const v1::TaskRef& task : message.resumed()) {
    pool.calls().OnResumed(AssignmentId(task.assignment_id()), task.task());
  }
}

[[noreturn]] void Serve(Pool& pool, Outbox& outbox) {
  bool leaving = false;
  v1::ToExecutor message;
  while (true) {
    const bool idle = pool.IsIdle();
    if (idle && leaving) {
      outbox.WaitUntilWritten();
      Leave();
    }
    pollfd control{kControlFd, POLLIN, 0};
    const int ready = ::poll(&control, 1, idle ? -1 : kTickMs);
    if (ready > 0) {
      const absl::Status status = ReadFrame(kControlFd, &message);
      if (!status.ok()) Leave();
      Handle(message, pool);
      leaving = leaving || message.leave();
    }
    if (!idle) pool.Tick();
  }
}

int Main(int argc, char** argv) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  // Programs that functions start have no part in this conversation.
  for (const int fd : {kControlFd, kSlotsFd}) ::fcntl(fd, F_SETFD, FD_CLOEXEC);
  const Arguments arguments = ParseArguments(argc, argv);
  absl::StatusOr<Slots> slots = Slots::Map(kSlotsFd);
  if (!slots.ok()) Usage(std::string(slots.status().message()));
  IgnoreSignals();
  // What functions print goes to the worker's stderr, line by line: the end of this process flushes
  // nothing.
  std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);

  FunctionTable functions;
  v1::FromExecutor first;
  *first.mutable_ready() = LoadLibraries(arguments.libraries, &functions);
  InstallCrashMarks();
  if (!WriteFrame(kControlFd, first).ok()) Leave();
  if (!first.ready().error().empty()) return 1;

  Outbox outbox([](const v1::FromExecutor& frame) {
    if (!WriteFrame(kControlFd, frame).ok()) Leave();
  });
  Pool pool(arguments.pool, &functions, &*slots, &outbox);
  Serve(pool, outbox);
}

}  // namespace
}  // namespace haul::executor

int main(int argc, char** argv) { return haul::executor::Main(argc, argv); }
