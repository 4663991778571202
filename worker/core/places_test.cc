#include "worker/core/places.h"

#include <gtest/gtest.h>

namespace haul::worker {
namespace {

using Task = std::optional<int>;

TEST(PlacesTest, EachEndStartsTheNextInOrder) {
  Places<int> places;
  EXPECT_EQ(places.Add(1), Task());
  EXPECT_EQ(places.Add(2), Task());
  EXPECT_EQ(places.OnEnd(), Task(1));
  places.OnEndTold();
  EXPECT_EQ(places.OnEnd(), Task(2));
  places.OnEndTold();
  EXPECT_TRUE(places.empty());
}

TEST(PlacesTest, WhoeverComesBeforeTheCoreHeardOfTheEndTakesItsPlace) {
  Places<int> places;
  EXPECT_EQ(places.OnEnd(), Task());
  EXPECT_EQ(places.OnEnd(), Task());
  EXPECT_EQ(places.Add(1), Task(1));
  places.OnEndTold();  // 1 has its place
  EXPECT_EQ(places.Add(2), Task(2));
  EXPECT_EQ(places.Add(3), Task());
  places.OnEndTold();  // and 2 the other
  EXPECT_FALSE(places.empty());
  EXPECT_EQ(places.OnEnd(), Task(3));
}

TEST(PlacesTest, APlaceThatTheCoreHasBackIsNotVacant) {
  Places<int> places;
  EXPECT_EQ(places.OnEnd(), Task());
  places.OnEndTold();
  EXPECT_TRUE(places.empty());
  EXPECT_EQ(places.Add(1), Task());
}

TEST(PlacesTest, APlaceMoreIsForTheNextWhereTheFirstHasFollowedAlready) {
  Places<int> places;
  EXPECT_EQ(places.Add(1), Task());
  EXPECT_EQ(places.Add(2), Task());
  EXPECT_EQ(places.OnEnd(), Task(1));
  EXPECT_EQ(places.Advance(), Task(2));  // the core means 1
  places.OnEndTold();                    // now 2
  EXPECT_TRUE(places.empty());
}

TEST(PlacesTest, WithNobodyLeftAPlaceMoreIsVacantUntilTheEndIsTold) {
  Places<int> places;
  EXPECT_EQ(places.Add(1), Task());
  EXPECT_EQ(places.OnEnd(), Task(1));
  EXPECT_EQ(places.Advance(), Task());  // the core means 1, and counts what ended as well
  EXPECT_EQ(places.Add(2), Task(2));
  places.OnEndTold();
  EXPECT_TRUE(places.empty());
}

TEST(PlacesTest, WhatIsWithdrawnDoesNotStart) {
  Places<int> places;
  EXPECT_EQ(places.Add(1), Task());
  EXPECT_EQ(places.Add(2), Task());
  EXPECT_EQ(places.Withdraw(), (std::deque<int>{1, 2}));
  EXPECT_EQ(places.OnEnd(), Task());
  places.OnEndTold();
  EXPECT_TRUE(places.empty());
}

}  // namespace
}  // namespace haul::worker
