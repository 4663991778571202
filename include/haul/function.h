// Functions that Haul calls: declared once in a header that both sides include, served by a shared
// library which workers load. Standard C++20 alone; nothing to link.
//
//   // primes.h
//   inline constexpr haul::Function<std::uint64_t(std::uint64_t, std::uint64_t)> kCountPrimes{
//       "count_primes.v1"};
//   // primes.cc -> libprimes.so
//   HAUL_SERVE(kCountPrimes, [](haul::Context& context, std::uint64_t low, std::uint64_t high) {
//     …
//   });
//
// Many threads call a served function at once. Whatever it throws is that task's failure, with its
// message; a signal or exit() ends the process that it shares with other tasks, which are then run
// again.
//
// codec.h says which types arguments and results may have.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "haul/codec.h"
#include "haul/library.h"

namespace haul {

template <typename Signature>
class Function;

// A function's name and type. The name carries a version, since the type may change:
// "count_primes.v1".
template <typename Result, typename... Arguments>
class Function<Result(Arguments...)> {
  static_assert((std::is_same_v<Arguments, std::remove_cvref_t<Arguments>> && ...),
                "arguments travel as values: declare std::string, not const std::string&");
  static_assert(std::is_same_v<Result, std::remove_cvref_t<Result>>, "results travel as values");

 public:
  using ResultType = Result;

  // `name` is a literal of 1 to 256 bytes.
  constexpr explicit Function(const char* name) : name_(name) {
    const std::size_t size = std::string_view(name).size();
    if (size == 0 || size > 256)
      throw std::invalid_argument("a function's name has 1 to 256 bytes");
  }

  constexpr const char* name() const { return name_; }
  // Such as "u64(u64,u64)". The two sides compare it.
  static std::string Signature() {
    return Codec<Result>::Name() + "(" + internal::JoinNames<Arguments...>() + ")";
  }

  static std::string EncodeArguments(const Arguments&... arguments) {
    Writer writer;
    (Codec<Arguments>::Encode(arguments, writer), ...);
    return writer.Release();
  }
  // Throws DecodeError.
  static Result DecodeResult(std::string_view bytes) {
    Reader reader(bytes);
    if constexpr (std::is_void_v<Result>) {
      reader.ExpectEnd();
    } else {
      Result result = Codec<Result>::Decode(reader);
      reader.ExpectEnd();
      return result;
    }
  }

 private:
  const char* name_;
};

// A task that another one submitted gave no result.
class ChildError : public std::runtime_error {
 public:
  enum class Cause : std::uint8_t {
    kFailed = HAUL_ANSWER_FAILED,  // the function threw: its message
    kCrashed = HAUL_ANSWER_CRASHED,
    kTimedOut = HAUL_ANSWER_TIMED_OUT,
    kCancelled = HAUL_ANSWER_CANCELLED,
    kLost = HAUL_ANSWER_LOST,
    kRefused = HAUL_ANSWER_REFUSED,  // it never started: nobody serves it, or a limit is reached
    kBusy = HAUL_ANSWER_BUSY,        // it may run, but too many tasks wait here: Get() again, later
  };
  ChildError(Cause cause, const std::string& message)
      : std::runtime_error(message), cause_(cause) {}
  Cause cause() const { return cause_; }

 private:
  Cause cause_;
};

// A task that waits for another one is asked to stop: cancelled, or out of time.
class StopRequested : public std::runtime_error {
 public:
  StopRequested() : std::runtime_error("it was asked to stop while it waited") {}
};

// The result of a task that this one submitted; see Context::Submit. On this task's thread, while
// its Context lives.
template <typename Result>
class ChildFuture {
 public:
  ChildFuture(const haul_call& call, std::uint64_t number) : call_(&call), number_(number) {}

