#include "cli/inputs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace haul::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class InputsTest : public ::testing::Test {
 protected:
  InputsTest() {
    std::string pattern = ::testing::TempDir() + "haul_inputs_XXXXXX";
    directory_ = mkdtemp(pattern.data());
  }
  ~InputsTest() override { std::filesystem::remove_all(directory_); }

  std::string File(const std::string& name, const std::string& text) const {
    std::ofstream(directory_ + "/" + name, std::ios::binary) << text;
    return directory_ + "/" + name;
  }

  // The values that a command line's tail gives, with zero bytes shown as '|'.
  std::vector<std::string> Values(const std::vector<std::string>& words) {
    inputs_ = *OpenInputs(ParseTail(words)->sources);
    return Drain();
  }
  std::vector<std::string> Drain() {
    std::vector<std::string> values;
    std::string value;
    while (inputs_->Next(&value)) {
      for (char& c : value) c = c == '\0' ? '|' : c;
      values.push_back(value);
    }
    return values;
  }

  std::string directory_;
  std::unique_ptr<client::InputSource> inputs_;
};

TEST_F(InputsTest, TheCommandEndsAtTheFirstSource) {
  const Tail tail =
      *ParseTail({"--", "grep", "--", "-x", "{}", ":::", "a", "--", "::::", "f", "g"});
  EXPECT_THAT(tail.command, ElementsAre("grep", "--", "-x", "{}"));
  ASSERT_EQ(tail.sources.size(), 3u);
  EXPECT_THAT(tail.sources[0].values, ElementsAre("a", "--"));
  EXPECT_EQ(tail.sources[1].file, "f");
  EXPECT_EQ(tail.sources[2].file, "g");
  EXPECT_THAT(ParseTail({})->command, IsEmpty());
}

TEST_F(InputsTest, SourcesMultiplyAndTheLastVariesFastest) {
  EXPECT_THAT(Values({":::", "a", "b"}), ElementsAre("a", "b"));
  EXPECT_THAT(Values({":::", "1", "2", ":::", "a", "b", ":::", "x"}),
              ElementsAre("1|a|x", "1|b|x", "2|a|x", "2|b|x"));
  EXPECT_THAT(Values({":::", "1", "2", ":::"}), IsEmpty());
}

TEST_F(InputsTest, LinkedSourcesGoSideBySideUpToTheShorter) {
  EXPECT_THAT(Values({":::", "1", "2", "3", ":::+", "a", "b"}), ElementsAre("1|a", "2|b"));
  EXPECT_THAT(Values({":::", "x", "y", ":::", "1", "2", ":::+", "a", "b"}),
              ElementsAre("x|1|a", "x|2|b", "y|1|a", "y|2|b"));
  EXPECT_FALSE(ParseTail({":::+", "a"}).ok());
}

TEST_F(InputsTest, FilesHaveAValueALine) {
  const std::string file = File("lines", "first\n\nthird, with space \nlast without end");
  EXPECT_THAT(Values({"::::", file}),
              ElementsAre("first", "", "third, with space ", "last without end"));
  ASSERT_TRUE(inputs_->Rewind());
  EXPECT_EQ(Drain().size(), 4u);
  EXPECT_THAT(Values({"::::", File("empty", "")}), IsEmpty());
  EXPECT_THAT(Values({"::::", file, ":::+", "1", "2"}), ElementsAre("first|1", "|2"));
}

TEST_F(InputsTest, StandardInputIsRewoundToWhereItStood) {
  const int saved = dup(STDIN_FILENO);
  ASSERT_NE(freopen(File("table", "header\na\nb\n").c_str(), "r", stdin), nullptr);
  ASSERT_EQ(lseek(STDIN_FILENO, 7, SEEK_SET), 7);  // as a shell's `read` leaves it
  EXPECT_THAT(Values({"::::", "-"}), ElementsAre("a", "b"));
  ASSERT_TRUE(inputs_->Rewind());
  EXPECT_THAT(Drain(), ElementsAre("a", "b"));
  dup2(saved, STDIN_FILENO);
  close(saved);
}

TEST_F(InputsTest, LinesThatLieAcrossTheBuffersEndAreWhole) {
  std::string text;
  std::vector<std::string> lines;
  for (char c = 'a'; c < 'i'; ++c) {
    lines.emplace_back(100'000, c);
    text += lines.back() + "\n";
  }
  EXPECT_EQ(Values({"::::", File("long", text)}), lines);
}

TEST_F(InputsTest, BytesThatNoArgumentCanHoldAreRefused) {
  EXPECT_THAT(Values({"::::", File("zero", std::string("fine\nb\0d\n", 9))}), ElementsAre("fine"));
  EXPECT_EQ(inputs_->status().kind(), client::ErrorKind::kInvalid);
  EXPECT_THAT(inputs_->status().message(), HasSubstr("line 2 holds a zero byte"));

  EXPECT_THAT(Values({"::::", File("huge", std::string(5 << 20, 'x'))}), IsEmpty());
  EXPECT_THAT(inputs_->status().message(), HasSubstr("line 1 is longer"));
}

TEST_F(InputsTest, AMissingFileIsNamed) {
  const auto inputs = OpenInputs(ParseTail({"::::", directory_ + "/none"})->sources);
  EXPECT_THAT(std::string(inputs.status().message()), HasSubstr("/none: No such file"));
  EXPECT_FALSE(ParseTail({"::::"}).ok());
}

TEST_F(InputsTest, ARewoundProductStartsAgain) {
  EXPECT_EQ(Values({":::", "1", "2", ":::", "a", "b"}).size(), 4u);
  ASSERT_TRUE(inputs_->Rewind());
  EXPECT_THAT(Drain(), ElementsAre("1|a", "1|b", "2|a", "2|b"));
}

TEST_F(InputsTest, ValuesComeApartAgain) {
  EXPECT_THAT(SplitValue(std::string("a\0\0b", 4)), ElementsAre("a", "", "b"));
  EXPECT_THAT(SplitValue(""), ElementsAre(""));
}

}  // namespace
}  // namespace haul::cli
