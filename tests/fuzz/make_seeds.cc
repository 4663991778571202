// Writes the seeds of the corpora: conversations as Haul's own programs have them, from which
// libFuzzer goes on.
//
//   make_seeds tests/fuzz/corpus      writes corpus/<target>/seed-<name>, over what stands there
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <utility>

#include "common/packed_bytes.h"
#include "common/wire/convert.h"
#include "google/protobuf/descriptor.pb.h"
#include "tests/fuzz/inputs.pb.h"

namespace haul::fuzz {
namespace {

class Corpus {
 public:
  explicit Corpus(std::filesystem::path root) : root_(std::move(root)) {}

  void Add(const char* target, const char* name, std::string_view bytes) {
    const std::filesystem::path directory = root_ / target;
    std::filesystem::create_directories(directory);
    std::ofstream file(directory / (std::string("seed-") + name), std::ios::binary);
    file << bytes;
    failed_ = failed_ || !file.flush();
  }
  void Add(const char* target, const char* name, const google::protobuf::Message& message) {
    Add(target, name, message.SerializeAsString());
  }
  bool failed() const { return failed_; }

 private:
  const std::filesystem::path root_;
  bool failed_ = false;
};

// --- parts that several conversations have ---

void FillCommand(v1::Command* command) {
  for (const char* argument : {"convert", "{1}", "--to={2/.}", "{#}", "{index}"}) {
    command->add_arguments(argument);
  }
  command->set_directory("/tmp/{//}");
  v1::EnvironmentVariable& variable = *command->add_environment();
  variable.set_name("LEVEL");
  variable.set_value("{}");
}

void FillSpec(v1::JobSpec* spec, bool is_function) {
  spec->set_name("frames");
  spec->set_max_attempts(3);
  spec->set_priority(2);
  spec->set_cpus_milli(500);
  if (is_function) {
    spec->mutable_function()->set_name("add.v1");
    spec->mutable_function()->set_signature("u64(u64,u64)");
  } else {
    FillCommand(spec->mutable_command());
  }
}

void FillInputs(std::uint64_t count, v1::PackedBytes* inputs) {
  PackedBytes values;
  for (std::uint64_t i = 0; i < count; ++i) values.Append(std::string(i % 3 + 1, 'a'));
  wire::ToWire(values, inputs);
}

void FillOutcome(TaskRange tasks, v1::Outcome* wire) {
  Outcome outcome;
  outcome.tasks = tasks;
  for (std::uint64_t i = 0; i < tasks.count; ++i) outcome.results.Append("12345678");
  outcome.busy_ns = 1'000'000 * tasks.count;
  outcome.pid = 4711;
  wire::ToWire(outcome, wire);
}

void FillFailure(std::uint64_t task, v1::Outcome* wire, TaskStatus status) {
  Outcome outcome;
  outcome.tasks = {task, 1};
  outcome.status = status;
  outcome.cause = Cause::kExitCode;
  outcome.code = 3;
  outcome.message = "it failed";
  outcome.error_output = "no such file\n";
  outcome.culprit = status == TaskStatus::kCrashed;
  wire::ToWire(outcome, wire);
}

void FillHello(v1::Hello* hello) {
  hello->set_incarnation("0123456789abcdef");
  hello->set_name("w1");
  hello->set_host("host");
  hello->set_pid(100);
  hello->set_cpus_milli(4000);
  hello->set_processes(2);
  hello->set_threads(2);
  v1::FunctionInfo& function = *hello->add_functions();
  function.set_name("add.v1");
  function.set_signature("u64(u64,u64)");
  function.set_library("libadd.so");
}

// --- the targets ---

// A worker joins, a job comes, some of it ends, fails, is given back; the first assignment of the
// first epoch.
CoordinatorInput Conversation(bool is_function) {
  constexpr std::uint64_t kAssignment = (std::uint64_t{1} << 40) + 1;
  CoordinatorInput input;
  FillHello(input.add_steps()->mutable_worker()->mutable_hello());
  CoordinatorInput::Step& submit = *input.add_steps();
  submit.set_session(1);
  FillSpec(submit.mutable_submit()->mutable_spec(), is_function);
  submit.mutable_submit()->set_request_id("r1");
  submit.mutable_submit()->set_owner("me");
  FillInputs(6, submit.mutable_submit()->mutable_inputs());
  submit.mutable_submit()->set_input_count(6);
  submit.mutable_submit()->set_complete(true);
  input.add_steps()->set_time_passes_ms(1);
  v1::WorkerMessage& message = *input.add_steps()->mutable_worker();
  v1::OutcomeBatch& batch = *message.add_outcomes();
  batch.set_sequence(1);
  batch.set_assignment_id(kAssignment);
  batch.set_job_id(1);
  FillOutcome({0, 1}, batch.add_outcomes());
  FillFailure(1, batch.add_outcomes(), TaskStatus::kFailed);
  FillFailure(2, batch.add_outcomes(), TaskStatus::kCrashed);
  v1::HandedBack& handed_back = *message.add_handed_back();
  handed_back.set_assignment_id(kAssignment);
  handed_back.set_job_id(1);
  message.add_blocked()->set_assignment_id(kAssignment);
  message.mutable_blocked(0)->set_count(2);
  handed_back.add_ranges()->set_first(3);
  handed_back.mutable_ranges(0)->set_count(1);
  message.set_heartbeat(true);
  input.add_steps()->set_time_passes_ms(10);
  return input;
}

void AddCoordinator(Corpus& corpus) {
  for (const bool is_function : {false, true}) {
    CoordinatorInput input = Conversation(is_function);
    corpus.Add("coordinator", is_function ? "functions" : "commands", input);
    // The coordinator starts anew, and the worker comes back with what it holds.
    input.add_steps()->set_restart(true);
    v1::Hello& hello = *input.add_steps()->mutable_worker()->mutable_hello();
    FillHello(&hello);
    hello.set_worker_id(1);
    v1::HeldAssignment& held = *hello.add_held();
    held.set_assignment_id((std::uint64_t{1} << 40) + 1);
    held.set_job_id(1);
    held.set_width(2);
    held.add_ranges()->set_first(4);
    held.mutable_ranges(0)->set_count(2);
    input.add_steps()->set_time_passes_ms(1);
    input.add_steps()->mutable_cancel()->mutable_job()->set_last(true);
    input.add_steps()->mutable_death()->set_incarnation(hello.incarnation());
    v1::FollowRequest& follow = *input.add_steps()->mutable_follow();
    follow.mutable_job()->set_job_id(1);
    follow.set_in_order(true);
    follow.set_first(2);
    follow.set_count(3);
    input.add_steps()->mutable_forget()->mutable_job()->set_name("frames");
    corpus.Add("coordinator", is_function ? "functions-restart" : "commands-restart", input);
  }
  CoordinatorInput array;
  FillHello(array.add_steps()->mutable_worker()->mutable_hello());
  v1::SubmitRequest& submit = *array.add_steps()->mutable_submit();
  FillSpec(submit.mutable_spec(), false);
  submit.mutable_spec()->set_task_count(1000);
  submit.mutable_spec()->mutable_array()->set_step(-2);
  submit.mutable_spec()->set_volatile_job(true);
  submit.set_complete(true);
  array.mutable_steps(1)->set_session(1);
  array.add_steps()->mutable_drain()->set_worker("w1");
  array.add_steps()->mutable_stop()->set_worker("1");
  array.add_steps()->set_disconnect(true);
  array.add_steps()->set_time_passes_ms(2000);
  corpus.Add("coordinator", "array", array);
}

void FillAssignment(std::uint64_t first, bool is_function, v1::Assignment* assignment) {
  assignment->set_assignment_id(1);
  assignment->set_job_id(1);
  assignment->set_first(first);
  assignment->set_count(4);
  assignment->set_width(2);
  assignment->set_cpus_milli(1000);
  FillInputs(4, assignment->mutable_inputs());
  if (first == 0) FillSpec(assignment->mutable_spec(), is_function);
  assignment->add_charged()->set_task(first + 1);
  assignment->mutable_charged(0)->set_attempts(1);
}

void AddWorker(Corpus& corpus) {
  for (const bool is_function : {false, true}) {
    WorkerInput input;
    input.set_threads(1);
    input.set_serves_functions(is_function);
    input.add_steps()->mutable_report()->set_executor(1);
    input.mutable_steps(0)->mutable_report()->mutable_said()->mutable_ready()->set_protocol(1);
    v1::CoordinatorMessage& welcome = *input.add_steps()->mutable_message();
    welcome.mutable_welcome()->set_worker_id(1);
    welcome.mutable_welcome()->set_lease_ms(15'000);
    FillAssignment(0, is_function, welcome.add_assignments());
    FillAssignment(4, is_function, welcome.add_assignments());
    WorkerInput::Report& report = *input.add_steps()->mutable_report();
    report.set_executor(is_function ? 1 : 0);
    v1::ExecutorOutcomes& outcomes = *report.mutable_said()->add_outcomes();
    outcomes.set_assignment_id(1);
    FillOutcome({0, 1}, outcomes.add_outcomes());
    FillFailure(1, outcomes.add_outcomes(), TaskStatus::kFailed);
    input.add_steps()->set_write(true);
    v1::CoordinatorMessage& news = *input.add_steps()->mutable_message();
    news.set_durable_through(1);
    news.add_revokes()->set_assignment_id(1);
    news.mutable_revokes(0)->set_count(3);
    v1::Reclaimed& reclaimed =
        *input.add_steps()->mutable_report()->mutable_said()->add_reclaimed();
    reclaimed.set_assignment_id(1);
    reclaimed.set_first(7);
    reclaimed.set_count(1);
    v1::FromExecutor& of_tasks = *input.add_steps()->mutable_report()->mutable_said();
    of_tasks.add_waiting()->set_assignment_id(1);
    of_tasks.mutable_waiting(0)->set_task(1);
    *of_tasks.add_resumable() = of_tasks.waiting(0);
    input.mutable_steps(5)->mutable_report()->set_executor(1);
    corpus.Add("worker", is_function ? "functions" : "commands", input);
    input.add_steps()->set_disconnect(true);
    input.add_steps()->mutable_message()->mutable_welcome()->add_dropped_assignments(1);
    input.add_steps()->mutable_message()->add_cancels()->set_assignment_id(1);
    input.add_steps()->set_time_passes_ms(20'000);
    input.add_steps()->mutable_report()->set_died(true);
    input.add_steps()->mutable_message()->set_drain(true);
    corpus.Add("worker", is_function ? "functions-dropped" : "commands-dropped", input);
  }
}

void AddClient(Corpus& corpus) {
  ClientInput input;
  v1::FollowReply& reply = *input.add_follow();
  FillOutcome({0, 5}, reply.add_outcomes());
  FillFailure(5, reply.add_outcomes(), TaskStatus::kFailed);
  FillInputs(6, reply.mutable_outcomes(0)->mutable_results());
  reply.set_cursor(6);
  v1::JobStatus& status = *reply.mutable_status();
  status.set_job_id(1);
  status.set_state(v1::JOB_STATE_RUNNING);
  FillSpec(status.mutable_spec(), false);
  status.mutable_spec()->set_task_count(6);
  corpus.Add("client", "follow", input);
  input.clear_follow();
  FillSpec(input.mutable_job()->mutable_spec(), true);
  input.mutable_job()->mutable_spec()->mutable_array()->set_step(1);
  v1::WorkerStatus& worker = *input.mutable_workers()->add_workers();
  worker.set_name("w1");
  worker.set_state(v1::WORKER_STATE_CONNECTED);
  worker.add_functions()->set_name("add.v1");
  worker.add_assignments()->set_remaining(3);
  input.mutable_info()->set_version("0.1.0");
  input.mutable_functions()->add_functions()->mutable_info()->set_name("add.v1");
  corpus.Add("client", "lists", input);
}

void AddCommand(Corpus& corpus) {
  CommandInput input;
  FillCommand(input.mutable_command());
  input.set_task(3);
  input.set_input(std::string("a/b.tar.gz\0photo.png", 20));
  input.set_inherited(std::string("PATH=/bin\0HAUL_TOKEN=secret\0LEVEL=1\0", 36));
  input.mutable_job()->set_name("frames");
  corpus.Add("command", "sources", input);
  input.Clear();
  input.mutable_command()->add_arguments("echo");
  input.mutable_command()->add_arguments("{}");
  input.mutable_command()->set_temporary_directory(true);
  input.mutable_command()->set_stdin_file("/tmp/{}.in");
  input.add_array_value(-5);
  input.mutable_job()->mutable_array()->set_step(2);
  corpus.Add("command", "array", input);
  input.Clear();
  input.mutable_command()->add_arguments("cat");
  input.mutable_command()->set_directory("/");
  input.set_input("appended");
  corpus.Add("command", "appended", input);
}

std::string LittleEndian(std::uint64_t value, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * i));
  return text;
}

// A value of each of the types of the target.
void AddCodec(Corpus& corpus) {
  const std::string text = LittleEndian(1, 4) + "x";
  const std::string point = LittleEndian(1, 2) + LittleEndian(0xffff, 2);
  const auto flag = [](int value) { return LittleEndian(static_cast<std::uint64_t>(value), 1); };
  const std::string shape = flag(1) + LittleEndian(2, 4) + point + point +  // colour, corners
                            flag(1) + text + flag(2) + point +              // name, extra
                            flag(0) + flag(1);                              // sides
  corpus.Add("codec", "shape", shape);
  corpus.Add("codec", "shapes", LittleEndian(2, 4) + shape + shape);
  corpus.Add("codec", "empty-vectors", LittleEndian(2, 4) + LittleEndian(0, 8));
  corpus.Add("codec", "array", flag(0) + flag(1) + point + flag(0));
  corpus.Add("codec", "variant", flag(2) + flag(1) + text);
  corpus.Add("codec", "tuple", LittleEndian(1, 4) + flag(1) + flag(9) + text);
  corpus.Add("codec", "map", LittleEndian(2, 4) + flag(2) + point + flag(1) + point);
  corpus.Add("codec", "map-of-shapes", LittleEndian(1, 4) + text + LittleEndian(1, 4) + shape);
  corpus.Add("codec", "set", LittleEndian(2, 4) + text + LittleEndian(2, 4) + "ab");
  corpus.Add("codec", "set-of-numbers", LittleEndian(2, 4) + LittleEndian(1, 2) + point.substr(2));
  corpus.Add("codec", "map-of-sets",
             LittleEndian(1, 4) + point + LittleEndian(2, 4) + flag(7) + flag(3));
  google::protobuf::UninterpretedOption message;
  message.set_positive_int_value(300);
  message.add_name()->set_name_part("x");
  message.mutable_name(0)->set_is_extension(true);
  corpus.Add(
      "codec", "message",
      LittleEndian(1, 4) + LittleEndian(message.ByteSizeLong(), 4) + message.SerializeAsString());
  corpus.Add("codec", "huge-count", LittleEndian(~0u, 4) + std::string(8, '\0'));
}

void AddFunction(Corpus& corpus) {
  const auto add = [&](const char* name, const char* signature, const char* text,
                       std::string bytes) {
    FunctionInput input;
    input.set_name("f.v1");
    input.set_signature(signature);
    input.add_texts(text);
    input.set_bytes(std::move(bytes));
    input.mutable_array()->set_start(-3);
    input.mutable_array()->set_step(7);
    input.set_array_count(10);
    corpus.Add("function", name, input);
  };
  add("numbers", "u64(i32,f64,bool)", "-5, 1.5e3, true", LittleEndian(77, 8));
  add("integer", "i8(i16)", "32767", LittleEndian(200, 1));
  add("text", "str(str)", "any text", LittleEndian(4, 4) + "text");
  add("bytes", "bytes(bytes,str)", "00ff, \"a\\u0007b\"", LittleEndian(2, 4) + "ab");
  add("texts", "vec<str>(vec<opt<str>>)", R"(["a", none, "b,"])",
      LittleEndian(2, 4) + LittleEndian(1, 4) + "a" + LittleEndian(0, 4));
  add("tuple", "tuple<i16,str,vec<f32>>(tuple<u8,opt<bool>>)", "(7, none)",
      LittleEndian(9, 2) + LittleEndian(1, 4) + "x" + LittleEndian(1, 4) + LittleEndian(0, 4));
  add("own", "point(opt<u8>,map<str,point>)", "none", LittleEndian(1, 1) + LittleEndian(5, 4));
  add("nested", "vec<vec<u16>>()", "",
      LittleEndian(1, 4) + LittleEndian(2, 4) + LittleEndian(3, 2) + LittleEndian(4, 2));
}

void AddExecutor(Corpus& corpus) {
  ExecutorInput input;
  v1::Run& echo = *input.add_told()->add_runs();
  echo.set_assignment_id(1);
  echo.set_job_id(1);
  echo.set_function("echo");
  echo.set_first(10);
  echo.set_count(5);
  echo.set_width(2);
  FillInputs(5, echo.mutable_inputs());
  echo.add_charged_tasks(11);
  echo.add_charged_attempts(2);
  input.mutable_told(0)->add_reclaims()->set_assignment_id(1);
  input.mutable_told(0)->mutable_reclaims(0)->set_count(2);
  v1::Run& index = *input.add_told()->add_runs();
  index.set_assignment_id(2);
  index.set_function("index");
  index.set_count(200);
  index.set_width(1);
  index.mutable_array()->set_step(1);
  index.set_detail(true);
  index.set_timeout_ms(1000);
  v1::Run& fail = *input.mutable_told(1)->add_runs();
  fail.set_assignment_id(3);
  fail.set_function("fail");
  fail.set_count(3);
  fail.mutable_array();
  input.mutable_told(1)->add_stops()->set_assignment_id(3);
  input.mutable_told(1)->add_answers()->set_assignment_id(3);
  input.mutable_told(1)->add_resumed()->set_assignment_id(3);
  input.add_told()->add_stops()->set_assignment_id(2);
  input.mutable_told(2)->mutable_stops(0)->set_first(150);
  input.mutable_told(2)->mutable_stops(0)->set_count(1);
  corpus.Add("executor", "runs", input);

  input.Clear();
  v1::FromExecutor ready;
  ready.mutable_ready()->set_protocol(1);
  ready.mutable_ready()->add_functions()->set_name("add.v1");
  v1::FromExecutor outcomes;
  outcomes.add_outcomes()->set_assignment_id(1);
  FillOutcome({0, 3}, outcomes.mutable_outcomes(0)->add_outcomes());
  outcomes.add_reclaimed()->set_count(4);
  std::string stream;
  for (const v1::FromExecutor& message : {ready, outcomes}) {
    const std::string bytes = message.SerializeAsString();
    stream += LittleEndian(bytes.size(), 4) + bytes;
  }
  input.set_stream(stream);
  for (const std::uint32_t part : {3u, 1u, 30u}) input.add_parts(part);
  corpus.Add("executor", "frames", input);
  input.set_stream(stream + LittleEndian(~0u, 4) + "too long");
  corpus.Add("executor", "frame-too-long", input);
}

void AddStore(Corpus& corpus) {
  StoreInput input;
  // A job, its inputs, two outcomes, a charge, a worker: see the tables of the target.
  for (const std::uint32_t table : {0u, 1u, 2u, 2u, 3u, 4u}) input.add_rows()->set_table(table);
  StoreInput::Query& query = *input.add_queries();
  query.set_job(1);
  query.mutable_follow()->set_with_payload(true);
  query.mutable_follow()->set_count(5);
  corpus.Add("store", "rows", input);
  const auto change = [&](int row, std::uint32_t column) {
    StoreInput::Change& made = *input.mutable_rows(row)->add_changes();
    made.set_column(column);
    return made.mutable_value();
  };
  change(0, 12)->set_integer(1);      // input_set
  change(0, 17)->set_text("failed");  // state
  change(0, 19)->set_integer(10);     // succeeded
  change(1, 3)->set_integer(0);       // uniform_size
  change(1, 4)->set_blob(LittleEndian(10, 4));
  change(1, 2)->set_integer(1);  // count
  change(2, 4)->set_integer(2);  // status
  change(3, 3)->set_integer(6);  // count
  query.mutable_follow()->set_in_order(true);
  corpus.Add("store", "ended", input);
  change(2, 4)->set_text("2");
  change(4, 2)->set_real(0.5);
  change(5, 5)->set_integer(-1);
  input.add_rows()->set_table(5);
  corpus.Add("store", "types", input);

  input.Clear();
  for (const std::uint32_t table : {0u, 6u, 6u, 2u, 7u, 7u}) input.add_rows()->set_table(table);
  change(0, 25)->set_integer(1);  // at_most_once
  change(1, 2)->set_integer(0);   // first
  change(1, 3)->set_integer(5);   // count
  change(2, 5)->set_integer(1);   // withdrawn
  change(0, 26)->set_integer(1);  // is_open
  change(5, 4)->set_integer(1);   // closed
  change(0, 27)->set_integer(1);  // parent_assignment
  change(0, 30)->set_integer(1);  // depth
  corpus.Add("store", "starts", input);
}

void AddText(Corpus& corpus) {
  int number = 0;
  for (const std::string_view text :
       {"1h30m", "500ms", "1.5s", "64KiB", "10 MB", "18446744073709551615", "0.1", "4", "1e3",
        "1-10:2", "1,3,5-8", "failed", "all", "0-99:2", "last", "17", "7/1099511627777-3.out",
        "--\necho\n{}\n:::\na\nb\n:::+\nc\nd\n:::\ne", "\xc3\xa4\xf0\x9f\x9a\x82 \xff"}) {
    corpus.Add("text", std::to_string(++number).c_str(), text);
  }
}

int Main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: make_seeds CORPUS\n");
    return 2;
  }
  Corpus corpus(argv[1]);
  AddCoordinator(corpus);
  AddWorker(corpus);
  AddClient(corpus);
  AddCodec(corpus);
  AddCommand(corpus);
  AddFunction(corpus);
  AddExecutor(corpus);
  AddStore(corpus);
  AddText(corpus);
  if (!corpus.failed()) return 0;
  std::fprintf(stderr, "make_seeds: %s cannot be written\n", argv[1]);
  return 1;
}

}  // namespace
}  // namespace haul::fuzz

int main(int argc, char** argv) { return haul::fuzz::Main(argc, argv); }