  // Waits for it, once (after kBusy again). Meanwhile the cpus of this task serve those it waits
  // for, so that no depth of tasks that wait for tasks comes to a standstill. Throws ChildError, or
  // StopRequested.
  Result Get() const {
    haul_answer answer{};
    answer.struct_size = sizeof answer;
    call_->host->wait(call_->task, number_, &answer);
    const std::string_view data(static_cast<const char*>(answer.data), answer.size);
    if (answer.status == HAUL_ANSWER_STOPPED) throw StopRequested();
    if (answer.status != HAUL_ANSWER_RESULT) {
      throw ChildError(static_cast<ChildError::Cause>(answer.status), std::string(data));
    }
    return Function<Result()>::DecodeResult(data);
  }

 private:
  const haul_call* call_;
  std::uint64_t number_;
};

// What a running task knows of itself. Made for one call, used by the thread that makes it; the
// tokens that it gives may go to other threads and outlive it.
class Context {
 public:
  explicit Context(const haul_call& call) : call_(call) {}
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  ~Context() {
    if (stop_.has_value()) call_.host->watch_stop(call_.task, nullptr, nullptr);
  }

  std::uint64_t job_id() const { return call_.job_id; }
  std::uint64_t task_index() const { return call_.task_index; }
  std::uint32_t attempt() const { return call_.attempt; }  // from 1
  // Rises with every start of the task: a resource that remembers the greatest it saw can refuse
  // older ones.
  std::uint64_t fencing_token() const { return call_.fencing_token; }

  // For people: goes to the worker's log, line by line, behind the ids of the task.
  void Log(std::string_view text) const {
    constexpr std::size_t kKnowsIt = offsetof(haul_host, log) + sizeof(haul_host::log);
    if (call_.host->struct_size >= kKnowsIt) call_.host->log(call_.task, text.data(), text.size());
  }

  // For people: how much of the task is done, 0 to 1; `haul job show` tells, up to some seconds
  // later. As often as one likes: it costs no more than a store to memory.
  void Progress(double done) const {
    constexpr std::size_t kKnowsIt = offsetof(haul_host, progress) + sizeof(haul_host::progress);
    if (call_.host->struct_size >= kKnowsIt) call_.host->progress(call_.task, done);
  }

  // Calls `function` as a task of its own, on any worker that serves it; it runs with the cpus, the
  // priority and the isolation of this task's job. What has not ended when this task does is
  // cancelled. Arguments of at most 128 KiB; at most 10,000 calls without an answer, and 16 such
  // calls within each other. Of a process: 64 MiB of arguments without an answer, and 512 tasks
  // that wait for one.
  template <typename Result, typename... Arguments>
  ChildFuture<Result> Submit(const Function<Result(Arguments...)>& function,
                             std::type_identity_t<Arguments>... arguments) const {
    using Called = Function<Result(Arguments...)>;
    constexpr std::size_t kKnowsIt = offsetof(haul_host, wait) + sizeof(haul_host::wait);
    if (call_.host->struct_size < kKnowsIt) {
      throw ChildError(ChildError::Cause::kRefused, "this host takes no calls from tasks");
    }
    const std::string encoded = Called::EncodeArguments(arguments...);
    return {call_, call_.host->submit(call_.task, function.name(), Called::Signature().c_str(),
                                      encoded.data(), encoded.size())};
  }

  // The task was cancelled or has run out of time: end soon, the result is not wanted any more.
  bool stop_requested() const { return call_.host->stop_requested(call_.task) != 0; }
  // The same for what waits or has threads of its own. A std::stop_callback on it runs on the
  // thread that all of the worker's messages to this process come by: keep it short, and never let
  // it wait.
  std::stop_token stop_token() {
    if (!stop_.has_value()) {
      stop_.emplace();
      call_.host->watch_stop(call_.task, &Context::OnStop, &*stop_);
    }
    return stop_->get_token();
  }

 private:
  static void OnStop(void* source) { static_cast<std::stop_source*>(source)->request_stop(); }

