// Functions that call functions, as tasks of their own.
#include <string>
#include <vector>

#include "examples.h"

namespace examples {
namespace {

HAUL_SERVE(kCountTree, [](haul::Context& context, std::uint32_t depth, std::uint32_t fan_out) {
  std::vector<haul::ChildFuture<std::uint64_t>> children;
  for (std::uint32_t i = 0; depth > 0 && i < fan_out; ++i) {
    children.push_back(context.Submit(kCountTree, depth - 1, fan_out));
  }
  std::uint64_t tasks = 1;
  for (const auto& child : children) tasks += child.Get();
  return tasks;
});

const char* Name(haul::ChildError::Cause cause) {
  switch (cause) {
    case haul::ChildError::Cause::kFailed:
      return "failed";
    case haul::ChildError::Cause::kCrashed:
      return "crashed";
    case haul::ChildError::Cause::kTimedOut:
      return "timed out";
    case haul::ChildError::Cause::kCancelled:
      return "cancelled";
    case haul::ChildError::Cause::kLost:
      return "lost";
    case haul::ChildError::Cause::kRefused:
      return "refused";
    case haul::ChildError::Cause::kBusy:
      return "busy";
  }
  return "unknown";
}

HAUL_SERVE(kRelay,
           [](haul::Context& context, const std::string& name,
              const std::string& argument) -> std::string {
             const haul::Function<void(std::string)> function(name.c_str());
             try {
               context.Submit(function, argument).Get();
               return "it ended";
             } catch (const haul::ChildError& error) {
               return std::string(Name(error.cause())) + ": " + error.what();
             }
           });

}  // namespace
}  // namespace examples
