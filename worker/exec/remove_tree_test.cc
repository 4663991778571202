#include "worker/exec/remove_tree.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "worker/exec/test_directory.h"

namespace haul::exec {
namespace {

TEST(RemoveTreeTest, HoweverDeepItIs) {
  constexpr int kLevels = 1000;  // with its path over what one call takes
  const TestDirectory directory;
  const std::string tree = directory.path("tree");
  ASSERT_EQ(::mkdir(tree.c_str(), 0700), 0);
  int fd = ::open(tree.c_str(), O_RDONLY | O_DIRECTORY);
  for (int level = 0; level < kLevels; ++level) {
    ASSERT_EQ(::mkdirat(fd, "down", 0700), 0);
    ASSERT_EQ(::mkdirat(fd, "beside", 0700), 0);
    const int below = ::openat(fd, "down", O_RDONLY | O_DIRECTORY);
    ::close(fd);
    fd = below;
  }
  ::close(fd);
  EXPECT_TRUE(RemoveTree(tree));
  EXPECT_FALSE(std::filesystem::exists(tree));
}

TEST(RemoveTreeTest, LinksAreRemovedAndNotFollowed) {
  const TestDirectory directory;
  std::filesystem::create_directories(directory.path("tree/below"));
  std::filesystem::create_directory(directory.path("kept"));
  std::ofstream(directory.path("kept/file")) << "kept";
  std::filesystem::create_symlink(directory.path("kept"), directory.path("tree/below/link"));
  std::filesystem::create_symlink("..", directory.path("tree/below/up"));
  EXPECT_TRUE(RemoveTree(directory.path("tree")));
  EXPECT_FALSE(std::filesystem::exists(directory.path("tree")));
  EXPECT_TRUE(std::filesystem::exists(directory.path("kept/file")));
}

TEST(RemoveTreeTest, RightsThatWereTakenAwayAreGivenBack) {
  const TestDirectory directory;
  std::filesystem::create_directories(directory.path("tree/closed/below"));
  std::ofstream(directory.path("tree/closed/below/file")) << "x";
  ASSERT_EQ(::chmod(directory.path("tree/closed/below").c_str(), 0), 0);
  ASSERT_EQ(::chmod(directory.path("tree/closed").c_str(), 0), 0);
  EXPECT_TRUE(RemoveTree(directory.path("tree")));
  EXPECT_FALSE(std::filesystem::exists(directory.path("tree")));
}

TEST(RemoveTreeTest, WhatIsNotThereIsGoneAndAFileIsNoDirectory) {
  const TestDirectory directory;
  EXPECT_TRUE(RemoveTree(directory.path("nothing")));
  std::ofstream(directory.path("file")) << "x";
  EXPECT_FALSE(std::filesystem::is_directory(directory.path("file")));
  EXPECT_TRUE(RemoveTree(directory.path("file")));
  EXPECT_FALSE(std::filesystem::exists(directory.path("file")));
}

}  // namespace
}  // namespace haul::exec
