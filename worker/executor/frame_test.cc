#include "worker/executor/frame.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "haul/v1/executor.pb.h"

namespace haul::executor {
namespace {

std::string Frame(std::uint64_t assignment) {
  v1::FromExecutor message;
  message.add_reclaimed()->set_assignment_id(assignment);
  return EncodeFrame(message);
}

TEST(FrameTest, FramesAreTakenOneByOneWhenTheyAreWhole) {
  const std::string bytes = Frame(1) + Frame(2);
  std::string_view rest = std::string_view(bytes).substr(0, bytes.size() - 1);
  v1::FromExecutor message;
  EXPECT_EQ(*TakeFrame(&rest, &message), true);
  EXPECT_EQ(message.reclaimed(0).assignment_id(), 1u);
  EXPECT_EQ(*TakeFrame(&rest, &message), false);
  rest = std::string_view(bytes).substr(Frame(1).size());
  EXPECT_EQ(*TakeFrame(&rest, &message), true);
  EXPECT_EQ(message.reclaimed(0).assignment_id(), 2u);
  EXPECT_EQ(*TakeFrame(&rest, &message), false);
}

TEST(FrameTest, WhatIsNoFrameIsRefused) {
  v1::FromExecutor message;
  std::string_view too_long = "\xff\xff\xff\xff";
  EXPECT_EQ(TakeFrame(&too_long, &message).status().message(),
            "a frame of 4294967295 bytes; the limit is 67108864");
  std::string_view no_message("\x01\x00\x00\x00\xff", 5);
  EXPECT_EQ(TakeFrame(&no_message, &message).status().message(), "a frame holds no message");
}

}  // namespace
}  // namespace haul::executor