  const haul_call& call_;
  std::optional<std::stop_source> stop_;
};

namespace internal {

// The functions of this library. Hidden, or the dynamic linker would make one list for all that are
// loaded.
[[gnu::visibility("hidden")]] inline std::vector<haul_function>& Registry() {
  static std::vector<haul_function> functions;
  return functions;
}

[[gnu::visibility("hidden")]] inline const haul_library& Library() {
  static const haul_library library = {HAUL_INTERFACE_VERSION, sizeof(haul_function),
                                       Registry().size(), Registry().data()};
  return library;
}

}  // namespace internal
}  // namespace haul

// In a library that serves something, and nowhere else: Served mentions it.
extern "C" [[gnu::visibility("default")]] inline const haul_library* haul_library_v1() {
  return &haul::internal::Library();
}

namespace haul::internal {

inline int32_t Fail(const haul_call& call, std::string_view message) {
  call.host->set_error(call.task, message.data(), message.size());
  return 1;
}

// Registers `body` as the implementation of a function. Lives as long as the library.
template <typename Result, typename Body, typename... Arguments>
class Served {
  static_assert(
      std::is_invocable_v<const Body&, Context&, Arguments...>,
      "the served callable takes (haul::Context&, arguments as declared...) and is not mutable");

 public:
  Served(const Function<Result(Arguments...)>& function, Body body)
      : name_(function.name()), signature_(function.Signature()), body_(std::move(body)) {
    entry_point_ = &haul_library_v1;
    Registry().push_back({name_, signature_.c_str(), this, &Served::Invoke});
  }
  Served(const Served&) = delete;
  Served& operator=(const Served&) = delete;

 private:
  static int32_t Invoke(const void* target, const haul_call* call) noexcept {
    const Served& self = *static_cast<const Served*>(target);
    try {
      return self.Call(*call);
    } catch (const std::exception& error) {
      return Fail(*call, error.what());
    } catch (...) {
      return Fail(*call, "it threw something that is no std::exception");
    }
  }

  int32_t Call(const haul_call& call) const {
    std::size_t position = 0;  // of the argument being decoded, from 1
    std::optional<std::tuple<Arguments...>> arguments;
    try {
      Reader reader({static_cast<const char*>(call.arguments), call.argument_bytes});
      arguments.emplace(std::tuple<Arguments...>{Take<Arguments>(reader, position)...});
      reader.ExpectEnd();
    } catch (const DecodeError& error) {
      return Fail(call, std::string(name_) + ": argument " + std::to_string(position) + " of " +
                            signature_ + ": " + error.what());
    }
    Context context(call);
    const auto run = [&](Arguments&... argument) -> decltype(auto) {
      return body_(context, std::move(argument)...);
    };
    if constexpr (std::is_void_v<Result>) {
      std::apply(run, *arguments);
    } else {
      static_assert(
          std::is_convertible_v<std::invoke_result_t<const Body&, Context&, Arguments...>, Result>,
          "the served callable returns what the function declares");
      Writer writer;
      Codec<Result>::Encode(std::apply(run, *arguments), writer);
      call.host->append_result(call.task, writer.bytes().data(), writer.bytes().size());
    }
    return 0;
  }

  template <typename T>
  static T Take(Reader& reader, std::size_t& position) {
    ++position;
    return Codec<T>::Decode(reader);
  }

  const char* name_;
  std::string signature_;
  Body body_;
  const haul_library* (*entry_point_)();
};

template <typename Result, typename Body, typename... Arguments>
Served(const Function<Result(Arguments...)>&, Body) -> Served<Result, Body, Arguments...>;

}  // namespace haul::internal

#define HAUL_INTERNAL_JOIN2(a, b) a##b
#define HAUL_INTERNAL_JOIN(a, b) HAUL_INTERNAL_JOIN2(a, b)

// Serves `function` by a callable (haul::Context&, arguments...) -> result. At namespace scope in a
// .cc file, once for each function.
#define HAUL_SERVE(function, ...)                                                          \
  [[maybe_unused]] static const ::haul::internal::Served HAUL_INTERNAL_JOIN(haul_served_,  \
                                                                            __COUNTER__) { \
    function, __VA_ARGS__                                                                  \
  }
