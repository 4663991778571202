#include "worker/exec/launch/command_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

namespace haul::exec {
namespace {

using ::testing::ElementsAre;
using ::testing::UnorderedElementsAre;

std::shared_ptr<const CommandSpec> Parsed(const v1::Command& command) {
  auto spec = CommandSpec::Parse(command);
  EXPECT_TRUE(spec.ok()) << spec.status();
  return *spec;
}

TEST(PrepareSpawnTest, ATaskSeesTheWorkersEnvironmentThenTheJobsThenItsOwn) {
  v1::Command command;
  command.add_arguments("p");
  command.add_arguments("{/}");
  const auto add = [&](const char* name, const char* value) {
    v1::EnvironmentVariable* variable = command.add_environment();
    variable->set_name(name);
    variable->set_value(value);
  };
  add("LANG", "C");
  add("OUT", "first");
  add("OUT", "{/.}.out");
  add("HAUL_ATTEMPT", "forged");
  command.set_directory("/work");
  const CommandTask task{.assignment = AssignmentId(1, 2),
                         .job = JobId(3),
                         .task = 4,
                         .attempt = 5,
                         .command = Parsed(command),
                         .input = "d/f.c"};
  const TaskSettings settings{.environment = {"PATH=/bin", "LANG=de", "PWD=/elsewhere"},
                              .worker = "w1",
                              .coordinator = "127.0.0.1:7070"};
  const auto request = PrepareSpawn(task, settings, "");
  ASSERT_TRUE(request.ok());
  EXPECT_THAT(request->arguments, ElementsAre("p", "f.c"));
  EXPECT_THAT(request->environment,
              UnorderedElementsAre("PATH=/bin", "LANG=C", "OUT=f.out", "PWD=/work", "HAUL_JOB_ID=3",
                                   "HAUL_TASK_INDEX=4", "HAUL_ATTEMPT=5",
                                   "HAUL_FENCING_TOKEN=1099511627778", "HAUL_WORKER=w1",
                                   "HAUL_COORDINATOR=127.0.0.1:7070"));
}

TEST(PrepareSpawnTest, TheWorkersCredentialsAreNotInherited) {
  const std::array<const char*, 9> environment = {
      "PATH=/bin",        "HAUL_TOKEN=secret",  "HAUL_TOKEN_FILE=/t",
      "HAUL_DATA_DIR=/d", "HAUL_INCARNATION=1", "HAUL_GUARDIAN_PID=1",
      "HAUL_TLS_KEY=/k",  "HAULAGE=mine",       nullptr};
  EXPECT_THAT(InheritedEnvironment(environment.data()), ElementsAre("PATH=/bin", "HAULAGE=mine"));
}

TEST(PrepareSpawnTest, ATemporaryDirectoryIsTheTasks) {
  v1::Command command;
  command.add_arguments("p");
  command.set_temporary_directory(true);
  const auto spec = Parsed(command);
  EXPECT_TRUE(spec->temporary_directory());
  EXPECT_EQ(PrepareSpawn({.command = spec}, {}, "/tmp/x")->directory, "/tmp/x");
  command.set_directory("/work");
  EXPECT_FALSE(CommandSpec::Parse(command).ok());
}

TEST(PrepareSpawnTest, BadCommandsSayWhy) {
  EXPECT_FALSE(CommandSpec::Parse(v1::Command()).ok());
  v1::Command command;
  command.add_arguments("p");
  command.set_directory("{}");
  const auto request = PrepareSpawn({.command = Parsed(command), .input = "here"}, {}, "");
  EXPECT_EQ(request.status().message(), "directory 'here' is not absolute");
}

}  // namespace
}  // namespace haul::exec
