// Older and newer schemas: brought to this one as a whole, or refused with both versions.
#include <sys/stat.h>

#include "coordinator/store/schema_v1_for_test.h"
#include "coordinator/store/sqlite_schema.h"
#include "coordinator/store/sqlite_store.h"
#include "coordinator/store/store_test_util.h"
#include "gmock/gmock.h"

namespace haul::coordinator {
namespace {

using ::testing::HasSubstr;

class SchemaTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(::mkdir(data_dir().c_str(), 0700), 0); }
  std::string data_dir() const { return directory_.path() + "/data"; }
  std::string database() const { return data_dir() + "/haul.db"; }

  sqlite::Connection Connect() const {
    return *sqlite::Connection::Open(database(), sqlite::Connection::Mode::kReadWrite);
  }
  void Sql(const std::string& sql) const {
    const absl::Status done = Connect().Execute(sql.c_str());
    ASSERT_TRUE(done.ok()) << done;
  }
  std::int64_t Number(const std::string& sql) const { return *Connect().ReadInteger(sql); }

  ScratchDirectory directory_;
};

TEST_F(SchemaTest, VersionOneIsBroughtToThisOneWithAllThatIsInIt) {
  Sql(std::string("PRAGMA journal_mode=WAL;") + kSchemaV1 + kRowsV1);
  {
    auto store = *SqliteStore::Open(data_dir());
    const auto recovered = store->Recover();
    ASSERT_TRUE(recovered.ok()) << recovered.status();
    EXPECT_EQ(recovered->epoch, 8u);
    EXPECT_EQ(recovered->last_job, JobId(4));
    EXPECT_EQ(recovered->last_input_set, InputSetId(9));
    ASSERT_EQ(recovered->jobs.size(), 2u);
    EXPECT_EQ(recovered->jobs[0].record.spec.request_id, "r-3");
    EXPECT_EQ(recovered->jobs[0].job_template, std::string("\0\xff", 2));
    EXPECT_EQ(Only<OutcomeRecorded>(recovered->records).size(), 1u);
    ASSERT_EQ(Only<AttemptsCharged>(recovered->records).size(), 1u);
    EXPECT_EQ(Only<AttemptsCharged>(recovered->records)[0].attempts, 1u);
    ASSERT_EQ(Only<JobEnded>(recovered->records).size(), 1u);
    EXPECT_EQ(Only<JobEnded>(recovered->records)[0].counts.failed, 1u);
    EXPECT_EQ(Only<JobCancelRequested>(recovered->records).size(), 1u);
    EXPECT_EQ(Only<WorkerJoined>(recovered->records).size(), 1u);

    auto reader = *store->NewReader();
    EXPECT_EQ(*reader->ReadInputs(InputSetId(9), {0, 2}), Pack({"ab", "cde"}));
    const auto page = reader->ReadOutcomes({.job = JobId(3)});
    ASSERT_TRUE(page.ok()) << page.status();
    EXPECT_EQ(page->entries[0].outcome.results, Pack({"done"}));
    reader.reset();

    ASSERT_TRUE(store->Commit(Writes(Ended(3, 1, 1))).ok());
  }
  EXPECT_EQ(Number("PRAGMA user_version"), kSchemaVersion);
  EXPECT_EQ(Number("SELECT count(*) FROM tasks WHERE job=3"), 2);
  EXPECT_EQ(Number("SELECT value FROM meta WHERE name='commits'"), 2);
  EXPECT_TRUE((*SqliteStore::Open(data_dir()))->Recover().ok()) << "and from then on";
}

TEST_F(SchemaTest, TheTablesOfAMigratedDatabaseAreThoseOfANewOne) {
  const auto columns = [this] {
    std::string text;
    auto connection = Connect();
    auto rows = *connection.Prepare(
        "SELECT m.name, c.name, c.type FROM sqlite_schema m, pragma_table_info(m.name) c "
        "WHERE m.type IN ('table', 'view') ORDER BY m.name, c.name");
    while (rows.Next()) text += rows.Text(0) + "." + rows.Text(1) + " " + rows.Text(2) + "\n";
    auto names = *connection.Prepare("SELECT name FROM meta ORDER BY name");
    while (names.Next()) text += "meta " + names.Text(0) + "\n";
    return text;
  };
  Sql(std::string("PRAGMA journal_mode=WAL;") + kSchemaV1);
  ASSERT_TRUE(OpenDatabase(database(), 1000).ok());
  const std::string migrated = columns();
  std::filesystem::remove_all(data_dir());
  ASSERT_TRUE(SqliteStore::Open(data_dir()).ok());
  EXPECT_EQ(migrated, columns());
}

TEST_F(SchemaTest, AMigrationThatFailsChangesNothing) {
  Sql(std::string("PRAGMA journal_mode=WAL;") + kSchemaV1 + kRowsV1);
  auto connection = Connect();
  const Migration steps[] = {{2, "ALTER TABLE jobs ADD COLUMN more INTEGER;"},
                             {3, "INSERT INTO nowhere VALUES (1);"}};
  const absl::Status migrated = Migrate(connection, database(), 1, steps);
  EXPECT_THAT(std::string(migrated.message()), HasSubstr("cannot bring schema version 1 to 3"));
  EXPECT_EQ(Number("PRAGMA user_version"), 1);
  EXPECT_EQ(Number("SELECT count(*) FROM pragma_table_info('jobs') WHERE name='more'"), 0);
}

TEST_F(SchemaTest, AMigrationGoesOnFromWhereTheDatabaseIs) {
  Sql(std::string("PRAGMA journal_mode=WAL;") + kSchemaV1 + "PRAGMA user_version=2;");
  auto connection = Connect();
  const Migration steps[] = {{2, "INSERT INTO nowhere VALUES (1);"},
                             {3, "INSERT INTO meta VALUES ('three', 3);"},
                             {4, "INSERT INTO meta VALUES ('four', 4);"}};
  EXPECT_TRUE(Migrate(connection, database(), 2, steps).ok());
  EXPECT_EQ(Number("PRAGMA user_version"), 4);
  EXPECT_EQ(Number("SELECT sum(value) FROM meta"), 7);
}

TEST_F(SchemaTest, AVersionThatNobodyWroteIsDamage) {
  Sql(std::string("PRAGMA journal_mode=WAL;") + kSchemaV1 + "PRAGMA user_version=-5;");
  const absl::Status opened = SqliteStore::Open(data_dir()).status();
  EXPECT_EQ(opened.code(), absl::StatusCode::kDataLoss) << opened;
  EXPECT_THAT(std::string(opened.message()), HasSubstr("schema version -5"));
  EXPECT_EQ(Number("PRAGMA user_version"), -5) << "left as it is";
}

TEST_F(SchemaTest, ANewerVersionIsRefusedWithBothAndLeftAsItIs) {
  ASSERT_TRUE(SqliteStore::Open(data_dir()).ok());
  Sql("PRAGMA user_version=" + std::to_string(kSchemaVersion + 1));
  const absl::Status opened = SqliteStore::Open(data_dir()).status();
  EXPECT_EQ(opened.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(opened.message()),
              HasSubstr("schema version " + std::to_string(kSchemaVersion + 1)));
  EXPECT_THAT(std::string(opened.message()),
              HasSubstr("only version " + std::to_string(kSchemaVersion)));
  EXPECT_EQ(Number("PRAGMA user_version"), kSchemaVersion + 1);
}

}  // namespace
}  // namespace haul::coordinator
