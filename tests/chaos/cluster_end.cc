// How a cluster ends, and what it says about itself; and what tasks say about themselves.
#include <signal.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <thread>

#include "tests/chaos/cluster.h"
#include "worker/exec/process_tree.h"

namespace haul::chaos {
namespace {

std::string Describe(const ProcessFacts& process) {
  std::string words = exec::ReadProcFile("/proc/" + std::to_string(process.pid) + "/cmdline", 4096);
  std::replace(words.begin(), words.end(), '\0', ' ');
  return std::to_string(process.pid) + " (" + process.name + ", state " + process.state +
         ", child of " + std::to_string(process.parent) + "): " + words;
}

std::vector<std::string> LogFiles(const std::string& directory) {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    if (entry.path().extension() == ".log") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::string LastLines(const std::string& text, std::size_t count) {
  std::size_t at = text.size();
  for (std::size_t i = 0; i <= count && at != std::string::npos && at > 0; ++i) {
    at = text.rfind('\n', at - 1);
  }
  return at == std::string::npos || at == 0 ? text : text.substr(at + 1);
}

}  // namespace

std::vector<std::string> Cluster::End() {
  std::vector<std::string> problems;
  client_.reset();
  // No others: it takes back a SIGSTOP that is on its way, such as that by which a leak checker
  // stops the program it has to look at, and both then wait for ever.
  for (const ProcessFacts& process : ProcessesWith(marker_)) {
    if (process.state == 'T') Signal(process.pid, SIGCONT);
  }
  EndWorkers(problems);
  EndCoordinatorCleanly(problems);
  EndLeftBehind(problems);
  ReadLogs(problems);
  return problems;
}

void Cluster::EndWorkers(std::vector<std::string>& problems) {
  // The first signal lets it finish what runs, the second ends that.
  constexpr std::chrono::milliseconds kBetweenSignals{50};
  for (const auto& [name, guardian] : guardians_) guardian->Signal(SIGTERM);
  std::this_thread::sleep_for(kBetweenSignals);
  for (const auto& [name, guardian] : guardians_) guardian->Signal(SIGTERM);
  for (const auto& [name, guardian] : guardians_) {
    try {
      guardian->Wait();
    } catch (const Failure&) {
      problems.push_back("worker " + name + " does not end after SIGTERM twice");
      guardian->Signal(SIGKILL);
      guardian->Wait();
    }
  }
  guardians_.clear();
}

void Cluster::EndCoordinatorCleanly(std::vector<std::string>& problems) {
  if (coordinator_ == nullptr || !coordinator_->owned() || coordinator_->Poll()) return;
  coordinator_->Signal(SIGTERM);
  try {
    const int status = coordinator_->Wait();
    if (status != 0) {
      problems.push_back("the coordinator's end by SIGTERM: " + DescribeWaitStatus(status));
    }
  } catch (const Failure&) {
    problems.push_back("the coordinator does not end after SIGTERM");
    coordinator_.reset();
  }
}

void Cluster::EndLeftBehind(std::vector<std::string>& problems) {
  // What was told to end may need a moment for it; what ended without a parent is reaped here.
  constexpr std::chrono::seconds kLastMoments{30};
  const auto deadline = std::chrono::steady_clock::now() + kLastMoments;
  std::vector<ProcessFacts> left;
  for (;;) {
    ReapStrays();
    left = ProcessesWith(marker_);
    if (left.empty() || std::chrono::steady_clock::now() > deadline) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  for (const ProcessFacts& process : left) {
    problems.push_back("left behind: " + Describe(process));
    Signal(process.pid, SIGKILL);
  }
  for (const ProcessFacts& process : left) {
    Await("process " + std::to_string(process.pid) + " dies", [&] {
      ReapStrays();
      return !IsRunning(process.pid);
    });
  }
  ReapStrays();
}

void Cluster::ReapStrays() {
  // Only what is nobody's: Programs wait for theirs by their pid.
  for (const ProcessFacts& child : ChildrenOf(::getpid())) {
    const auto is_program = [&](const auto& entry) { return entry.second->pid() == child.pid; };
    if (child.state != 'Z') continue;
    if (coordinator_ != nullptr && coordinator_->pid() == child.pid) continue;
    if (std::any_of(guardians_.begin(), guardians_.end(), is_program)) continue;
    ::waitpid(child.pid, nullptr, WNOHANG);
  }
}

void Cluster::ReadLogs(std::vector<std::string>& problems) const {
  for (const std::string& file : LogFiles(directory_)) {
    std::istringstream lines(ReadFile(file));
    for (std::string line; std::getline(lines, line);) {
      for (const char* word : {"Sanitizer", "runtime error:", "CHECK failed", "Assertion"}) {
        if (line.find(word) == std::string::npos) continue;
        problems.push_back(std::filesystem::path(file).filename().string() + ": " + line);
      }
    }
  }
}

std::string Cluster::Logs() const {
  constexpr std::size_t kLines = 40;
  std::string text;
  for (const std::string& file : LogFiles(directory_)) {
    text += "---- the end of " + std::filesystem::path(file).filename().string() + "\n" +
            LastLines(ReadFile(file), kLines);
  }
  return text;
}

std::string RecordStart(const std::string& file) {
  return "echo \"$HAUL_JOB_ID $HAUL_TASK_INDEX $HAUL_ATTEMPT $HAUL_FENCING_TOKEN $$\" >>'" + file +
         "'";
}

std::vector<TaskStart> ReadStarts(const std::string& file) {
  std::vector<TaskStart> starts;
  std::istringstream lines(ReadFile(file));
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    TaskStart start;
    if (words >> start.job >> start.task >> start.attempt >> start.fencing_token >> start.pid) {
      starts.push_back(start);
    }
  }
  return starts;
}

std::vector<std::string> StartedAgain(const std::vector<TaskStart>& starts) {
  std::map<std::pair<std::uint64_t, std::uint64_t>, int> counts;
  for (const TaskStart& start : starts) ++counts[{start.job, start.task}];
  std::vector<std::string> again;
  for (const auto& [task, count] : counts) {
    if (count == 1) continue;
    again.push_back("job " + std::to_string(task.first) + " task " + std::to_string(task.second));
  }
  return again;
}

std::vector<pid_t> ReadNumbers(const std::string& file) {
  std::vector<pid_t> numbers;
  std::istringstream lines(ReadFile(file));
  for (pid_t number = 0; lines >> number;) numbers.push_back(number);
  return numbers;
}

std::vector<std::string> StubbornCommand(const std::string& file) {
  const std::string script = file + ".sh";
  std::ofstream(script) << R"(
trap '' TERM HUP INT
echo $$ >>"$1"
if [ "$2" = linger ]; then exec sleep 1000; fi
setsid sh "$0" "$1" linger &
( sh "$0" "$1" linger & )
( setsid sh -c '( sh "$0" "$1" linger & )' "$0" "$1" & )
( setsid env -i sh "$0" "$1" linger & )
sleep 1000
)";
  return {"sh", script, file};
}

std::string FunctionLibrary(const std::string& name) {
  const char* directory = std::getenv("HAUL_TEST_LIB_DIR");
  if (directory == nullptr) throw Failure("HAUL_TEST_LIB_DIR is not set; run this by ctest");
  return std::string(directory) + "/lib" + name + ".so";
}

bool LongTests() {
  const char* value = std::getenv("HAUL_TEST_LONG");
  return value != nullptr && std::string_view(value) == "1";
}

}  // namespace haul::chaos
