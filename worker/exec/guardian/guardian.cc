// haul-guardian: the parent of a worker, and of whatever is left of it when it dies.
//
//   haul-guardian [--reporter PROGRAM [ARG...]] --- PROGRAM [ARG...]
//
// Starts PROGRAM, the worker proper, with HAUL_INCARNATION (128 random bits in hex) and
// HAUL_GUARDIAN_PID in its environment, passes SIGTERM, SIGINT, SIGHUP and SIGQUIT on to it, and
// waits. When it has ended, kills its descendants until none is left; then, if it did not end with
// status 0, runs the reporter with
// "--incarnation HEX --cause TEXT" appended, again for some seconds until that ends with status 0.
// Ends with the worker's status, or 128 and the signal.
//
// Tiny on purpose: it must live when everything else dies. One thread; no gRPC, protobuf or Abseil.
#include <poll.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "worker/exec/process_tree.h"
#include "worker/exec/spawn.h"

namespace haul::exec {
namespace {

constexpr int kUsageStatus = 2;
constexpr int kCannotStartStatus = 127;
constexpr std::chrono::seconds kKillLimit{60};
constexpr int kReportLimitMs = 5000;
constexpr std::array<int, 5> kReportDelaysMs = {0, 250, 500, 1000, 2000};
constexpr std::array<int, 4> kPassedOn = {SIGTERM, SIGINT, SIGHUP, SIGQUIT};

struct CommandLine {
  std::vector<std::string> reporter;  // empty: none
  std::vector<std::string> worker;
};

std::optional<CommandLine> Parse(int argc, char** argv) {
  CommandLine line;
  int i = 1;
  if (i < argc && std::string_view(argv[i]) == "--reporter") {
    for (++i; i < argc && std::string_view(argv[i]) != "---"; ++i) line.reporter.push_back(argv[i]);
    if (line.reporter.empty()) return std::nullopt;
  }
  if (i >= argc || std::string_view(argv[i]) != "---") return std::nullopt;
  for (++i; i < argc; ++i) line.worker.push_back(argv[i]);
  if (line.worker.empty()) return std::nullopt;
  return line;
}

std::string MakeIncarnation() {
  std::array<unsigned char, 16> bytes{};
  if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) return "";
  std::string hex;
  for (const unsigned char byte : bytes) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    hex += kDigits[byte >> 4];
    hex += kDigits[byte & 15];
  }
  return hex;
}

// The guardian's own, without what an outer guardian may have said.
std::vector<std::string> OwnEnvironment() {
  std::vector<std::string> environment;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string_view text = *variable;
    if (text.starts_with("HAUL_INCARNATION=") || text.starts_with("HAUL_GUARDIAN_PID=")) continue;
    environment.emplace_back(text);
  }
  return environment;
}

// The signals that it waits for, instead of being interrupted.
sigset_t BlockSignals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGCHLD);
  for (const int signal : kPassedOn) sigaddset(&set, signal);
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  // Inherited as ignored (by nohup, say) it would never come: a child must be a zombie until waited
  // for.
  std::signal(SIGCHLD, SIG_DFL);
  return set;
}

// Waits until the worker ends, reaping orphans and passing signals on; gives its wait status.
int Attend(pid_t worker, const sigset_t& signals) {
  for (;;) {
    int status = 0;
    for (pid_t pid = 0; (pid = ::waitpid(-1, &status, WNOHANG)) > 0;) {
      if (pid == worker) return status;
    }
    const int signal = ::sigwaitinfo(&signals, nullptr);
    if (signal > 0 && signal != SIGCHLD) ::kill(worker, signal);
  }
}

std::string DescribeEnd(int status) {
  if (!WIFSIGNALED(status)) return "ended with status " + std::to_string(WEXITSTATUS(status));
  const char* name = ::sigabbrev_np(WTERMSIG(status));
  return "killed by signal " + std::to_string(WTERMSIG(status)) +
         (name == nullptr ? "" : std::string(" (SIG") + name + ")");
}

