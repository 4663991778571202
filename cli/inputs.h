// Where the tasks of `haul run`, `submit` and `call` get their input values: `::: V…`, `::::
// FILE…`,
// `-a FILE`, standard input. Several sources give every combination, the last one varying fastest;
// `:::+` and `::::+` link a source to the one before it instead, value by value, up to the shorter.
//
// Memory does not grow with the first source; further ones (other than linked to the first) are
// held. One thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "haul/client.h"

namespace haul::cli {

struct SourceText {
  bool linked = false;   // to the source before
  bool is_file = false;  // `file` holds a value a line, "-" is standard input
  std::string file;
  std::vector<std::string> values;  // otherwise

  friend bool operator==(const SourceText&, const SourceText&) = default;
};

// What follows the options of a command line.
struct Tail {
  std::vector<std::string> command;
  std::vector<SourceText> sources;
};

// Whether `word` ends the options: "--", ":::", ":::+", "::::" or "::::+".
bool StartsTail(const std::string& word);

// `words` are empty or start with one that StartsTail.
absl::StatusOr<Tail> ParseTail(const std::vector<std::string>& words);

// A value of the source is those of all `sources`, in order, separated by zero bytes. Files are
// opened here; kInvalidArgument names one that cannot be.
absl::StatusOr<std::unique_ptr<client::InputSource>> OpenInputs(
    const std::vector<SourceText>& sources);

// Takes such a value apart.
std::vector<std::string> SplitValue(const std::string& value);

}  // namespace haul::cli
