// What a task gives as output or as its result: in memory up to 64 KiB, beyond that in a file.
//
// One thread. A file that nobody took is removed with its capture.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace haul::executor {

class OutputCapture {
 public:
  static constexpr std::size_t kInlineBytes = 64 * 1024;

  // `path` names the file, should there be one.
  explicit OutputCapture(std::string path) : path_(std::move(path)) {}
  ~OutputCapture();
  OutputCapture(const OutputCapture&) = delete;
  OutputCapture& operator=(const OutputCapture&) = delete;

  // 0, or errno where the file cannot be written; then the output is not complete any more.
  [[nodiscard]] int Append(std::string_view data);
  // The same for what closing the file says. Nothing is appended afterwards.
  [[nodiscard]] int Finish();
  // Drops all that was written.
  void Discard();

  std::uint64_t byte_count() const { return byte_count_; }
  bool is_in_file() const { return in_file_; }
  // What was written, unless it is in the file.
  const std::string& inlined() const { return inline_; }
  std::string TakeInline() { return std::move(inline_); }
  // The file's path; from now on the caller removes it.
  std::string TakeFile();

 private:
  int WriteAll(std::string_view data);

  std::string path_;
  std::string inline_;
  std::uint64_t byte_count_ = 0;
  bool in_file_ = false;
  int fd_ = -1;
};

}  // namespace haul::executor
