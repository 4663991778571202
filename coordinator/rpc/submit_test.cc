// Jobs.Submit: whole or not at all, and what is refused says why.
#include <sqlite3.h>

#include "coordinator/rpc/server_fixture.h"

namespace haul::coordinator {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::size_t kValueLimitBytes = 128 << 10;

v1::JobSpec CommandJob() {
  v1::JobSpec spec = ArrayJob(0);
  spec.clear_array();
  return spec;
}

v1::SubmitRequest Begin(const v1::JobSpec& spec) {
  v1::SubmitRequest request;
  *request.mutable_spec() = spec;
  return request;
}

v1::SubmitRequest Inputs(const std::vector<std::string>& values, bool complete = false) {
  v1::SubmitRequest request;
  for (const std::string& value : values) {
    request.mutable_inputs()->mutable_data()->append(value);
    request.mutable_inputs()->add_end_offsets(
        static_cast<std::uint32_t>(request.inputs().data().size()));
  }
  request.set_input_count(values.size());
  request.set_complete(complete);
  return request;
}

v1::SubmitRequest Complete() {
  v1::SubmitRequest request;
  request.set_complete(true);
  return request;
}

// Volatile, of ten values.
struct UnfinishedSubmit {
  explicit UnfinishedSubmit(v1::Jobs::Stub& jobs) : writer(jobs.Submit(&context, &reply)) {
    v1::JobSpec spec = CommandJob();
    spec.set_volatile_job(true);
    writer->Write(Begin(spec));
    for (int i = 0; i < 10; ++i) writer->Write(Inputs({std::string(kValueLimitBytes, 'v')}));
  }
  Context context;
  v1::SubmitReply reply;
  std::unique_ptr<grpc::ClientWriter<v1::SubmitRequest>> writer;
};

class SubmitTest : public ServerTest {
 protected:
  // Rows of inputs on the disk, also those of submits under way.
  int StoredInputs() {
    sqlite3* database = nullptr;
    EXPECT_EQ(sqlite3_open_v2((options_.data_dir + "/haul.db").c_str(), &database,
                              SQLITE_OPEN_READONLY, nullptr),
              SQLITE_OK);
    sqlite3_busy_timeout(database, 30'000);
    int count = -1;
    const auto take = [](void* out, int, char** columns, char**) {
      *static_cast<int*>(out) = std::atoi(columns[0]);
      return 0;
    };
    sqlite3_exec(database, "SELECT count(*) FROM inputs", take, &count, nullptr);
    sqlite3_close(database);
    return count;
  }
  void ExpectNothingKept() {
    EXPECT_EQ(List().jobs_size(), 0);
    EXPECT_TRUE(Eventually([this] { return StoredInputs() == 0; })) << StoredInputs();
  }
  // Whether a volatile job of so many bytes would find room just now.
  bool HasRoom(std::size_t bytes) {
    v1::JobSpec spec = CommandJob();
    spec.set_volatile_job(true);
    std::vector<v1::SubmitRequest> messages = {Begin(spec)};
    for (; bytes >= kValueLimitBytes; bytes -= kValueLimitBytes) {
      messages.push_back(Inputs({std::string(kValueLimitBytes, 'v')}));
    }
    const grpc::Status status = Submit(messages);  // incomplete: dropped again
    return status.error_code() != grpc::StatusCode::RESOURCE_EXHAUSTED;
  }
};

// ---- whole or not at all ----

TEST_F(SubmitTest, AClientThatVanishesHasSubmittedNothing) {
  for (const bool abandoned : {false, true}) {
    auto context = std::make_unique<Context>();
    v1::SubmitReply reply;
    auto writer = jobs_->Submit(context.get(), &reply);
    ASSERT_TRUE(writer->Write(Begin(CommandJob())));
    ASSERT_TRUE(writer->Write(Inputs({"one", "two"})));
    ASSERT_TRUE(Eventually([this] { return StoredInputs() > 0; }));
    if (abandoned) {
      context.reset();  // as when the process ends
    } else {
      context->TryCancel();
      EXPECT_FALSE(writer->Finish().ok());
    }
    ExpectNothingKept();
  }
}

TEST_F(SubmitTest, TheMemoryOfAVolatileSubmitThatVanishedIsFree) {
  coordinator_.reset();
  options_.volatile_bytes = 2 << 20;
  Start();
  constexpr std::size_t kMostOfIt = 10 * kValueLimitBytes;
  for (int round = 0; round < 3; ++round) {
    ASSERT_TRUE(Eventually([&] { return HasRoom(kMostOfIt); })) << "round " << round;
    auto submit = std::make_unique<UnfinishedSubmit>(*jobs_);
    ASSERT_TRUE(Eventually([&] {
      if (!HasRoom(kMostOfIt)) return true;
      // The look may have taken the room that it then had not: it begins again.
      if (!submit->writer->Write({})) submit = std::make_unique<UnfinishedSubmit>(*jobs_);
      return false;
    }));
    submit->context.TryCancel();
    EXPECT_FALSE(submit->writer->Finish().ok());
  }
  EXPECT_TRUE(Eventually([&] { return HasRoom(kMostOfIt); }));
}

TEST_F(SubmitTest, VolatileJobsThatHaveEndedTakeRoomUntilTheyAreForgotten) {
  coordinator_.reset();
  options_.volatile_bytes = 100'000;
  Start();
  v1::JobSpec spec = ArrayJob(1);
  spec.set_volatile_job(true);
  spec.mutable_command()->add_arguments(std::string(20'000, 'a'));
  std::vector<std::uint64_t> jobs;
  v1::SubmitReply reply;
  grpc::Status status = Submit({Whole(spec)}, &reply);
  for (; status.ok() && jobs.size() < 10; status = Submit({Whole(spec)}, &reply)) {
    jobs.push_back(reply.job_id());
    EXPECT_THAT(Cancel(Job(reply.job_id())), Succeeds());
  }
  EXPECT_THAT(status, Fails(grpc::StatusCode::RESOURCE_EXHAUSTED, "haul job forget"));
  ASSERT_FALSE(jobs.empty());
  EXPECT_THAT(Submit({Begin(spec)}), Fails(kInvalid, "before it was complete"));
  Context context;
  v1::ForgetJobRequest forget;
  *forget.mutable_job() = Job(jobs.front());
  v1::ForgetJobReply forgotten;
  EXPECT_THAT(jobs_->Forget(&context, forget, &forgotten), Succeeds());
  EXPECT_THAT(Submit({Whole(spec)}), Succeeds());
}

TEST_F(SubmitTest, ATemplateThatIsDamagedIsAnErrorNotAJobWithoutACommand) {
  const std::uint64_t job = Accepted(ArrayJob(1));
  ASSERT_THAT(Cancel(Job(job)), Succeeds());  // it has ended: its template is on the disk alone
  sqlite3* database = nullptr;
  ASSERT_EQ(sqlite3_open((options_.data_dir + "/haul.db").c_str(), &database), SQLITE_OK);
  sqlite3_busy_timeout(database, 30'000);
  EXPECT_EQ(sqlite3_exec(database, "UPDATE jobs SET template = x'00'", nullptr, nullptr, nullptr),
            SQLITE_OK);
  sqlite3_close(database);
  v1::JobStatus status;
  EXPECT_THAT(Get(Job(job), &status), Fails(grpc::StatusCode::DATA_LOSS, ""));
}

TEST_F(SubmitTest, HalfClosingDoesNotCompleteIt) {
  EXPECT_THAT(Submit(std::vector<v1::SubmitRequest>()), Fails(kInvalid, "before it was complete"));
  EXPECT_THAT(Submit({Begin(ArrayJob(3))}), Fails(kInvalid, "before it was complete"));
  EXPECT_THAT(Submit({Begin(CommandJob()), Inputs({"one"})}),
              Fails(kInvalid, "before it was complete"));
  ExpectNothingKept();
}

TEST_F(SubmitTest, MessagesOutOfOrderAreRefused) {
  EXPECT_THAT(Submit({Complete()}), Fails(kInvalid, "spec: missing in the first message"));
  EXPECT_THAT(Submit({Inputs({"one"}), Begin(CommandJob()), Complete()}),
              Fails(kInvalid, "spec: missing in the first message"));
  EXPECT_THAT(Submit({Begin(CommandJob()), Inputs({"one"}), Begin(CommandJob()), Complete()}),
              Fails(kInvalid, "spec: only in the first message"));
  EXPECT_THAT(Submit({Begin(ArrayJob(3)), Whole(ArrayJob(3))}),
              Fails(kInvalid, "spec: only in the first message"));
  ExpectNothingKept();
}

TEST_F(SubmitTest, InputsThatDoNotAddUpAreRefused) {
  v1::SubmitRequest short_of_one = Inputs({"a", "bc"});
  short_of_one.set_input_count(3);
  EXPECT_THAT(Submit({Begin(CommandJob()), short_of_one, Complete()}), Fails(kInvalid, "inputs"));
  v1::SubmitRequest past_the_end = Inputs({"a", "bc"});
  past_the_end.mutable_inputs()->set_end_offsets(1, 4'000'000'000);
  EXPECT_THAT(Submit({Begin(CommandJob()), past_the_end, Complete()}), Fails(kInvalid, "inputs"));
  v1::SubmitRequest descending = Inputs({"abc", "de"});
  descending.mutable_inputs()->set_end_offsets(0, 6);
  EXPECT_THAT(Submit({Begin(CommandJob()), descending, Complete()}), Fails(kInvalid, "inputs"));
  v1::SubmitRequest uniform;
  uniform.mutable_inputs()->set_uniform_size(4'000'000'000);
  uniform.mutable_inputs()->set_data("abcd");
  uniform.set_input_count(1ull << 62);
  EXPECT_THAT(Submit({Begin(CommandJob()), uniform, Complete()}), Fails(kInvalid, "inputs"));
  v1::SubmitRequest uncounted = Inputs({"a", "bc"});
  uncounted.clear_input_count();
  EXPECT_THAT(Submit({Begin(CommandJob()), Inputs({"a"}), uncounted, Complete()}),
              Fails(kInvalid, "inputs"));
  EXPECT_THAT(Submit({Begin(ArrayJob(2)), Inputs({"a", "b"}, true)}), Fails(kInvalid, "inputs"));
  v1::JobSpec three = CommandJob();
  three.set_task_count(3);
  EXPECT_THAT(Submit({Begin(three), Inputs({"a", "b"}, true)}),
              Fails(kInvalid, "task_count: 3, but 2 inputs came"));
  ExpectNothingKept();
}

// ---- request ids ----

TEST_F(SubmitTest, ARepeatedRequestIdIsTheSameJobWhateverItsSpec) {
  v1::SubmitRequest first = Whole(ArrayJob(3));
  first.set_request_id("mine");
  v1::SubmitReply reply;
  ASSERT_THAT(Submit({first}, &reply), Succeeds());
  EXPECT_FALSE(reply.already_accepted());
  const std::uint64_t job = reply.job_id();

  ASSERT_THAT(Submit({first}, &reply), Succeeds());
  EXPECT_EQ(reply.job_id(), job);
  EXPECT_TRUE(reply.already_accepted());

  v1::SubmitRequest other = Begin(CommandJob());
  other.set_request_id("mine");
  ASSERT_THAT(Submit({other, Inputs({"a", "b"}, true)}, &reply), Succeeds());
  EXPECT_EQ(reply.job_id(), job);
  EXPECT_TRUE(reply.already_accepted());
  EXPECT_EQ(Get(job).spec().task_count(), 3u);
  EXPECT_EQ(List().jobs_size(), 1);
  EXPECT_TRUE(Eventually([this] { return StoredInputs() == 0; })) << "inputs of the repeat";

  first.set_owner("somebody else");
  ASSERT_THAT(Submit({first}, &reply), Succeeds());
  EXPECT_NE(reply.job_id(), job) << "ids are an owner's own";
}

TEST_F(SubmitTest, ARequestIdOutlivesTheCoordinator) {
  v1::SubmitRequest request = Whole(ArrayJob(3));
  request.set_request_id("mine");
  const std::uint64_t job = Accepted({request});
  coordinator_.reset();
  Start();
  v1::SubmitReply reply;
  ASSERT_THAT(Submit({request}, &reply), Succeeds());
  EXPECT_EQ(reply.job_id(), job);
  EXPECT_TRUE(reply.already_accepted());
}

// ---- limits ----

TEST_F(SubmitTest, AJobHasAtLeastOneTaskAndAtMostAHundredMillion) {
  EXPECT_THAT(Submit(ArrayJob(0)), Fails(kInvalid, "task_count: 0"));
  EXPECT_THAT(Submit({Whole(CommandJob())}), Fails(kInvalid, "task_count: 0"));
  EXPECT_THAT(Submit(ArrayJob(1'000'000'000)),
              Fails(kInvalid, "task_count: 1000000000 is over the limit of 100000000"));
  EXPECT_THAT(Submit(ArrayJob(~0ull)), Fails(kInvalid, ""));
  v1::SubmitRequest many = Begin(CommandJob());
  many.set_input_count(1'000'000'000);  // all of them empty
  EXPECT_THAT(Submit({many, Complete()}),
              Fails(kInvalid, "inputs: 0 and 1000000000 more are over the limit of 100000000"));
  v1::SubmitRequest one = Inputs({"one"});
  many.clear_spec();
  many.set_input_count(100'000'000);
  EXPECT_THAT(Submit({Begin(CommandJob()), one, many, Complete()}),
              Fails(kInvalid, "inputs: 1 and 100000000 more are over the limit of 100000000"));
  ExpectNothingKept();
  const std::uint64_t job = Accepted(ArrayJob(100'000'000));
  EXPECT_EQ(Get(job).ready(), 100'000'000u);
}

TEST_F(SubmitTest, AnArrayOfBadValuesIsRefused) {
  v1::JobSpec still = ArrayJob(3);
  still.mutable_array()->set_step(0);
  EXPECT_THAT(Submit(still), Fails(kInvalid, "array.step: 0"));
  v1::JobSpec far = ArrayJob(3);
  far.mutable_array()->set_start(9'223'372'036'854'775'806);
  EXPECT_THAT(Submit(far), Fails(kInvalid, "array: its values do not fit 64 bits"));
}

TEST_F(SubmitTest, AnArgumentOf100MegabytesIsRefusedAndTheServerLivesOn) {
  v1::JobSpec spec = ArrayJob(1);
  spec.mutable_command()->add_arguments(std::string(100 << 20, 'x'));
  EXPECT_THAT(Submit(spec), Fails(grpc::StatusCode::RESOURCE_EXHAUSTED, "104857"));
  spec.mutable_command()->set_arguments(1, std::string(1 << 20, 'x'));
  EXPECT_THAT(Submit(spec), Fails(kInvalid,
                                  "command.arguments: 1048582 bytes of arguments and "
                                  "environment are over the limit of 131072"));
  // In messages that pass, as one input value and as many.
  EXPECT_THAT(Submit({Begin(CommandJob()), Inputs({"fine", std::string(3 << 20, 'x')})}),
              Fails(kInvalid, "inputs: value 1 has 3145728 bytes, over the limit of 131072"));
  ExpectNothingKept();
}

TEST_F(SubmitTest, AHundredMegabytesOfInputsComeInManyMessages) {
  std::vector<v1::SubmitRequest> messages = {Begin(CommandJob())};
  const std::vector<std::string> values(8, std::string(kValueLimitBytes, 'v'));
  for (int i = 0; i < 100; ++i) messages.push_back(Inputs(values));
  messages.push_back(Complete());
  EXPECT_EQ(Get(Accepted(messages)).spec().task_count(), 800u);
}

TEST_F(SubmitTest, AnInputOf128KiBPassesAndOneByteMoreDoesNot) {
  const std::string most(kValueLimitBytes, 'x');
  Accepted({Begin(CommandJob()), Inputs({"", most}, true)});
  EXPECT_THAT(Submit({Begin(CommandJob()), Inputs({"a"}), Inputs({"b", most + "x"}, true)}),
              Fails(kInvalid, "inputs: value 2 has 131073 bytes, over the limit of 131072"));
  v1::SubmitRequest uniform;
  uniform.mutable_inputs()->set_uniform_size(kValueLimitBytes + 1);
  uniform.mutable_inputs()->set_data(most + "x");
  uniform.set_input_count(1);
  EXPECT_THAT(Submit({Begin(CommandJob()), uniform, Complete()}),
              Fails(kInvalid, "131073 bytes, over the limit of 131072"));
  EXPECT_EQ(List().jobs_size(), 1);
}

TEST_F(SubmitTest, NumbersOutOfRangeAreRefusedByFieldValueAndLimit) {
  v1::JobSpec cpus = ArrayJob(1), attempts = ArrayJob(1), timeout = ArrayJob(1);
  cpus.set_cpus_milli(1'000'001);
  EXPECT_THAT(Submit(cpus), Fails(kInvalid,
                                  "cpus: 1000001 thousandths of a cpu are over the limit "
                                  "of 1000000"));
  attempts.set_max_attempts(1001);
  EXPECT_THAT(Submit(attempts),
              Fails(kInvalid, "max_attempts: 1001 attempts are over the limit of 1000"));
  timeout.set_timeout_ms(~0ull);
  EXPECT_THAT(Submit(timeout), Fails(kInvalid, "timeout: 18446744073709551615 milliseconds"));
  v1::JobSpec processes = ArrayJob(1);
  processes.clear_command();
  processes.mutable_function()->set_name("f");
  processes.mutable_function()->set_tasks_per_process(3);
  EXPECT_THAT(Submit(processes), Fails(kInvalid, "function.tasks_per_process: 3, but"));
  v1::JobSpec memory = ArrayJob(1);
  memory.set_memory_bytes(1'048'575);
  EXPECT_THAT(Submit(memory),
              Fails(kInvalid, "memory: 1048575 bytes are below the least limit, 1048576"));
  memory.set_memory_bytes((1ull << 50) + 1);
  EXPECT_THAT(Submit(memory), Fails(kInvalid, "memory: 1125899906842625 bytes are over the limit"));
  memory.mutable_function()->set_name("f");
  EXPECT_THAT(Submit(memory), Fails(kInvalid, "only commands have a limit of memory"));
  ExpectNothingKept();
  v1::JobSpec least = ArrayJob(1), most = ArrayJob(1);
  least.set_priority(std::numeric_limits<std::int32_t>::min());
  most.set_priority(std::numeric_limits<std::int32_t>::max());
  most.set_max_running(~0u);
  const std::uint64_t last = Accepted(least);
  const std::uint64_t first = Accepted(most);
  TestWorker worker(*sessions_);
  v1::Hello hello = TestWorker::Hello("one");
  hello.set_cpus_milli(1000);
  worker.Attach(hello);
  EXPECT_EQ(worker.NextAssignment().job_id(), first);
  EXPECT_EQ(Get(last).spec().priority(), std::numeric_limits<std::int32_t>::min());
}

// ---- what the work is ----

TEST_F(SubmitTest, WorkThatIsNoneIsRefused) {
  v1::JobSpec nothing = ArrayJob(1);
  nothing.clear_work();
  EXPECT_THAT(Submit(nothing), Fails(kInvalid, "neither a command nor a function"));
  v1::JobSpec empty = ArrayJob(1);
  empty.mutable_command()->clear_arguments();
  EXPECT_THAT(Submit(empty), Fails(kInvalid, "command: the command is empty"));
  empty.mutable_command()->add_arguments("");
  EXPECT_THAT(Submit(empty), Fails(kInvalid, "the command's program is an empty string"));
  empty.mutable_command()->set_arguments(0, std::string("a\0b", 3));
  EXPECT_THAT(Submit(empty), Fails(kInvalid, "zero byte"));
  v1::JobSpec nowhere = ArrayJob(1);
  nowhere.mutable_command()->set_directory("tmp");
  EXPECT_THAT(Submit(nowhere), Fails(kInvalid, "command.directory: 'tmp'"));
  v1::JobSpec long_path = ArrayJob(1);
  long_path.mutable_command()->set_stdin_file(std::string(4097, 'p'));
  EXPECT_THAT(Submit(long_path),
              Fails(kInvalid, "command.stdin_file: 4097 bytes are over the limit of 4096"));
  ExpectNothingKept();
}

TEST_F(SubmitTest, NamesAre256BytesOfPrintableUtf8) {
  v1::JobSpec spec = ArrayJob(1);
  spec.set_name(std::string(257, 'n'));
  EXPECT_THAT(Submit(spec), Fails(kInvalid, "name: 257 bytes are over the limit of 256"));
  spec.set_name("a\nb");
  EXPECT_THAT(Submit(spec), Fails(kInvalid, "name: 'a\\nb' has unprintable characters"));
  v1::SubmitRequest request = Whole(ArrayJob(1));
  request.set_request_id(std::string(257, 'r'));
  EXPECT_THAT(Submit({request}),
              Fails(kInvalid, "request_id: 257 bytes are over the limit of 256"));
  request.set_request_id("fine");
  request.set_owner("\x1b[2J");
  EXPECT_THAT(Submit({request}), Fails(kInvalid, "owner: "));
  ExpectNothingKept();

  // spec { name: "\xff" }, which no stub would send.
  EXPECT_THAT(Raw("/haul.v1.Jobs/Submit", {std::string("\x0a\x03\x0a\x01\xff")}).status,
              Fails(kInvalid, "UTF-8"));
  std::string longest;
  while (longest.size() < 256) longest += "\xc3\xa9";
  spec.set_name(longest);
  EXPECT_EQ(Get(Accepted(spec)).spec().name(), longest);
}

TEST_F(SubmitTest, BytesThatAreNoTextComeBackAndReachTheWorkerUnchanged) {
  const std::string argument = "\xff\xfe \xc3(\x01\x7f{}";
  const std::string value = std::string("\0\xff\x80\0", 4);
  v1::JobSpec spec = CommandJob();
  spec.mutable_command()->add_arguments(argument);
  v1::EnvironmentVariable& variable = *spec.mutable_command()->add_environment();
  variable.set_name("N\xff");
  variable.set_value("\x80v");
  spec.mutable_command()->set_directory("/tmp/\xff");
  const std::uint64_t job = Accepted({Begin(spec), Inputs({value, "x"}, true)});

  const v1::JobStatus status = Get(job);
  EXPECT_EQ(status.spec().command().SerializeAsString(), spec.command().SerializeAsString());
  EXPECT_THAT(status.description(), HasSubstr("echo \\xff\\xfe"));
  TestWorker worker(*sessions_);
  worker.Attach(TestWorker::Hello("one"));
  const v1::Assignment assignment = worker.NextAssignment();
  EXPECT_EQ(assignment.spec().command().arguments(1), argument);
  EXPECT_EQ(assignment.spec().command().environment(0).value(), "\x80v");
  EXPECT_EQ(assignment.inputs().data(), value + "x");
  EXPECT_THAT(assignment.inputs().end_offsets(), ElementsAre(4u, 5u));
}

// By the mean, 400 bytes, the large ones were one assignment.
TEST_F(SubmitTest, InputsOfAnAssignmentAreBoundedWhereTheLargeOnesStand) {
  constexpr std::uint64_t kSmall = 10'000, kLarge = 40;
  const std::vector<v1::SubmitRequest> messages = {
      Begin(CommandJob()), Inputs(std::vector<std::string>(kSmall, "s")),
      Inputs(std::vector<std::string>(kLarge, std::string(100'000, 'l'))), Complete()};
  for (const bool is_recovered : {false, true}) {
    Accepted(messages);
    if (is_recovered) {
      coordinator_.reset();
      Start();
    }
    TestWorker worker(*sessions_);
    worker.Attach(TestWorker::Hello("w", is_recovered ? "w-2" : "w-1"));
    std::map<std::uint64_t, std::uint64_t> bytes;  // by assignment, which comes in pieces
    for (std::uint64_t given = 0; given < kSmall + kLarge;) {
      const v1::Assignment next = worker.NextAssignment();
      if (next.count() == 0) break;
      given += next.count();
      bytes[next.assignment_id()] += next.inputs().data().size();
      worker.Report(next, Succeeded(next.first(), next.count()));
    }
    for (const auto& [id, sum] : bytes) EXPECT_LE(sum, 2u << 20) << "of assignment " << id;
  }
}

}  // namespace
}  // namespace haul::coordinator
