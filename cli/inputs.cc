#include "cli/inputs.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace haul::cli {
namespace {

using client::ErrorKind;
using client::InputSource;
using client::Status;

// The coordinator takes no longer value.
constexpr std::size_t kMostLineBytes = 128 << 10;

// The lines of a file, without their ends.
class LineSource : public InputSource {
 public:
  LineSource(FILE* file, std::string name)
      : file_(file), name_(std::move(name)), start_(ftello(file)), buffer_(kBufferBytes, '\0') {}
  ~LineSource() override {
    if (file_ != stdin) fclose(file_);
  }
  LineSource(const LineSource&) = delete;
  LineSource& operator=(const LineSource&) = delete;

  bool Next(std::string* value) override {
    value->clear();
    while (true) {
      const char* begin = buffer_.data() + begin_;
      const std::size_t rest = end_ - begin_;
      const void* newline = memchr(begin, '\n', rest);
      const std::size_t size =
          newline == nullptr ? rest
                             : static_cast<std::size_t>(static_cast<const char*>(newline) - begin);
      value->append(begin, size);
      begin_ += size + (newline == nullptr ? 0 : 1);
      if (value->size() > kMostLineBytes) return TooLong();
      if (newline != nullptr) return Accept(*value);
      if (!Fill()) return status_.ok() && !value->empty() && Accept(*value);
    }
  }

  Status status() const override { return status_; }

  bool Rewind() override {
    if (start_ < 0 || fseeko(file_, start_, SEEK_SET) != 0) return false;
    begin_ = end_ = 0;
    line_ = 0;
    status_ = Status();
    return true;
  }

 private:
  static constexpr std::size_t kBufferBytes = 256 << 10;

  bool Fill() {
    begin_ = 0;
    end_ = fread(buffer_.data(), 1, buffer_.size(), file_);
    if (end_ == 0 && ferror(file_) != 0) {
      status_ = Status(ErrorKind::kInvalid, name_ + ": " + strerror(errno));
    }
    return end_ > 0;
  }
  bool Accept(const std::string& value) {
    ++line_;
    if (value.find('\0') == std::string::npos) return true;
    status_ =
        Status(ErrorKind::kInvalid,
               absl::StrCat(name_, ": line ", line_, " holds a zero byte, which no argument can"));
    return false;
  }
  bool TooLong() {
    status_ =
        Status(ErrorKind::kInvalid, absl::StrCat(name_, ": line ", line_ + 1, " is longer than ",
                                                 kMostLineBytes, " bytes, the limit"));
    return false;
  }

  FILE* const file_;  // owned unless it is stdin
  const std::string name_;
  const off_t start_;  // others may have read from standard input before; negative: a pipe
  std::string buffer_;
  std::size_t begin_ = 0;  // what of the buffer is not yet given out
  std::size_t end_ = 0;
  std::uint64_t line_ = 0;
  Status status_;
};

// Sources linked value by value, up to the shortest.
class LinkedSource : public InputSource {
 public:
  explicit LinkedSource(std::vector<std::unique_ptr<InputSource>> sources)
      : sources_(std::move(sources)) {}

  bool Next(std::string* value) override {
    value->clear();
    for (std::size_t i = 0; i < sources_.size(); ++i) {
      if (!sources_[i]->Next(&part_)) return false;
      if (i > 0) value->push_back('\0');
      value->append(part_);
    }
    return true;
  }
  Status status() const override {
    for (const auto& source : sources_) {
      if (Status status = source->status(); !status.ok()) return status;
    }
    return Status();
  }
  bool Rewind() override {
    bool rewound = true;
    for (const auto& source : sources_) rewound = source->Rewind() && rewound;
    return rewound;
  }

 private:
  const std::vector<std::unique_ptr<InputSource>> sources_;
  std::string part_;
};

// Every combination of a value of `outer` with one of each of `inner`, the last varying fastest.
class ProductSource : public InputSource {
 public:
  ProductSource(std::unique_ptr<InputSource> outer, std::vector<std::vector<std::string>> inner)
      : outer_(std::move(outer)), inner_(std::move(inner)), at_(inner_.size(), 0) {}

  bool Next(std::string* value) override {
    for (const auto& values : inner_) {
      if (values.empty()) return false;
    }
    if (!started_ || !Advance()) {
      if (!outer_->Next(&outer_value_)) return false;
      started_ = true;
    }
    *value = outer_value_;
    for (std::size_t i = 0; i < inner_.size(); ++i) {
      value->push_back('\0');
      value->append(inner_[i][at_[i]]);
    }
    return true;
  }
  Status status() const override { return outer_->status(); }
  bool Rewind() override {
    started_ = false;
    at_.assign(inner_.size(), 0);
    return outer_->Rewind();
  }

