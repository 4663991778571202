// The C interface of libraries of functions: what such a library exports, in whatever language it
// is written. C99 and C++; haul/function.h builds on it.
//
// A library exports `const haul_library* haul_library_v1(void)`, which is called once, after
// loading. All of it must stay as it is while the library is loaded. The version changes when an
// older host could not use the table; a struct may grow at its end, which its size tells.
#pragma once

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// NOLINTBEGIN(modernize-use-using, readability-identifier-naming): it is C.

#define HAUL_INTERFACE_VERSION 1u

// How a call that a task made has ended; `data` is its result, or a message otherwise.
enum {
  HAUL_ANSWER_RESULT = 0,
  HAUL_ANSWER_FAILED = 1,   // the function failed, or its result cannot be had
  HAUL_ANSWER_CRASHED = 2,  // it ended its process
  HAUL_ANSWER_TIMED_OUT = 3,
  HAUL_ANSWER_CANCELLED = 4,
  HAUL_ANSWER_LOST = 5,     // its worker is gone, and it was to start at most once
  HAUL_ANSWER_REFUSED = 6,  // it never started: nobody serves it, or a limit is reached
  HAUL_ANSWER_STOPPED = 7,  // there is none yet, and the task that waits is asked to stop
  HAUL_ANSWER_BUSY = 8  // there is none yet, and too many tasks wait already: `wait` again, later
};
typedef struct haul_answer {
  uint64_t struct_size;
  const void* data;  // until the next call of `submit` or `wait`
  uint64_t size;
  int32_t status;
  uint32_t reserved;
} haul_answer;

// What a function may ask of its host, from the thread that runs the task and until it returns.
// `task` is haul_call::task.
typedef struct haul_host {
  uint64_t struct_size;
  // Adds to the result's bytes. What is over the host's limit is dropped, and the task fails.
  void (*append_result)(void* task, const void* data, uint64_t size);
  // The task's message; it fails if `invoke` then returns non-zero. The last call counts.
  void (*set_error)(void* task, const char* message, uint64_t size);
  int32_t (*stop_requested)(void* task);
  // Has on_stop(argument) called once, from some thread, when the task is asked to stop: at once if
  // it was already. A null on_stop takes that back, and returns when no call of it is under way.
  // Whoever watches takes it back before `invoke` returns. on_stop is short and does not wait: no
  // message of the worker's reaches this process meanwhile.
  void (*watch_stop)(void* task, void (*on_stop)(void* argument), void* argument);
  // A line of the worker's log, behind the ids of the task. Of a text with several lines each is
  // one. Hosts whose struct_size ends before it do not have it.
  void (*log)(void* task, const char* text, uint64_t size);
  // Calls a function as a task of its own, on whatever worker, which ends with this task. Returns
  // at once the call's number, greater than 0. Hosts whose struct_size ends before `wait` have
  // neither.
  uint64_t (*submit)(void* task, const char* function, const char* signature, const void* arguments,
                     uint64_t size);
  // Waits until that call has ended; meanwhile the cpus of this task serve others.
  void (*wait)(void* task, uint64_t number, haul_answer* answer);
  // How much of the task is done, 0 to 1, for people. Hosts whose struct_size ends before it do not
  // have it.
  void (*progress)(void* task, double done);
} haul_host;

typedef struct haul_call {
  uint64_t struct_size;
  uint64_t job_id;
  uint64_t task_index;
  uint64_t fencing_token;
  const void* arguments;
  uint64_t argument_bytes;
  uint32_t attempt;  // from 1
  uint32_t reserved;
  const haul_host* host;
  void* task;
} haul_call;

typedef struct haul_function {
  const char* name;       // printable UTF-8, 1 to 256 bytes
  const char* signature;  // such as "u64(u64,u64)", printable ASCII, at most 1,024 bytes
  const void* target;     // handed to `invoke`
  // 0: it succeeded. Nothing may be thrown through it. Called from many threads at once.
  int32_t (*invoke)(const void* target, const haul_call* call);
} haul_function;

typedef struct haul_library {
  uint32_t interface_version;  // HAUL_INTERFACE_VERSION
  uint32_t function_size;      // sizeof(haul_function)
  uint64_t function_count;
  const haul_function* functions;
} haul_library;

// NOLINTEND(modernize-use-using, readability-identifier-naming)

#ifdef __cplusplus
}  // extern "C"
#endif
