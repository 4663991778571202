// How a command ends: its exit status, and the one line on stderr that says what to do. Any thread.
#pragma once

#include <cstdio>
#include <string_view>

#include "absl/status/status.h"
#include "haul/client.h"

namespace haul::cli {

constexpr int kExitSuccess = 0;
constexpr int kExitTaskFailed = 1;   // a task failed or was cancelled, or the program itself failed
constexpr int kExitUsage = 2;        // wrong usage or bad input
constexpr int kExitUnreachable = 3;  // no coordinator answers
constexpr int kExitRefused = 4;      // authentication, or a limit
constexpr int kExitInterrupted = 130;

// Of a call that failed.
int ExitStatus(client::ErrorKind kind);
// Of what was done for a job that has ended.
int ExitStatus(const client::JobStatus& job);

// Prints "haul: MESSAGE" to stderr, on one line whatever the message holds; returns `exit_status`.
int Fail(int exit_status, std::string_view message);
int Fail(const client::Status& status);
// InvalidArgument is wrong usage, PermissionDenied a refusal, anything else a failure.
int Fail(const absl::Status& status);

// Whether all that was written to `stream`, stdout or stderr, is out; what is not is no success.
// Says so once.
client::Status FlushOutput(std::FILE* stream = stdout);

client::Status ToClientStatus(const absl::Status& status);

}  // namespace haul::cli