 private:
  // To the next combination with the same outer value; false, and at the first one, when there is
  // none.
  bool Advance() {
    for (std::size_t i = inner_.size(); i-- > 0;) {
      if (++at_[i] < inner_[i].size()) return true;
      at_[i] = 0;
    }
    return false;
  }

  const std::unique_ptr<InputSource> outer_;
  const std::vector<std::vector<std::string>> inner_;
  std::vector<std::size_t> at_;
  std::string outer_value_;
  bool started_ = false;
};

absl::StatusOr<std::unique_ptr<InputSource>> OpenOne(const SourceText& text) {
  if (!text.is_file) return std::make_unique<client::ListSource>(text.values);
  if (text.file == "-") return std::make_unique<LineSource>(stdin, "standard input");
  FILE* file = fopen(text.file.c_str(), "re");
  if (file == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("the input file ", text.file, ": ", strerror(errno)));
  }
  return std::make_unique<LineSource>(file, text.file);
}

absl::StatusOr<std::vector<std::string>> ReadAll(InputSource& source) {
  std::vector<std::string> values;
  std::string value;
  while (source.Next(&value)) values.push_back(value);
  if (const Status status = source.status(); !status.ok()) {
    return absl::InvalidArgumentError(status.message());
  }
  return values;
}

}  // namespace

bool StartsTail(const std::string& word) {
  return word == "--" || word == ":::" || word == ":::+" || word == "::::" || word == "::::+";
}

absl::StatusOr<Tail> ParseTail(const std::vector<std::string>& words) {
  Tail tail;
  std::size_t i = 0;
  if (i < words.size() && words[i] == "--") ++i;
  for (; i < words.size() && (words[i] == "--" || !StartsTail(words[i])); ++i) {
    tail.command.push_back(words[i]);
  }
  while (i < words.size()) {
    const std::string& mark = words[i++];
    SourceText source;
    source.is_file = mark.starts_with("::::");
    source.linked = mark.ends_with('+');
    if (source.linked && tail.sources.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat(mark, " links to the input source before it, but there is none: write ",
                       mark.substr(0, mark.size() - 1)));
    }
    const std::size_t first = i;
    while (i < words.size() && (words[i] == "--" || !StartsTail(words[i]))) ++i;
    if (!source.is_file) {
      source.values.assign(words.begin() + static_cast<std::ptrdiff_t>(first),
                           words.begin() + static_cast<std::ptrdiff_t>(i));
      tail.sources.push_back(std::move(source));
      continue;
    }
    if (first == i) return absl::InvalidArgumentError(absl::StrCat(mark, " needs a file after it"));
    for (std::size_t file = first; file < i; ++file) {
      source.file = words[file];
      tail.sources.push_back(source);
    }
  }
  return tail;
}

absl::StatusOr<std::unique_ptr<InputSource>> OpenInputs(const std::vector<SourceText>& sources) {
  std::unique_ptr<InputSource> first;
  std::vector<std::vector<std::string>> others;
  for (std::size_t i = 0; i < sources.size();) {
    std::vector<std::unique_ptr<InputSource>> group;
    do {
      absl::StatusOr<std::unique_ptr<InputSource>> source = OpenOne(sources[i++]);
      if (!source.ok()) return source.status();
      group.push_back(*std::move(source));
    } while (i < sources.size() && sources[i].linked);
    std::unique_ptr<InputSource> linked = group.size() == 1
                                              ? std::move(group.front())
                                              : std::make_unique<LinkedSource>(std::move(group));
    if (first == nullptr) {
      first = std::move(linked);
      continue;
    }
    absl::StatusOr<std::vector<std::string>> values = ReadAll(*linked);
    if (!values.ok()) return values.status();
    others.push_back(*std::move(values));
  }
  if (first == nullptr) return absl::InvalidArgumentError("there is no input source");
  if (others.empty()) return first;
  return std::make_unique<ProductSource>(std::move(first), std::move(others));
}

std::vector<std::string> SplitValue(const std::string& value) {
  std::vector<std::string> parts;
  std::size_t begin = 0;
  while (true) {
    const std::size_t end = value.find('\0', begin);
    parts.push_back(value.substr(begin, end - begin));
    if (end == std::string::npos) return parts;
    begin = end + 1;
  }
}

}  // namespace haul::cli
