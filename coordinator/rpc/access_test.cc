// Who is let in, what becomes of bytes that are no message, what functions there are, and the
// Cluster service.
#include <google/protobuf/descriptor.h>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "coordinator/rpc/server_fixture.h"
#include "standard/health.grpc.pb.h"

namespace haul::coordinator {
namespace {

using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class AccessTest : public ServerTest {
 protected:
  static std::vector<std::string> AllMethods() {
    std::vector<std::string> methods;
    for (const char* name : {"haul.v1.Jobs", "haul.v1.Cluster", "haul.v1.WorkerSession"}) {
      const auto* service =
          google::protobuf::DescriptorPool::generated_pool()->FindServiceByName(name);
      for (int i = 0; i < service->method_count(); ++i) {
        methods.push_back(absl::StrCat("/", name, "/", service->method(i)->name()));
      }
    }
    return methods;
  }
  grpc::Status InfoWith(const std::vector<std::string>& authorizations) {
    Context context("");
    for (const std::string& value : authorizations) context.AddMetadata("authorization", value);
    v1::InfoReply reply;
    return cluster_->Info(&context, {}, &reply);
  }
};

// ---- the token ----

TEST_F(AccessTest, EveryMethodOfEveryServiceNeedsTheToken) {
  const std::vector<std::string> methods = AllMethods();
  ASSERT_GE(methods.size(), 16u);
  for (const std::string& method : methods) {
    Context without("");
    EXPECT_THAT(Raw(method, {""}, true, without).status,
                Fails(grpc::StatusCode::UNAUTHENTICATED, "HAUL_TOKEN_FILE"))
        << method;
    Context wrong("another-token-of-the-same-sort-0123456");
    EXPECT_THAT(Raw(method, {""}, true, wrong).status,
                Fails(grpc::StatusCode::UNAUTHENTICATED, "HAUL_TOKEN_FILE"))
        << method;
  }
  EXPECT_TRUE(Alive()) << "a Stop that was refused stopped it";
}

TEST_F(AccessTest, AStreamThatWasNotLetInIsOverBeforeItSaysAnything) {
  for (const char* method : {"Jobs/Submit", "WorkerSession/Attach", "WorkerSession/Upload"}) {
    Context without("");
    EXPECT_THAT(Raw(absl::StrCat("/haul.v1.", method), {}, false, without).status,
                Fails(grpc::StatusCode::UNAUTHENTICATED, "no token"));
  }
}

TEST_F(AccessTest, OnlyTheTokenItselfIsTheToken) {
  const std::string token = kToken;
  ASSERT_THAT(InfoWith({"Bearer " + token}), Succeeds());
  const std::string cut = token.substr(0, token.size() - 1);
  for (const std::string& wrong :
       {std::string("Bearer "), std::string("Bearer"), std::string(), token, "Bearer " + cut,
        "Bearer " + token.substr(1), absl::StrCat("Bearer ", token, token.substr(0, 1)),
        absl::StrCat("Bearer ", token, "Bearer ", token), absl::StrCat("Bearer ", cut, "g"),
        "Bearer  " + token, "Bearer " + absl::AsciiStrToUpper(token),
        "Bearer " + absl::AsciiStrToLower(token), "Basic " + token,
        std::string("Bearer ") + std::string(4000, 'a')}) {
    EXPECT_THAT(InfoWith({wrong}),
                Fails(grpc::StatusCode::UNAUTHENTICATED, "not this coordinator's"))
        << "'" << wrong << "'";
  }
}

TEST_F(AccessTest, TheTokenTwiceIsTheTokenAndTwoWrongOnesAreNone) {
  const std::string right = absl::StrCat("Bearer ", kToken);
  EXPECT_THAT(InfoWith({right, right}), Succeeds());
  EXPECT_THAT(InfoWith({right + "x", "x" + right}),
              Fails(grpc::StatusCode::UNAUTHENTICATED, "not this coordinator's"));
  // Two halves do not make a whole.
  EXPECT_THAT(InfoWith({right.substr(0, 12), right.substr(12)}),
              Fails(grpc::StatusCode::UNAUTHENTICATED, "not this coordinator's"));
}

TEST_F(AccessTest, HealthAndReflectionAnswerWithoutAToken) {
  Context health("");
  const RawReply serving = Raw("/grpc.health.v1.Health/Check", {""}, true, health);
  EXPECT_THAT(serving.status, Succeeds());
  EXPECT_THAT(serving.messages, ElementsAre("\x08\x01"));  // status: SERVING

  Context reflection("");
  // list_services: "*"
  const RawReply services = Raw("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
                                {"\x3a\x01*"}, true, reflection);
  EXPECT_THAT(services.status, Succeeds());
  EXPECT_THAT(services.messages,
              ElementsAre(AllOf(HasSubstr("haul.v1.Jobs"), HasSubstr("haul.v1.WorkerSession"))));
}

TEST_F(AccessTest, WatchesOfHealthAreBoundedSinceTheyNeedNoToken) {
  constexpr std::size_t kMost = 1000;
  const auto health = grpc::health::v1::Health::NewStub(channel_);
  std::deque<Context> contexts;
  std::deque<std::unique_ptr<grpc::ClientReader<grpc::health::v1::HealthCheckResponse>>> watches;
  grpc::health::v1::HealthCheckResponse response;
  const auto watch = [&] {
    watches.push_back(health->Watch(&contexts.emplace_back(""), {}));
    return watches.back()->Read(&response);
  };
  for (std::size_t i = 0; i < kMost; ++i) ASSERT_TRUE(watch()) << i;
  EXPECT_FALSE(watch());
  EXPECT_THAT(watches.back()->Finish(),
              Fails(grpc::StatusCode::RESOURCE_EXHAUSTED, "there are 1000, which is the limit"));
  contexts.front().TryCancel();
  EXPECT_TRUE(Eventually(watch)) << "one that ended makes room";
  for (Context& context : contexts) context.TryCancel();
}

TEST_F(AccessTest, HealthKnowsTheServicesByName) {
  const auto check = [this](const std::string& service) {
    Context health("");
    const std::string request =
        "\x0a" + std::string(1, static_cast<char>(service.size())) + service;
    return Raw("/grpc.health.v1.Health/Check", {request}, true, health);
  };
  EXPECT_THAT(check("haul.v1.Jobs").messages, ElementsAre("\x08\x01"));
  EXPECT_THAT(check("haul.v1.Nothing").status,
              Fails(grpc::StatusCode::NOT_FOUND, "haul.v1.Nothing"));
}

TEST_F(AccessTest, ReflectionGivesFilesAndSaysWhatIsMissing) {
  const auto ask = [this](char field, const std::string& text) {
    Context reflection("");
    const std::string request =
        std::string(1, field) + std::string(1, static_cast<char>(text.size())) + text;
    return Raw("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", {request}, true,
               reflection)
        .messages;
  };
  constexpr char kByFilename = 0x1a, kBySymbol = 0x22, kExtensions = 0x32;
  EXPECT_THAT(ask(kBySymbol, "haul.v1.Jobs"),
              ElementsAre(AllOf(HasSubstr("SubmitRequest"), HasSubstr("haul/v1/common.proto"))));
  EXPECT_THAT(ask(kBySymbol, "haul.v1.Jobs.Submit"), ElementsAre(HasSubstr("SubmitRequest")));
  EXPECT_THAT(ask(kByFilename, "haul/v1/session.proto"), ElementsAre(HasSubstr("Hello")));
  EXPECT_THAT(ask(kByFilename, "nothing.proto"),
              ElementsAre(HasSubstr("there is no nothing.proto")));
  EXPECT_THAT(ask(kExtensions, "haul.v1.Outcome"), ElementsAre(HasSubstr("haul.v1.Outcome")));
  EXPECT_THAT(ask(kExtensions, "haul.v1.Nothing"), ElementsAre(HasSubstr("there is no")));
  EXPECT_THAT(ask(0x0a, "host"), ElementsAre(HasSubstr("message_request: none is set")));
}

TEST_F(AccessTest, AMethodThatIsNotThereIsUnimplemented) {
  EXPECT_THAT(Raw("/haul.v1.Jobs/Vanish", {""}, true).status,
              Fails(grpc::StatusCode::UNIMPLEMENTED, ""));
}

// ---- bytes that are no message ----

TEST_F(AccessTest, WhatIsNoMessageFailsItsCallAndNoOther) {
  // A field that breaks off, and a text that is not UTF-8 (an unknown field stands before it).
  const std::string garbage = "\x78\x01\xff\xff\xff";
  for (const std::string& method : AllMethods()) {
    const grpc::Status status = Raw(method, {garbage}).status;
    EXPECT_THAT(status.error_code(),
                AnyOf(grpc::StatusCode::INTERNAL, grpc::StatusCode::INVALID_ARGUMENT))
        << method << ": " << status.error_message();
    EXPECT_FALSE(status.error_message().empty()) << method;
    ASSERT_TRUE(Alive()) << method;
  }
  EXPECT_EQ(List().jobs_size(), 0);
  EXPECT_THAT(Workers(), SizeIs(0));
}

TEST_F(AccessTest, AStreamSaysWhichMessageItCouldNotRead) {
  const std::string no_field(20, '\xff');
  EXPECT_THAT(Raw("/haul.v1.Jobs/Submit", {no_field}).status,
              Fails(grpc::StatusCode::INVALID_ARGUMENT, "haul.v1.SubmitRequest"));
  EXPECT_THAT(Raw("/haul.v1.WorkerSession/Upload", {no_field}).status,
              Fails(grpc::StatusCode::INVALID_ARGUMENT, "haul.v1.UploadRequest"));
  EXPECT_THAT(Raw("/haul.v1.WorkerSession/Attach", {no_field}).status,
              Fails(grpc::StatusCode::INVALID_ARGUMENT, "haul.v1.WorkerMessage"));
}

TEST_F(AccessTest, AnErrorWhoseTextWouldBeLongStillArrives) {
  Context context;
  v1::DrainWorkerRequest request;
  request.set_worker(std::string(100'000, 'w'));
  v1::WorkerStatus status;
  EXPECT_THAT(cluster_->DrainWorker(&context, request, &status),
              Fails(grpc::StatusCode::NOT_FOUND, "wwww"));
}

// ---- functions ----

TEST_F(AccessTest, AFunctionThatNobodyServesIsRefusedWithTheNamesThatThereAre) {
  v1::JobSpec spec = ArrayJob(1);
  spec.mutable_function()->set_name("square");
  spec.mutable_function()->set_signature("u64(u64)");
  EXPECT_THAT(Submit(spec), Fails(grpc::StatusCode::INVALID_ARGUMENT,
                                  "no worker serves square u64(u64); there is: none"));

  TestWorker worker(*sessions_);
  v1::Hello hello = TestWorker::Hello("one");
  for (const char* name : {"add", "square"}) {
    v1::FunctionInfo& function = *hello.add_functions();
    function.set_name(name);
    function.set_signature("u64(u64)");
  }
  worker.Attach(hello);
  spec.mutable_function()->set_name("cube");
  EXPECT_THAT(Submit(spec),
              Fails(grpc::StatusCode::INVALID_ARGUMENT, "there is: add u64(u64), square u64(u64)"));
  spec.mutable_function()->set_name("square");
  spec.mutable_function()->set_signature("i64(i64)");
  EXPECT_THAT(Submit(spec),
              Fails(grpc::StatusCode::INVALID_ARGUMENT, "no worker serves square i64(i64)"));
  spec.mutable_function()->set_name("");
  EXPECT_THAT(Submit(spec), Fails(grpc::StatusCode::INVALID_ARGUMENT, "function.name: empty"));
  EXPECT_EQ(List().jobs_size(), 0);
  spec.mutable_function()->set_name("square");
  spec.mutable_function()->set_signature("u64(u64)");
  Accepted(spec);
}

TEST_F(AccessTest, AListOfAllFunctionsDoesNotDrownARefusal) {
  TestWorker worker(*sessions_);
  v1::Hello hello = TestWorker::Hello("one");
  for (int i = 0; i < 2000; ++i) {
    v1::FunctionInfo& function = *hello.add_functions();
    function.set_name(absl::StrCat("function_", i));
    function.set_signature("u64(u64)");
  }
  worker.Attach(hello);
  v1::JobSpec spec = ArrayJob(1);
  spec.mutable_function()->set_name("square");
  spec.mutable_function()->set_signature("u64(u64)");
  EXPECT_THAT(Submit(spec), Fails(grpc::StatusCode::INVALID_ARGUMENT, "no worker serves square"));
}

// ---- the cluster ----

TEST_F(AccessTest, DrainingAndStoppingNeedAWorkerThatIsThere) {
  for (const char* name : {"", "nobody", "0", "1", "-1", "18446744073709551616", "a\nb"}) {
    Context drain, stop, list;
    v1::DrainWorkerRequest drain_request;
    drain_request.set_worker(name);
    v1::StopWorkerRequest stop_request;
    stop_request.set_worker(name);
    v1::WorkerStatus status;
    EXPECT_THAT(cluster_->DrainWorker(&drain, drain_request, &status),
                Fails(grpc::StatusCode::NOT_FOUND, "worker"));
    EXPECT_THAT(cluster_->StopWorker(&stop, stop_request, &status),
                Fails(grpc::StatusCode::NOT_FOUND, "worker"));
    if (*name == '\0') continue;  // all of them
    v1::ListWorkersRequest list_request;
    list_request.set_worker(name);
    v1::ListWorkersReply workers;
    EXPECT_THAT(cluster_->ListWorkers(&list, list_request, &workers),
                Fails(grpc::StatusCode::NOT_FOUND, "worker"));
  }
}

TEST_F(AccessTest, AWorkerIsDrainedByNameAndStoppedById) {
  TestWorker one(*sessions_), two(*sessions_);
  one.Attach(TestWorker::Hello("one"));
  const v1::Welcome welcome = two.Attach(TestWorker::Hello("two"));
  Context drain, stop;
  v1::DrainWorkerRequest drain_request;
  drain_request.set_worker("one");
  drain_request.set_deadline_ms(60'000);
  v1::StopWorkerRequest stop_request;
  stop_request.set_worker(absl::StrCat(welcome.worker_id()));
  v1::WorkerStatus status;
  EXPECT_THAT(cluster_->DrainWorker(&drain, drain_request, &status), Succeeds());
  EXPECT_EQ(status.name(), "one");
  EXPECT_EQ(status.state(), v1::WORKER_STATE_DRAINING);
  // It holds nothing, so it may end at once.
  std::uint64_t deadline_ms = 0;
  one.ReadUntil([&](const v1::CoordinatorMessage& m) {
    if (m.drain()) deadline_ms = m.drain_deadline_ms();
    return m.depart();
  });
  EXPECT_EQ(deadline_ms, 60'000u);

  EXPECT_THAT(cluster_->StopWorker(&stop, stop_request, &status), Succeeds());
  EXPECT_EQ(status.name(), "two");
  two.ReadUntil([](const v1::CoordinatorMessage& m) { return m.stop(); });
}

TEST_F(AccessTest, StopEndsTheCoordinatorCleanly) {
  Context context;
  v1::StopReply reply;
  EXPECT_THAT(cluster_->Stop(&context, {}, &reply), Succeeds());
  EXPECT_TRUE(coordinator_->Wait().ok());
}

// Of each call some operation is under way when the coordinator ends.
TEST_F(AccessTest, CallsUnderWayEndWithTheCoordinator) {
  for (int round = 0; round < 5; ++round) {
    TestWorker worker(*sessions_);
    worker.Attach(TestWorker::Hello("one"));
    const v1::Assignment assignment = [&] {
      Accepted(ArrayJob(1));
      return worker.NextAssignment();
    }();
    Context following, submitting, uploading;
    v1::FollowRequest follow;
    follow.mutable_job()->set_last(true);
    follow.set_follow(true);
    const auto follower = jobs_->Follow(&following, follow);
    v1::FollowReply news;
    ASSERT_TRUE(follower->Read(&news));
    v1::SubmitReply submitted;
    const auto submitter = jobs_->Submit(&submitting, &submitted);
    v1::SubmitRequest spec;
    *spec.mutable_spec() = ArrayJob(1);
    ASSERT_TRUE(submitter->Write(spec));
    v1::UploadReply uploaded;
    const auto uploader = sessions_->Upload(&uploading, &uploaded);
    v1::UploadRequest piece;
    piece.set_job_id(assignment.job_id());
    piece.set_assignment_id(assignment.assignment_id());
    piece.set_total_bytes(10);
    piece.set_data("abc");
    ASSERT_TRUE(uploader->Write(piece));

    coordinator_.reset();
    const auto gone = AnyOf(grpc::StatusCode::UNAVAILABLE, grpc::StatusCode::CANCELLED);
    EXPECT_THAT(worker.Finish().error_code(), gone);
    while (follower->Read(&news)) continue;
    EXPECT_THAT(follower->Finish().error_code(), gone);
    EXPECT_THAT(submitter->Finish().error_code(), gone);
    EXPECT_THAT(uploader->Finish().error_code(), gone);
    Start();
  }
  EXPECT_EQ(List().jobs_size(), 5);
}

}  // namespace
}  // namespace haul::coordinator
