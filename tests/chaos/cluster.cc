#include "tests/chaos/cluster.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <iostream>
#include <iterator>
#include <sstream>
#include <thread>
#include <utility>

#include "worker/exec/process_tree.h"

namespace haul::chaos {
namespace {

std::string RequiredVariable(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr || *value == '\0') {
    throw Failure(std::string(name) + " is not set; run this by ctest");
  }
  return value;
}

std::string MakeDirectory() {
  std::string pattern = std::filesystem::temp_directory_path() / "haul-chaos-XXXXXX";
  if (::mkdtemp(pattern.data()) == nullptr) throw Failure(pattern + ": " + std::strerror(errno));
  return std::filesystem::canonical(pattern);
}

// A loopback address that this process alone uses.
std::string OwnLoopbackAddress() {
  const auto pid = static_cast<unsigned>(::getpid());
  return "127." + std::to_string(128 + (pid >> 16) % 127) + "." + std::to_string(pid >> 8 & 255) +
         "." + std::to_string(pid & 255);
}

bool StartsWithAny(std::string_view text, std::initializer_list<std::string_view> prefixes) {
  return std::any_of(prefixes.begin(), prefixes.end(),
                     [text](std::string_view prefix) { return text.starts_with(prefix); });
}

}  // namespace

Cluster::Cluster(ClusterOptions options)
    : options_(std::move(options)),
      haul_(RequiredVariable("HAUL_TEST_BIN_DIR") + "/haul"),
      directory_(MakeDirectory()),
      marker_("CHAOS_CLUSTER=" + directory_) {
  // What is left without a parent comes here, where it is seen and reaped.
  exec::BecomeSubreaper();
  std::filesystem::create_directory(data_dir());
  std::filesystem::create_directory(File("tmp"));
}

Cluster::~Cluster() {
  try {
    End();
  } catch (const Failure& failure) {
    std::cerr << "the cluster in " << directory_ << " does not end: " << failure.what()
              << std::endl;
  }
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

std::vector<std::string> Cluster::Environment(const std::vector<std::string>& further) const {
  std::vector<std::string> environment = further;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string_view text = *variable;
    // Nothing of the user's may reach the cluster, nor the cluster the user's files.
    if (StartsWithAny(text, {"HAUL_", "XDG_", "HOME=", "TMPDIR=", "CHAOS_CLUSTER="})) continue;
    environment.emplace_back(text);
  }
  environment.push_back("HAUL_DATA_DIR=" + data_dir());
  environment.push_back("HOME=" + directory_);
  environment.push_back("TMPDIR=" + File("tmp"));
  environment.push_back(marker_);
  return environment;
}

// ---- the coordinator ----

void Cluster::StartCoordinator() {
  LaunchCoordinator();
  AwaitServing();
}

void Cluster::LaunchCoordinator() {
  if (coordinator_ != nullptr && coordinator_->owned()) {
    throw Failure("the coordinator of this cluster is running already");
  }
  const std::string host = options_.host.empty() ? OwnLoopbackAddress() : options_.host;
  std::vector<std::string> arguments = {haul_,
                                        "coordinator",
                                        "start",
                                        "--data-dir",
                                        data_dir(),
                                        "--listen",
                                        address_.empty() ? host + ":0" : address_,
                                        "--lease",
                                        options_.lease};
  arguments.insert(arguments.end(), options_.coordinator_arguments.begin(),
                   options_.coordinator_arguments.end());
  coordinator_ = std::make_unique<Program>(Program::Options{
      .arguments = arguments, .environment = Environment(), .error_file = LogOf("coordinator")});
}

void Cluster::AwaitServing() {
  const auto lives = [this] {
    if (const auto ended = coordinator_->Poll()) {
      throw Failure("the coordinator ended with " + DescribeWaitStatus(*ended) + "\n" + Logs());
    }
  };
  if (address_.empty()) {
    const std::string file = data_dir() + "/address";
    Await("the coordinator's address", [&] {
      lives();
      address_ = ReadFile(file);
      while (!address_.empty() && address_.back() == '\n') address_.pop_back();
      return !address_.empty();
    });
  }
  Await("the coordinator serves", [&] {
    lives();
    return Serves();
  });
}

