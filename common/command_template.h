// The placeholders of a command, as GNU Parallel defines them, filled in for one task. Values are
// bytes: no shell, no quoting, no encoding.
//
//   {}    the input value              {#}      the task's number, from 1
//   {.}   without its extension        {index}  the array value; without an array the task's index,
//   from 0
//   {/}   without its directory        {1} {2}  the value of the first, second source; likewise
//   {1.} {1/}
//   {//}  its directory                         {1//} {1/.}
//   {/.}  without directory and extension
//
// With several sources {} stands for all their values: as an argument of its own for one argument
// each, within a longer text joined by spaces. The value of an array job is its one source. What
// looks otherwise
// ({x}, {print $1}, {0}) is no placeholder and stays as it is. Plain values and pure functions: any
// thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/ids.h"

namespace haul {

// What a placeholder may stand for.
struct TaskValues {
  TaskIndex index = 0;
  // The values of the task's sources, in order, separated by a zero byte. Not looked at with an
  // array.
  std::string_view input;
  std::optional<std::int64_t> array_value;
};

// A text with placeholders, parsed once and expanded for many tasks.
class TemplateText {
 public:
  static TemplateText Parse(std::string_view text);

  bool has_placeholder() const;
  // The highest n of {n}; 0 where there is none.
  std::size_t highest_source() const;
  // True for a text that is one placeholder of all sources: {} {.} {/} {//} {/.}
  bool is_every_source() const;

 private:
  friend class Expander;
  enum class Kind { kLiteral, kSources, kNumber, kIndex };
  enum class Form { kWhole, kNoExtension, kBaseName, kDirectory, kBaseNameNoExtension };
  struct Piece {
    Kind kind = Kind::kLiteral;
    Form form = Form::kWhole;
    std::size_t source = 0;  // with kSources: from 1, or 0 for all
    std::string literal;
  };
  static std::optional<Piece> ParsePlaceholder(std::string_view inner);

  std::vector<Piece> pieces_;
};

// The parts of a command that may hold placeholders, as they came.
struct CommandText {
  std::vector<std::string> arguments;
  std::vector<std::pair<std::string, std::string>> environment;  // of values only
  std::string directory;
  std::string stdin_file;
};

// Ready for one task.
struct ExpandedCommand {
  std::vector<std::string> arguments;
  std::vector<std::pair<std::string, std::string>> environment;
  std::string directory;
  std::string stdin_file;
};

class CommandTemplate {
 public:
  // Of one task's arguments and environment, each with its closing zero byte.
  static constexpr std::size_t kMostBytes = 128 * 1024;

  // InvalidArgument: no arguments, an empty program, a zero byte, a bad name of a variable; says
  // where.
  static absl::StatusOr<CommandTemplate> Parse(const CommandText& text);

  // What the task runs. Where the command holds no placeholder at all and the job has inputs, the
  // input values are appended as further arguments. InvalidArgument: {n} beyond the sources.
  // ResourceExhausted: over kMostBytes; names both.
  absl::StatusOr<ExpandedCommand> Expand(const TaskValues& values) const;

  bool has_placeholder() const { return has_placeholder_; }
  std::size_t highest_source() const { return highest_source_; }

 private:
  void Note(const TemplateText& text);

  std::vector<TemplateText> arguments_;
  std::vector<std::pair<std::string, TemplateText>> environment_;
  TemplateText directory_;
  TemplateText stdin_file_;
  bool has_placeholder_ = false;
  std::size_t highest_source_ = 0;
};

// The forms themselves.
std::string_view WithoutExtension(std::string_view path);  // "a/b.tar.gz" -> "a/b.tar"
std::string_view BaseName(std::string_view path);          // "a/b.c" -> "b.c"
std::string_view DirectoryName(std::string_view path);  // "a/b.c" -> "a", "b.c" -> ".", "/b" -> "/"

}  // namespace haul
