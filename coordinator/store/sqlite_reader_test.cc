// Rows that no store ever wrote, as a damaged page may hold them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <stdlib.h>

#include <filesystem>
#include <string>

#include "coordinator/store/sqlite_store.h"

namespace haul::coordinator {
namespace {

using testing::HasSubstr;

class SqliteReaderTest : public testing::Test {
 protected:
  SqliteReaderTest() {
    std::string path = testing::TempDir() + "haul-reader-XXXXXX";
    EXPECT_NE(::mkdtemp(path.data()), nullptr);
    directory_ = path;
  }
  ~SqliteReaderTest() override { std::filesystem::remove_all(directory_); }

  // The first page of the job's outcomes, after the statement has changed what was written.
  absl::StatusOr<OutcomePage> Read(const char* damage, bool in_order = false) {
    auto store = SqliteStore::Open(directory_);
    EXPECT_TRUE(store.ok()) << store.status();
    EXPECT_TRUE((*store)->Recover().ok());
    Outcome outcome{.tasks = {0, 2}};
    outcome.results.Append("ab");
    outcome.results.Append("cd");
    EXPECT_TRUE((*store)
                    ->Commit({AddJob{.record = {.job = JobId(1), .spec = {.task_count = 5}}},
                              AddOutcome{JobId(1), outcome}})
                    .ok());
    sqlite3* database = nullptr;
    EXPECT_EQ(sqlite3_open((directory_ + "/haul.db").c_str(), &database), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(database, damage, nullptr, nullptr, nullptr), SQLITE_OK) << damage;
    sqlite3_close(database);
    auto reader = (*store)->NewReader();
    EXPECT_TRUE(reader.ok());
    return (*reader)->ReadOutcomes({.job = JobId(1), .in_order = in_order});
  }

  void ExpectDamaged(const char* damage, const char* what) {
    for (const bool in_order : {false, true}) {
      const absl::StatusOr<OutcomePage> page = Read(damage, in_order);
      EXPECT_EQ(page.status().code(), absl::StatusCode::kDataLoss) << damage;
      EXPECT_THAT(std::string(page.status().message()), HasSubstr(what));
      std::filesystem::remove_all(directory_);
    }
  }

  std::string directory_;
};

TEST_F(SqliteReaderTest, ReadsWhatIsSound) {
  const absl::StatusOr<OutcomePage> page = Read("SELECT 1");
  ASSERT_TRUE(page.ok()) << page.status();
  ASSERT_EQ(page->entries.size(), 1u);
  EXPECT_EQ(page->entries[0].outcome.results[1], "cd");
}

TEST_F(SqliteReaderTest, RefusesRunsThatCannotBe) {
  ExpectDamaged("UPDATE outcomes SET count=0", "a run of 0 tasks from 0");
  ExpectDamaged("UPDATE outcomes SET count=-3", "a run of -3 tasks from 0");
}

TEST_F(SqliteReaderTest, RefusesWaysToEndThatThereAreNot) {
  ExpectDamaged("UPDATE outcomes SET status=5", "a task ended with status 5");
  ExpectDamaged("UPDATE outcomes SET status=4294967297", "status 4294967297");
  ExpectDamaged("UPDATE outcomes SET cause=200", "task 0 ended with cause 200");
}

TEST_F(SqliteReaderTest, RefusesTextThatTheWireCannotCarry) {
  ExpectDamaged("UPDATE outcomes SET output_file=CAST(x'ff' AS TEXT)", "not UTF-8");
}

TEST_F(SqliteReaderTest, RefusesResultsThatAreNotThere) {
  ExpectDamaged("UPDATE outcomes SET results=x'61'", "a row does not hold the 2 values");
  ExpectDamaged("UPDATE outcomes SET result_ends=x'0100'", "a row does not hold the 2 values");
}

// Looking for the next set after it would never end.
TEST_F(SqliteReaderTest, AStartRefusesInputsOfNoSet) {
  ASSERT_TRUE(
      Read("DROP TABLE inputs;"
           "CREATE TABLE inputs(set_id,first,count,uniform_size,end_offsets,data,row_check);"
           "INSERT INTO inputs VALUES('x',0,1,1,NULL,x'61',NULL);")
          .ok());
  auto store = SqliteStore::Open(directory_);
  ASSERT_TRUE(store.ok()) << store.status();
  const absl::StatusOr<Recovered> recovered = (*store)->Recover();
  EXPECT_EQ(recovered.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(recovered.status().message()), HasSubstr("inputs is of no set"));
}

}  // namespace
}  // namespace haul::coordinator
