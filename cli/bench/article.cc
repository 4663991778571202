#include "cli/bench/article.h"

#include <chrono>
#include <cstdio>
#include <exception>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/bench/cluster.h"
#include "cli/bench/example_functions.h"
#include "cli/format.h"
#include "cli/status.h"
#include "haul/executor.h"

namespace haul::cli {
namespace {

using client::ErrorKind;
using client::Status;

constexpr std::int64_t kArticlesSleepMs = 2000;
constexpr int kThreads = 8;

// A program of the article: what it printed as its total, and how many rounds of sleep it needs.
struct Program {
  const char* name;
  std::optional<double> article_seconds;
  int rounds;
  std::function<void(Client&, std::uint64_t sleep_ms)> run;
};

void RunOnPool(Client& client, const ExecutorOptions& options, int tasks, std::uint64_t sleep_ms) {
  Executor executor(client, options);
  std::vector<Future<void>> futures;
  for (int i = 0; i < tasks; ++i) futures.push_back(executor.Submit(kSleep, sleep_ms));
  for (const Future<void>& future : futures) future.Get();
}

void RunSequentially(Client& client, std::uint64_t sleep_ms) {
  Executor executor(client);
  for (int i = 0; i < 2; ++i) executor.Submit(kSleep, sleep_ms).Get();
}

void RunMap(Client& client, std::uint64_t sleep_ms) {
  Executor executor(client, {.max_running = 5});
  const std::vector<std::uint64_t> sleeps(8, sleep_ms);
  auto results = executor.Map(kSleep, sleeps);
  for (auto it = results.begin(); it != results.end(); ++it) *it;
}

void RunAsCompleted(Client& client, std::uint64_t sleep_ms) {
  Executor executor(client, {.max_running = 5});
  std::vector<Future<void>> futures;
  for (int i = 0; i < 8; ++i) futures.push_back(executor.Submit(kSleep, sleep_ms));
  for (const Future<void>& future : AsCompleted(futures)) future.Get();
}

void RunCommands(Client& client, std::uint64_t sleep_ms) {
  client::JobSpec spec;
  spec.work = client::Command{
      .arguments = {"/bin/sleep", absl::StrFormat("%.3f", static_cast<double>(sleep_ms) / 1000)},
      .directory = "/"};
  spec.array = client::Array{.start = 0, .step = 1, .count = 14};
  const auto submitted = client.Submit(spec);
  if (!submitted.ok()) throw ExecutorError(submitted.status());
  const auto ended = client.Wait(submitted->job);
  if (!ended.ok()) throw ExecutorError(ended.status());
  if (ended->state != client::JobState::kSucceeded) {
    throw ExecutorError(Status(ErrorKind::kFailed, "commands: " + DescribeCounts(*ended)));
  }
}

std::vector<Program> Programs() {
  const auto pool = [](const ExecutorOptions& options, int tasks) {
    return [options, tasks](Client& client, std::uint64_t sleep_ms) {
      RunOnPool(client, options, tasks, sleep_ms);
    };
  };
  return {
      {"two tasks, one after the other", 4.001, 2, RunSequentially},
      {"two processes", 2.387, 1, pool({.isolation = Isolation::kProcess}, 2)},
      {"two threads", 2.002, 1, pool({}, 2)},
      {"pool of 8 processes, 14 tasks", 5.258, 2,
       pool({.max_running = 8, .isolation = Isolation::kProcess}, 14)},
      {"pool of 8 threads, 14 tasks", std::nullopt, 2, pool({.max_running = 8}, 14)},
      {"the same as commands", std::nullopt, 2, RunCommands},
      {"pool of 5 threads, 8 tasks", 4.004, 2, pool({.max_running = 5}, 8)},
      {"map in order, 8 tasks on 5", 4.005, 2, RunMap},
      {"as completed, 8 tasks on 5", 4.003, 2, RunAsCompleted},
  };
}

int RunBenchArticle(const Globals& globals, std::int64_t sleep_ms) {
  auto cluster = BenchCluster::Start(/*workers=*/1, kThreads, ExampleFunctions());
  if (!cluster.ok()) return Fail(cluster.status());
  Table table({"PROGRAM", "ARTICLE", "IDEAL", "HAUL", "OVER THE IDEAL"});
  for (const Program& program : Programs()) {
    const auto began = std::chrono::steady_clock::now();
    try {
      program.run((*cluster)->client(), static_cast<std::uint64_t>(sleep_ms));
    } catch (const std::exception& error) {
      return Fail(Status(ErrorKind::kFailed, absl::StrCat(program.name, ": ", error.what())));
    }
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    const double ideal = program.rounds * static_cast<double>(sleep_ms) / 1000;
    // The article's times are those of its two seconds.
    const bool comparable = program.article_seconds.has_value() && sleep_ms == kArticlesSleepMs;
    if (globals.json()) {
      PrintJson({{"object", "bench_article"},
                 {"program", program.name},
                 {"article_s", comparable ? Json(*program.article_seconds) : Json(nullptr)},
                 {"ideal_s", ideal},
                 {"haul_s", seconds}});
    } else {
      table.Add({program.name,
                 comparable ? absl::StrFormat("%.3f s", *program.article_seconds) : "-",
                 absl::StrFormat("%.3f s", ideal), absl::StrFormat("%.3f s", seconds),
                 absl::StrFormat("%.0f ms", (seconds - ideal) * 1000)});
    }
  }
  if (!globals.json()) table.Print();
  return kExitSuccess;
}

}  // namespace

void AddBenchArticle(CLI::App& bench, Globals& globals) {
  CLI::App* article = bench.add_subcommand(
      "article",
      "The article's programs on a cluster of 8 threads, beside its times and the ideal");
  const auto sleep_ms = std::make_shared<std::int64_t>(kArticlesSleepMs);
  article
      ->add_option("--sleep-ms", *sleep_ms,
                   "How long a task sleeps (default 2000, as in the article)")
      ->check(CLI::Range(1, 60'000));
  article->callback([=, &globals] {
    globals.action = [=, &globals] { return RunBenchArticle(globals, *sleep_ms); };
  });
}

}  // namespace haul::cli