bool RunReporter(const SpawnRequest& request) {
  const SpawnResult reporter = Spawn(request);
  if (!reporter.ok()) {
    std::fprintf(stderr, "haul-guardian: %s\n", DescribeFailure(request, reporter).c_str());
    return false;
  }
  pollfd ended{.fd = reporter.pidfd, .events = POLLIN, .revents = 0};
  if (::poll(&ended, 1, kReportLimitMs) == 0) ::kill(reporter.pid, SIGKILL);
  int status = 0;
  while (::waitpid(reporter.pid, &status, 0) < 0 && errno == EINTR) {
  }
  ::close(reporter.pidfd);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

// Hands in the death certificate. Being asked to end means: no further try.
void Report(const CommandLine& line, const std::string& incarnation, const std::string& cause) {
  SpawnRequest request{.arguments = line.reporter, .environment = OwnEnvironment()};
  for (const std::string& argument :
       {std::string("--incarnation"), incarnation, std::string("--cause"), cause}) {
    request.arguments.push_back(argument);
  }
  request.descriptors = {-1, 1, 2};
  sigset_t asked;
  sigemptyset(&asked);
  for (const int signal : kPassedOn) sigaddset(&asked, signal);
  for (const int delay_ms : kReportDelaysMs) {
    const timespec delay{delay_ms / 1000, (delay_ms % 1000) * 1'000'000L};
    if (delay_ms > 0 && ::sigtimedwait(&asked, nullptr, &delay) > 0) break;
    if (RunReporter(request)) return;
  }
  std::fprintf(stderr, "haul-guardian: the worker's death (%s) could not be reported\n",
               cause.c_str());
}

int Guard(const CommandLine& line) {
  if (!ChildrenAreTold()) {
    std::fprintf(stderr,
                 "haul-guardian: /proc/PID/task/PID/children cannot be read, so what tasks leave "
                 "behind could not be ended\n");
    return kCannotStartStatus;
  }
  BecomeSubreaper();
  const sigset_t signals = BlockSignals();
  const std::string incarnation = MakeIncarnation();
  if (incarnation.empty()) {
    std::fprintf(stderr, "haul-guardian: no random bits: %s\n", std::strerror(errno));
    return kCannotStartStatus;
  }
  SpawnRequest request{.arguments = line.worker, .environment = OwnEnvironment()};
  request.environment.push_back("HAUL_INCARNATION=" + incarnation);
  request.environment.push_back("HAUL_GUARDIAN_PID=" + std::to_string(::getpid()));
  request.descriptors = {0, 1, 2};
  // In a session of its own, Ctrl-C reaches the worker once: from here, and not from the terminal
  // as well. And its tasks have no terminal either, without a session for each.
  request.group = ProcessGroup::kOwnSession;
  // The worker learns of our death by itself, and then has its tasks to end.
  request.death_signal = 0;
  const SpawnResult worker = Spawn(request);
  if (!worker.ok()) {
    std::fprintf(stderr, "haul-guardian: %s\n", DescribeFailure(request, worker).c_str());
    return kCannotStartStatus;
  }
  const int status = Attend(worker.pid, signals);
  const bool nothing_left = KillChildren(/*spare=*/{}, kKillLimit);
  const int exit_status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  if (exit_status == 0) return 0;
  if (!nothing_left) {
    // A certificate would be a lie: the coordinator has to wait for the lease to run out.
    std::fprintf(stderr, "haul-guardian: processes of the dead worker cannot be killed\n");
  } else if (!line.reporter.empty()) {
    Report(line, incarnation, DescribeEnd(status));
  }
  return exit_status;
}

}  // namespace
}  // namespace haul::exec

int main(int argc, char** argv) {
  const auto line = haul::exec::Parse(argc, argv);
  if (!line) {
    std::fprintf(stderr,
                 "usage: haul-guardian [--reporter PROGRAM [ARG...]] --- PROGRAM [ARG...]\n");
    return haul::exec::kUsageStatus;
  }
  return haul::exec::Guard(*line);
}
