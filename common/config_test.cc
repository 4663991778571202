#include "common/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <string>

namespace haul {
namespace {

using ::testing::HasSubstr;

// A home of its own and an environment that is a map.
class ConfigTest : public ::testing::Test {
 protected:
  ConfigTest() {
    std::string pattern = ::testing::TempDir() + "haul_config_XXXXXX";
    home_ = mkdtemp(pattern.data());
    variables_["HOME"] = home_;
  }
  ~ConfigTest() override { std::filesystem::remove_all(home_); }

  Environment environment() const {
    return [this](const char* name) -> std::optional<std::string> {
      const auto found = variables_.find(name);
      if (found == variables_.end()) return std::nullopt;
      return found->second;
    };
  }
  void Write(const std::string& path, const std::string& text) const {
    std::filesystem::create_directories(std::filesystem::path(home_ + path).parent_path());
    std::ofstream(home_ + path) << text;
  }

  std::string home_;
  std::map<std::string, std::string> variables_;
};

TEST_F(ConfigTest, WithNothingSaidItIsTheDefaultDataDirectory) {
  const Config config = *LoadConfig({}, environment());
  EXPECT_EQ(config.data_dir, home_ + "/.local/share/haul");
  EXPECT_EQ(config.token_file, home_ + "/.local/share/haul/token");
  EXPECT_EQ(config.coordinator, "");
  EXPECT_EQ(ReadToken(config).status().code(), absl::StatusCode::kPermissionDenied);
}

TEST_F(ConfigTest, TheCoordinatorsOwnFilesAreFound) {
  Write("/.local/share/haul/address", "127.0.0.1:7070\n");
  Write("/.local/share/haul/token", "secret\n");
  const Config config = *LoadConfig({}, environment());
  EXPECT_EQ(config.coordinator, "127.0.0.1:7070");
  EXPECT_EQ(*ReadToken(config), "secret");
}

TEST_F(ConfigTest, FlagsComeBeforeTheEnvironmentBeforeTheFile) {
  Write("/.config/haul/config.toml",
        "# where it is\ncoordinator = \"file:1\"\ndata_dir = \"/file dir\"\ntoken_file = "
        "\"/file/t\"\n");
  Config config = *LoadConfig({}, environment());
  EXPECT_EQ(config.coordinator, "file:1");
  EXPECT_EQ(config.data_dir, "/file dir");
  EXPECT_EQ(config.token_file, "/file/t");

  variables_["HAUL_COORDINATOR"] = "variable:2";
  variables_["HAUL_DATA_DIR"] = "/variable";
  variables_["HAUL_TOKEN_FILE"] = "/variable/t";
  config = *LoadConfig({}, environment());
  EXPECT_EQ(config.coordinator, "variable:2");
  EXPECT_EQ(config.data_dir, "/variable");
  EXPECT_EQ(config.token_file, "/variable/t");

  config = *LoadConfig({.coordinator = "flag:3", .data_dir = "/flag", .token_file = "/flag/t"},
                       environment());
  EXPECT_EQ(config.coordinator, "flag:3");
  EXPECT_EQ(config.data_dir, "/flag");
  EXPECT_EQ(config.token_file, "/flag/t");
}

TEST_F(ConfigTest, ANamedDataDirectoryComesBeforeWhatLowerRanksSayOfAnother) {
  Write("/.config/haul/config.toml", "coordinator = \"file:1\"\ntoken_file = \"/file/t\"\n");
  Write("/variable/address", "variable:2\n");
  Write("/flag/address", "flag:3\n");
  variables_["HAUL_DATA_DIR"] = home_ + "/variable";
  Config config = *LoadConfig({}, environment());
  EXPECT_EQ(config.coordinator, "variable:2");
  EXPECT_EQ(config.token_file, home_ + "/variable/token");

  variables_["HAUL_COORDINATOR"] = "elsewhere:4";
  EXPECT_EQ(LoadConfig({}, environment())->coordinator, "elsewhere:4");
  config = *LoadConfig({.data_dir = home_ + "/flag"}, environment());
  EXPECT_EQ(config.coordinator, "flag:3");
  EXPECT_EQ(config.token_file, home_ + "/flag/token");
}

TEST_F(ConfigTest, TheXdgDirectoriesAreKept) {
  variables_["XDG_CONFIG_HOME"] = home_ + "/c";
  variables_["XDG_DATA_HOME"] = home_ + "/d";
  Write("/c/haul/config.toml", "coordinator = \"there:1\"\n");
  const Config config = *LoadConfig({}, environment());
  EXPECT_EQ(config.coordinator, "there:1");
  EXPECT_EQ(config.data_dir, home_ + "/d/haul");
}

TEST_F(ConfigTest, AMistakeInTheFileIsNamed) {
  Write("/.config/haul/config.toml", "cordinator = \"file:1\"\n");
  const absl::Status status = LoadConfig({}, environment()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("config.toml: unknown key \"cordinator\""));
}

TEST_F(ConfigTest, ARunningUpIsFoundAndADeadOneIsNot) {
  const std::string some_where = home_ + "/some where";
  const std::string another = home_ + "/another";
  Write("/some where/address", "127.0.0.1:1\n");
  Write("/another/address", "127.0.0.1:2\n");
  ASSERT_TRUE(NoteRunningUp(some_where, getpid(), environment()).ok());
  EXPECT_EQ(LoadConfig({}, environment())->data_dir, some_where);
  variables_["HAUL_DATA_DIR"] = "/named";
  EXPECT_EQ(LoadConfig({}, environment())->data_dir, "/named");
  variables_.erase("HAUL_DATA_DIR");

  // A second one is found until it ends, then the first again.
  ASSERT_TRUE(NoteRunningUp(another, getppid(), environment()).ok());
  EXPECT_EQ(LoadConfig({}, environment())->data_dir, another);
  ForgetRunningUp(getppid(), environment());
  EXPECT_EQ(LoadConfig({}, environment())->data_dir, some_where);
  ForgetRunningUp(getpid(), environment());
  EXPECT_EQ(LoadConfig({}, environment())->data_dir, DefaultDataDir(environment()));

  // Above any pid that Linux gives out.
  ASSERT_TRUE(NoteRunningUp(some_where, 1 << 30, environment()).ok());
  EXPECT_EQ(LoadConfig({}, environment())->data_dir, DefaultDataDir(environment()));
}

TEST_F(ConfigTest, ANoteWhosePidIsUsedAgainIsNotBelieved) {
  ASSERT_TRUE(NoteRunningUp(home_ + "/gone", getpid(), environment()).ok());
  const Config config = *LoadConfig({}, environment());
  EXPECT_EQ(config.data_dir, DefaultDataDir(environment()));
  EXPECT_FALSE(config.is_running_up);
}

}  // namespace
}  // namespace haul