bool Cluster::Serves() {
  // Short, since an attempt that came too early pauses before its next; but not so short that a
  // busy machine never answers in time.
  for (const int limit_ms : {100, 300, 2000}) {
    client::ConnectOptions options;
    options.coordinator = address_;
    options.token_file = data_dir() + "/token";
    options.timeout = std::chrono::milliseconds(limit_ms);
    const auto connected = Client::Connect(options);
    if (connected.ok() && (*connected)->Info().ok()) return true;
    if (coordinator_ != nullptr && coordinator_->Poll()) return false;
  }
  return false;
}

int Cluster::EndCoordinator(int signal) {
  if (coordinator_ == nullptr) throw Failure("no coordinator was started");
  coordinator_->Signal(signal);
  return coordinator_->Wait();
}

pid_t Cluster::coordinator_pid() const {
  if (coordinator_ == nullptr) throw Failure("no coordinator was started");
  return coordinator_->pid();
}

// ---- workers ----

void Cluster::LaunchWorker(const WorkerOptions& options) {
  std::vector<std::string> arguments = options.prefix;
  arguments.insert(arguments.end(), {haul_, "worker", "start", "--name", options.name, "--threads",
                                     std::to_string(options.threads), "--processes",
                                     std::to_string(options.processes), "--coordinator",
                                     options.coordinator.empty() ? address_ : options.coordinator});
  for (const std::string& library : options.functions) {
    arguments.insert(arguments.end(), {"--functions", library});
  }
  arguments.insert(arguments.end(), options.arguments.begin(), options.arguments.end());
  guardians_[options.name] =
      std::make_unique<Program>(Program::Options{.arguments = arguments,
                                                 .environment = Environment(options.environment),
                                                 .error_file = LogOf("worker-" + options.name)});
}

void Cluster::StartWorker(const WorkerOptions& options) {
  LaunchWorker(options);
  Await("worker " + options.name + " joins", [&] {
    if (const auto ended = Guardian(options.name).Poll()) {
      throw Failure("worker " + options.name + " ended with " + DescribeWaitStatus(*ended) + "\n" +
                    Logs());
    }
    return WorkerState(options.name) == client::WorkerState::kConnected;
  });
}

Program& Cluster::Guardian(const std::string& worker) {
  const auto found = guardians_.find(worker);
  if (found == guardians_.end()) throw Failure("no worker " + worker + " was started");
  return *found->second;
}

pid_t Cluster::WorkerPid(const std::string& worker) {
  for (const ProcessFacts& child : ChildrenOf(Guardian(worker).pid())) {
    if (child.name == "haul" && child.state != 'Z') return child.pid;
  }
  throw Failure("worker " + worker + " has no worker proper");
}

std::vector<pid_t> Cluster::ExecutorPids(const std::string& worker) {
  std::vector<pid_t> pids;
  for (const ProcessFacts& child : ChildrenOf(WorkerPid(worker))) {
    if (child.name == "haul-executor" && child.state != 'Z') pids.push_back(child.pid);
  }
  return pids;
}

std::vector<pid_t> Cluster::CommandPids(const std::string& worker) {
  std::vector<pid_t> pids;
  for (const ProcessFacts& child : ChildrenOf(WorkerPid(worker))) {
    if (child.name != "haul-executor" && child.state != 'Z') pids.push_back(child.pid);
  }
  return pids;
}

std::vector<pid_t> Cluster::AllPids(const std::string& worker) {
  std::vector<pid_t> pids = {Guardian(worker).pid()};
  for (std::size_t i = 0; i < pids.size(); ++i) {
    for (const ProcessFacts& child : ChildrenOf(pids[i])) {
      if (child.state != 'Z') pids.push_back(child.pid);
    }
  }
  return pids;
}

std::optional<client::WorkerState> Cluster::WorkerState(const std::string& worker) {
  const auto status = client().Worker(worker);
  if (!status.ok()) return std::nullopt;
  return status->state;
}

void Cluster::AwaitWorkerState(const std::string& worker, client::WorkerState state) {
  Await("worker " + worker + " is " + std::string(client::Name(state)),
        [&] { return WorkerState(worker) == state; });
}

