// `haul job logs`, `results` and `tasks`: what is kept of a job's tasks. Main thread.
#pragma once

#include <string>

#include "cli/globals.h"

namespace haul::cli {

struct TasksOptions {
  std::string selector = "all";
  bool follow = false;
};

// Each returns the exit status.
int PrintLogs(const Globals& globals, const std::string& job, const TasksOptions& options);
int PrintResults(const Globals& globals, const std::string& job, const TasksOptions& options);
int PrintTasks(const Globals& globals, const std::string& job, const TasksOptions& options);

}  // namespace haul::cli
