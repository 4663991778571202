#include "common/command_template.h"

#include <algorithm>
#include <string>

namespace haul {
namespace {

constexpr std::size_t kMostSourceDigits = 4;
// With its braces: {index}, {1234//}. A brace without its partner is so not looked for to the
// text's end.
constexpr std::size_t kMostPlaceholderBytes = 8;

absl::Status Bad(const std::string& message) { return absl::InvalidArgumentError(message); }

bool HasZeroByte(std::string_view text) { return text.find('\0') != std::string_view::npos; }

std::size_t ByteCount(const ExpandedCommand& command) {
  std::size_t bytes = 0;
  for (const std::string& argument : command.arguments) bytes += argument.size() + 1;
  for (const auto& [name, value] : command.environment) bytes += name.size() + value.size() + 2;
  return bytes;
}

}  // namespace

std::string_view WithoutExtension(std::string_view path) {
  const std::size_t dot = path.rfind('.');
  const std::size_t slash = path.rfind('/');
  if (dot == std::string_view::npos) return path;
  if (slash != std::string_view::npos && slash > dot) return path;
  return path.substr(0, dot);
}

std::string_view BaseName(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

std::string_view DirectoryName(std::string_view path) {
  const auto without_slashes = [](std::string_view text) {
    const std::size_t last = text.find_last_not_of('/');
    return last == std::string_view::npos ? text.substr(0, std::min<std::size_t>(text.size(), 1))
                                          : text.substr(0, last + 1);
  };
  const std::string_view trimmed = without_slashes(path);
  const std::size_t slash = trimmed.rfind('/');
  if (slash == std::string_view::npos) return ".";
  return without_slashes(trimmed.substr(0, slash + 1));
}

// Of what stands between the braces.
std::optional<TemplateText::Piece> TemplateText::ParsePlaceholder(std::string_view inner) {
  Piece piece;
  if (inner == "#") return piece.kind = Kind::kNumber, piece;
  if (inner == "index") return piece.kind = Kind::kIndex, piece;
  piece.kind = Kind::kSources;
  std::size_t digits = 0;
  while (digits < inner.size() && inner[digits] >= '0' && inner[digits] <= '9') {
    piece.source = piece.source * 10 + static_cast<std::size_t>(inner[digits] - '0');
    if (++digits > kMostSourceDigits) return std::nullopt;
  }
  if (digits > 0 && inner[0] == '0') return std::nullopt;
  const std::string_view form = inner.substr(digits);
  if (form.empty()) {
    piece.form = Form::kWhole;
  } else if (form == ".") {
    piece.form = Form::kNoExtension;
  } else if (form == "/") {
    piece.form = Form::kBaseName;
  } else if (form == "//") {
    piece.form = Form::kDirectory;
  } else if (form == "/.") {
    piece.form = Form::kBaseNameNoExtension;
  } else {
    return std::nullopt;
  }
  return piece;
}

TemplateText TemplateText::Parse(std::string_view text) {
  TemplateText result;
  std::string literal;
  const auto end_literal = [&] {
    if (literal.empty()) return;
    result.pieces_.push_back(Piece{.literal = std::exchange(literal, {})});
  };
  while (!text.empty()) {
    const std::size_t open = std::min(text.find('{'), text.size());
    literal.append(text.substr(0, open));
    text.remove_prefix(open);
    if (text.empty()) break;
    const std::size_t close = text.substr(0, kMostPlaceholderBytes).find('}');
    std::optional<Piece> piece;
    if (close != std::string_view::npos) piece = ParsePlaceholder(text.substr(1, close - 1));
    if (piece) {
      end_literal();
      result.pieces_.push_back(*std::move(piece));
      text.remove_prefix(close + 1);
    } else {
      literal += '{';
      text.remove_prefix(1);
    }
  }
  end_literal();
  return result;
}

bool TemplateText::has_placeholder() const {
  return std::any_of(pieces_.begin(), pieces_.end(),
                     [](const Piece& piece) { return piece.kind != Kind::kLiteral; });
}

std::size_t TemplateText::highest_source() const {
  std::size_t highest = 0;
  for (const Piece& piece : pieces_) highest = std::max(highest, piece.source);
  return highest;
}

bool TemplateText::is_every_source() const {
  return pieces_.size() == 1 && pieces_[0].kind == Kind::kSources && pieces_[0].source == 0;
}

// Fills in texts for one task.
class Expander {
 public:
  explicit Expander(const TaskValues& values) : number_(std::to_string(values.index + 1)) {
    if (values.array_value) {
      index_ = std::to_string(*values.array_value);
      sources_.push_back(index_);
      return;
    }
    index_ = std::to_string(values.index);
    for (std::string_view rest = values.input;;) {
      const std::size_t end = rest.find('\0');
      sources_.push_back(rest.substr(0, end));
      if (end == std::string_view::npos) break;
      rest.remove_prefix(end + 1);
    }
  }
  Expander(const Expander&) = delete;  // sources_ may point into index_
  Expander& operator=(const Expander&) = delete;

  const std::vector<std::string_view>& sources() const { return sources_; }

  std::string Expand(const TemplateText& text) const {
    std::string result;
    for (const TemplateText::Piece& piece : text.pieces_) {
      switch (piece.kind) {
        case TemplateText::Kind::kLiteral:
          result += piece.literal;
          break;
        case TemplateText::Kind::kNumber:
          result += number_;
          break;
        case TemplateText::Kind::kIndex:
          result += index_;
          break;
        case TemplateText::Kind::kSources:
          AppendSources(piece, &result);
          break;
      }
    }
    return result;
  }

  void ExpandEverySource(const TemplateText& text, std::vector<std::string>* arguments) const {
    for (const std::string_view source : sources_) {
      arguments->emplace_back(Apply(text.pieces_[0].form, source));
    }
  }

 private:
  static std::string_view Apply(TemplateText::Form form, std::string_view value) {
    switch (form) {
      case TemplateText::Form::kWhole:
        return value;
      case TemplateText::Form::kNoExtension:
        return WithoutExtension(value);
      case TemplateText::Form::kBaseName:
        return BaseName(value);
      case TemplateText::Form::kDirectory:
        return DirectoryName(value);
      case TemplateText::Form::kBaseNameNoExtension:
        return WithoutExtension(BaseName(value));
    }
    return value;
  }

  void AppendSources(const TemplateText::Piece& piece, std::string* result) const {
    if (piece.source > 0) {
      result->append(Apply(piece.form, sources_[piece.source - 1]));
      return;
    }
    for (std::size_t i = 0; i < sources_.size(); ++i) {
      if (i > 0) *result += ' ';
      result->append(Apply(piece.form, sources_[i]));
    }
  }

  const std::string number_;
  std::string index_;
  std::vector<std::string_view> sources_;
};

void CommandTemplate::Note(const TemplateText& text) {
  has_placeholder_ = has_placeholder_ || text.has_placeholder();
  highest_source_ = std::max(highest_source_, text.highest_source());
}

absl::StatusOr<CommandTemplate> CommandTemplate::Parse(const CommandText& text) {
  CommandTemplate result;
  if (text.arguments.empty()) return Bad("the command is empty");
  if (text.arguments[0].empty()) return Bad("the command's program is an empty string");
  for (std::size_t i = 0; i < text.arguments.size(); ++i) {
    if (HasZeroByte(text.arguments[i])) {
      return Bad("argument " + std::to_string(i) + " of the command holds a zero byte");
    }
    result.arguments_.push_back(TemplateText::Parse(text.arguments[i]));
    result.Note(result.arguments_.back());
  }
  for (const auto& [name, value] : text.environment) {
    if (name.empty() || HasZeroByte(name) || name.find('=') != std::string::npos) {
      return Bad("the name of an environment variable is empty or holds '=' or a zero byte");
    }
    if (HasZeroByte(value)) return Bad("environment variable '" + name + "' holds a zero byte");
    result.environment_.emplace_back(name, TemplateText::Parse(value));
    result.Note(result.environment_.back().second);
  }
  if (HasZeroByte(text.directory)) return Bad("the directory holds a zero byte");
  if (HasZeroByte(text.stdin_file)) return Bad("the stdin file's name holds a zero byte");
  result.directory_ = TemplateText::Parse(text.directory);
  result.stdin_file_ = TemplateText::Parse(text.stdin_file);
  result.Note(result.directory_);
  result.Note(result.stdin_file_);
  return result;
}

absl::StatusOr<ExpandedCommand> CommandTemplate::Expand(const TaskValues& values) const {
  const Expander expander(values);
  const std::size_t source_count = expander.sources().size();
  if (highest_source_ > source_count) {
    return Bad("placeholder {" + std::to_string(highest_source_) + "}: the task has " +
               std::to_string(source_count) + " input values");
  }
  ExpandedCommand command;
  command.arguments.reserve(arguments_.size() + source_count);
  for (const TemplateText& argument : arguments_) {
    if (argument.is_every_source()) {
      expander.ExpandEverySource(argument, &command.arguments);
    } else {
      command.arguments.push_back(expander.Expand(argument));
    }
  }
  if (!has_placeholder_ && !values.array_value) {
    for (const std::string_view source : expander.sources()) command.arguments.emplace_back(source);
  }
  for (const auto& [name, value] : environment_) {
    command.environment.emplace_back(name, expander.Expand(value));
  }
  command.directory = expander.Expand(directory_);
  command.stdin_file = expander.Expand(stdin_file_);
  const std::size_t bytes = ByteCount(command);
  if (bytes > kMostBytes) {
    return absl::ResourceExhaustedError("arguments and environment of the task take " +
                                        std::to_string(bytes) + " bytes; the limit is " +
                                        std::to_string(kMostBytes));
  }
  return command;
}

}  // namespace haul