bool Cluster::Signal(pid_t pid, int signal) {
  // One that is ending, or becoming another program, has no environment for a moment.
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!HasVariable(pid, marker_)) {
    if (!IsRunning(pid)) return false;
    if (std::chrono::steady_clock::now() > deadline) {
      throw Failure("process " + std::to_string(pid) + " is none of this cluster");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return ::kill(pid, signal) == 0;
}

void Cluster::Freeze(const std::vector<pid_t>& pids) {
  for (const pid_t pid : pids) Signal(pid, SIGSTOP);
  for (const pid_t pid : pids) {
    Await("process " + std::to_string(pid) + " stops", [pid] {
      const auto facts = ReadProcess(pid);
      return !facts || facts->state == 'T' || facts->state == 'Z';
    });
  }
}

// ---- clients ----

CommandResult Cluster::Haul(const std::vector<std::string>& arguments) {
  return Run(haul_, arguments);
}

CommandResult Cluster::Run(const std::string& path, const std::vector<std::string>& arguments) {
  const std::string file = File("call-" + std::to_string(++calls_));
  std::vector<std::string> words = {path};
  words.insert(words.end(), arguments.begin(), arguments.end());
  Program program({.arguments = words,
                   .environment = Environment(),
                   .output_file = file + ".out",
                   .error_file = file + ".err"});
  const int status = program.Wait();
  CommandResult result;
  result.exit_status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  result.output = ReadFile(file + ".out");
  result.error = ReadFile(file + ".err");
  ::unlink((file + ".out").c_str());
  ::unlink((file + ".err").c_str());
  return result;
}

std::vector<Json> Cluster::HaulJson(const std::vector<std::string>& arguments) {
  std::vector<std::string> words = {"--output", "json"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  const CommandResult result = Haul(words);
  if (result.exit_status != 0) {
    throw Failure("haul " + Join(arguments) + ": status " + std::to_string(result.exit_status) +
                  ": " + result.error);
  }
  std::vector<Json> objects;
  std::istringstream lines(result.output);
  for (std::string line; std::getline(lines, line);) objects.push_back(Json::parse(line));
  return objects;
}

std::uint64_t Cluster::Submit(const std::vector<std::string>& arguments) {
  std::vector<std::string> words = arguments;
  if (!words.empty() && words.front() == "call") {
    words.insert(words.begin() + 1, "--submit");
  } else {
    words.insert(words.begin(), "submit");
  }
  const std::vector<Json> objects = HaulJson(words);
  if (objects.size() != 1) throw Failure("no single answer to haul " + Join(words));
  return objects.front().at("job").get<std::uint64_t>();
}

client::JobStatus Cluster::AwaitJob(std::uint64_t job) {
  const auto ended = client().Wait(client::JobId{job}, kPatience);
  if (!ended.ok()) throw Failure("job " + std::to_string(job) + ": " + ended.status().message());
  if (!ended->ended()) {
    throw Failure("job " + std::to_string(job) + " does not end: " + std::to_string(ended->done()) +
                  " of " + std::to_string(ended->task_count) + " tasks; " + ended->waiting_reason);
  }
  return *ended;
}

std::vector<client::Outcome> Cluster::Outcomes(std::uint64_t job) {
  std::vector<client::Outcome> outcomes;
  client::FollowOptions options;
  options.in_order = true;
  const client::Status followed =
      client().Follow(client::JobId{job}, options, [&](client::FollowUpdate& update) {
        std::move(update.outcomes.begin(), update.outcomes.end(), std::back_inserter(outcomes));
        return true;
      });
  if (!followed.ok()) throw Failure("job " + std::to_string(job) + ": " + followed.message());
  return outcomes;
}

Client& Cluster::client() {
  if (client_ == nullptr) {
    client::ConnectOptions options;
    options.coordinator = address_;
    options.token_file = data_dir() + "/token";
    options.timeout = kPatience;
    auto connected = Client::Connect(options);
    if (!connected.ok()) throw Failure(connected.status().message());
    client_ = *std::move(connected);
  }
  return *client_;
}

}  // namespace haul::chaos
