// The session against a coordinator of the test's own, over loopback.
#include "worker/rpc/session.h"

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/rpc/token.h"
#include "common/time.h"
#include "haul/v1/session.grpc.pb.h"
#include "worker/exec/test_directory.h"
#include "worker/rpc/report_death.h"

namespace haul::worker {
namespace {

constexpr char kToken[] = "a-token";
constexpr std::int64_t kPatienceUs = 30'000'000;

// Welcomes whoever has the token, and keeps what it was told. Its handlers run on gRPC's threads.
class FakeCoordinator final : public v1::WorkerSession::Service {
 public:
  using Stream = grpc::ServerReaderWriter<v1::CoordinatorMessage, v1::WorkerMessage>;

  grpc::Status Attach(grpc::ServerContext* context, Stream* stream) override {
    if (!Knows(*context)) return {grpc::StatusCode::UNAUTHENTICATED, "no such token"};
    v1::WorkerMessage message;
    if (!stream->Read(&message)) return grpc::Status::OK;
    v1::CoordinatorMessage first;
    {
      absl::MutexLock lock(&mutex);
      hellos.push_back(message.hello());
      peers.push_back(context->peer());
      first = welcome;
    }
    stream->Write(first);
    while (stream->Read(&message)) {
      absl::MutexLock lock(&mutex);
      if (message.heartbeat()) ++heartbeats;
      if (message.goodbye()) said_goodbye = true;
      for (const v1::OutcomeBatch& batch : message.outcomes())
        sequences.push_back(batch.sequence());
      if (close_streams) return grpc::Status::OK;
      if (!answers) continue;
      // As many as were asked for, each with its number.
      for (const v1::HandedBack& asked : message.handed_back()) {
        for (std::uint64_t i = 1; i <= asked.job_id(); ++i) {
          v1::CoordinatorMessage answer;
          answer.set_durable_through(i);
          stream->Write(answer);
        }
      }
    }
    return grpc::Status::OK;
  }

  grpc::Status Upload(grpc::ServerContext* context, grpc::ServerReader<v1::UploadRequest>* reader,
                      v1::UploadReply* reply) override {
    if (!Knows(*context)) return {grpc::StatusCode::UNAUTHENTICATED, "no such token"};
    v1::UploadRequest request;
    std::string content;
    std::uint64_t task = 0;
    std::uint64_t total = 0;
    bool first = true;
    while (reader->Read(&request)) {
      if (std::exchange(first, false)) {
        task = request.task();
        total = request.total_bytes();
      }
      if (request.data().size() > (1u << 20)) {
        return {grpc::StatusCode::INVALID_ARGUMENT, "a piece is over 1 MiB"};
      }
      content += request.data();
    }
    absl::MutexLock lock(&mutex);
    if (content.size() != total) return {grpc::StatusCode::ABORTED, "cut short"};
    if (failing_uploads > 0) {
      --failing_uploads;
      return upload_failure;
    }
    uploads[task] = std::move(content);
    reply->set_file(absl::StrCat("file-", task));
    return grpc::Status::OK;
  }

  grpc::Status ReportDeath(grpc::ServerContext* context, const v1::DeathCertificate* certificate,
                           v1::DeathReceipt*) override {
    if (!Knows(*context)) return {grpc::StatusCode::UNAUTHENTICATED, "no such token"};
    absl::MutexLock lock(&mutex);
    deaths.push_back(*certificate);
    return grpc::Status::OK;
  }

  absl::Mutex mutex;
  v1::CoordinatorMessage welcome ABSL_GUARDED_BY(mutex);
  std::vector<v1::Hello> hellos ABSL_GUARDED_BY(mutex);
  std::vector<std::string> peers ABSL_GUARDED_BY(mutex);
  std::vector<std::uint64_t> sequences ABSL_GUARDED_BY(mutex);
  std::vector<v1::DeathCertificate> deaths ABSL_GUARDED_BY(mutex);
  std::map<std::uint64_t, std::string> uploads ABSL_GUARDED_BY(mutex);
  int heartbeats ABSL_GUARDED_BY(mutex) = 0;
  int failing_uploads ABSL_GUARDED_BY(mutex) = 0;
  grpc::Status upload_failure ABSL_GUARDED_BY(mutex);
  bool said_goodbye ABSL_GUARDED_BY(mutex) = false;
  bool close_streams ABSL_GUARDED_BY(mutex) = false;
  bool answers ABSL_GUARDED_BY(mutex) = true;

 private:
  static bool Knows(const grpc::ServerContext& context) {
    return rpc::CheckToken(kToken, context).ok();
  }
};

class SessionTest : public testing::Test, public SessionListener {
 protected:
  SessionTest() {
    absl::MutexLock lock(&coordinator.mutex);
    v1::Welcome& welcome = *coordinator.welcome.mutable_welcome();
    welcome.set_worker_id(3);
    welcome.set_lease_ms(20'000);
    welcome.set_heartbeat_interval_ms(20);
  }
  ~SessionTest() override {
    session.reset();
    StopServer();
  }

  void StartServer() {
    grpc::ServerBuilder builder;
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    builder.AddListeningPort(absl::StrCat("127.0.0.1:", port), grpc::InsecureServerCredentials(),
                             &port);
    builder.RegisterService(&coordinator);
    server = builder.BuildAndStart();
    ASSERT_NE(server, nullptr);
  }
  void StopServer() {
    if (server == nullptr) return;
    server->Shutdown(std::chrono::system_clock::now());
    server.reset();
  }
  void Start(const std::string& token = kToken, std::int64_t first_lease_us = 20'000'000) {
    session = std::make_unique<Session>(reactor,
                                        SessionOptions{.address = absl::StrCat("127.0.0.1:", port),
                                                       .token = token,
                                                       .backoff_min_us = 10'000,
                                                       .backoff_max_us = 50'000,
                                                       .first_lease_us = first_lease_us});
    session->Start(this);
  }
  // Turns of the loop until it holds.
  void Until(const std::function<bool()>& holds) {
    const std::int64_t limit_us = ReadClocks().monotonic_us + kPatienceUs;
    while (!holds()) {
      const std::int64_t now_us = ReadClocks().monotonic_us;
      ASSERT_LT(now_us, limit_us) << "waited in vain";
      reactor.RunOnce(now_us + 5'000);
    }
  }
  template <typename T>
  T Of(T FakeCoordinator::*member) {
    absl::MutexLock lock(&coordinator.mutex);
    return coordinator.*member;
  }

  void OnConnecting(v1::Hello* hello) override {
    ++connecting;
    hello->set_name("w1");
  }
  void OnMessage(v1::CoordinatorMessage message) override {
    messages.push_back(std::move(message));
  }
  void OnDisconnected() override { ++disconnected; }
  void OnWritable() override { ++writable; }
  void OnUploaded(std::uint64_t id, absl::StatusOr<std::string> file) override {
    uploaded[id] = std::move(file);
  }
  void OnRefused(absl::Status status) override { refused = std::move(status); }
  void OnClosed() override { closed = true; }

  FakeCoordinator coordinator;
  int port = 0;
  std::unique_ptr<grpc::Server> server;
  exec::TestDirectory directory;
  exec::Reactor reactor;
  std::unique_ptr<Session> session;

  int connecting = 0;
  int disconnected = 0;
  int writable = 0;
  bool closed = false;
  absl::Status refused;
  std::vector<v1::CoordinatorMessage> messages;
  std::map<std::uint64_t, absl::StatusOr<std::string>> uploaded;
};

TEST_F(SessionTest, AHelloIsWelcomedAndTheHeartbeatGoesOn) {
  StartServer();
  Start();
  EXPECT_FALSE(session->Writable());
  Until([&] { return Of(&FakeCoordinator::heartbeats) >= 3; });
  ASSERT_EQ(messages.size(), 1u);
  EXPECT_EQ(messages[0].welcome().worker_id(), 3u);
  EXPECT_EQ(Of(&FakeCoordinator::hellos).at(0).name(), "w1");
  EXPECT_TRUE(session->Writable());
}

TEST_F(SessionTest, AWrongTokenIsRefusedForGood) {
  StartServer();
  Start("another");
  Until([&] { return !refused.ok(); });
  EXPECT_TRUE(absl::IsUnauthenticated(refused)) << refused;
  EXPECT_EQ(connecting, 1);
}

TEST_F(SessionTest, MessagesKeepTheirOrderInBothDirections) {
  constexpr std::uint64_t kMessages = 500;
  StartServer();
  Start();
  Until([&] { return session->Writable(); });
  for (std::uint64_t sequence = 1; sequence <= kMessages; ++sequence) {
    Until([&] { return session->Writable(); });
    v1::WorkerMessage message;
    message.add_outcomes()->set_sequence(sequence);
    if (sequence == kMessages) message.add_handed_back()->set_job_id(kMessages);
    session->Send(std::move(message));
  }
  Until([&] { return messages.size() == kMessages + 1; });
  for (std::uint64_t i = 1; i <= kMessages; ++i) EXPECT_EQ(messages[i].durable_through(), i);
  const auto sequences = Of(&FakeCoordinator::sequences);
  ASSERT_EQ(sequences.size(), kMessages);
  for (std::uint64_t i = 0; i < kMessages; ++i) EXPECT_EQ(sequences[i], i + 1);
  EXPECT_GT(writable, 0);
}

TEST_F(SessionTest, AnEndedStreamIsOpenedAgain) {
  StartServer();
  Start();
  {
    absl::MutexLock lock(&coordinator.mutex);
    coordinator.close_streams = true;
  }
  Until([&] { return disconnected >= 2; });
  {
    absl::MutexLock lock(&coordinator.mutex);
    coordinator.close_streams = false;
  }
  Until([&] { return session->Writable(); });
  EXPECT_GE(Of(&FakeCoordinator::hellos).size(), 3u);
}

TEST_F(SessionTest, ARestartedCoordinatorIsFoundAgain) {
  StartServer();
  Start();
  Until([&] { return session->Writable(); });
  StopServer();
  Until([&] { return disconnected == 1; });
  // Some attempts find nobody.
  const int before = connecting;
  Until([&] { return connecting >= before + 3; });
  StartServer();
  Until([&] { return session->Writable(); });
  EXPECT_EQ(disconnected, 1);
}

// As where a machine between the two has forgotten the connection: it must be replaced while there
// is still time to come back.
TEST_F(SessionTest, SilenceEndsTheStreamBeforeTheLeaseIsOver) {
  constexpr std::int64_t kLeaseMs = 5000;
  {
    absl::MutexLock lock(&coordinator.mutex);
    coordinator.welcome.mutable_welcome()->set_lease_ms(kLeaseMs);
  }
  StartServer();
  Start();
  Until([&] { return !messages.empty(); });
  bool lease_is_over = false;
  reactor.AddTimer(ReadClocks().monotonic_us + kLeaseMs * 1000, [&] { lease_is_over = true; });
  Until([&] { return Of(&FakeCoordinator::hellos).size() >= 2; });
  EXPECT_FALSE(lease_is_over);
  EXPECT_NE(Of(&FakeCoordinator::peers).at(1), Of(&FakeCoordinator::peers).at(0))
      << "the silent connection was used again";
}

TEST_F(SessionTest, SilenceAgainAndAgainEndsEachStream) {
  {
    absl::MutexLock lock(&coordinator.mutex);
    coordinator.welcome.mutable_welcome()->set_lease_ms(100);
  }
  StartServer();
  Start();
  Until([&] { return disconnected >= 1; });
  Until([&] { return Of(&FakeCoordinator::hellos).size() >= 4; });
}

TEST_F(SessionTest, UploadsAreStartedAgainAfterAFailureThatMayPass) {
  StartServer();
  {
    absl::MutexLock lock(&coordinator.mutex);
    coordinator.failing_uploads = 2;
    coordinator.upload_failure = {grpc::StatusCode::UNAVAILABLE, "not now"};
  }
  Start();
  std::map<std::uint64_t, std::string> contents;
  for (std::uint64_t task = 1; task <= 5; ++task) {
    std::string& content = contents[task];
    for (std::uint64_t i = 0; i < 300'000 * (task - 1); ++i) {
      content.push_back(static_cast<char>(i * task % 251));
    }
    const std::string path = directory.path(absl::StrCat("output-", task));
    std::ofstream(path, std::ios::binary) << content;
    session->Upload({.id = task, .task = task, .total_bytes = content.size(), .path = path});
  }
  Until([&] { return uploaded.size() == 5; });
  for (const auto& [id, file] : uploaded) {
    ASSERT_TRUE(file.ok()) << file.status();
    EXPECT_EQ(*file, absl::StrCat("file-", id));
  }
  EXPECT_TRUE(Of(&FakeCoordinator::uploads) == contents);
}

TEST_F(SessionTest, AnUploadThatIsRefusedIsToldToTheListener) {
  StartServer();
  {
    absl::MutexLock lock(&coordinator.mutex);
    coordinator.failing_uploads = 1;
    coordinator.upload_failure = {grpc::StatusCode::OUT_OF_RANGE, "over the limit"};
  }
  Start();
  const std::string path = directory.path("output");
  std::ofstream(path) << "abc";
  session->Upload({.id = 1, .task = 1, .total_bytes = 3, .path = path});
  Until([&] { return uploaded.size() == 1; });
  session->Upload({.id = 2, .task = 2, .total_bytes = 4, .path = path});  // shorter than it says
  Until([&] { return uploaded.size() == 2; });
  EXPECT_TRUE(absl::IsOutOfRange(uploaded[1].status())) << uploaded[1].status();
  EXPECT_TRUE(absl::IsDataLoss(uploaded[2].status())) << uploaded[2].status();
}

TEST_F(SessionTest, AnUploadWaitsForADescriptorAndNotForAFileThatIsGone) {
  StartServer();
  Start();
  Until([&] { return session->Writable(); });
  const std::string path = directory.path("output");
  std::ofstream(path) << "abc";
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none{.rlim_cur = 0, .rlim_max = before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  session->Upload({.id = 1, .task = 1, .total_bytes = 3, .path = path});
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  const std::string gone = directory.path("gone");
  session->Upload({.id = 2, .task = 2, .total_bytes = 3, .path = gone});
  Until([&] { return uploaded.size() == 2; });
  EXPECT_TRUE(uploaded[1].ok()) << uploaded[1].status();
  EXPECT_EQ(uploaded[2].status().message(),
            absl::StrCat("cannot open ", gone, ": No such file or directory"));
}

// Neither of its connection nor of an upload that was to be started again.
TEST_F(SessionTest, AfterItsEndTheReactorKnowsNothingOfIt) {
  StartServer();
  {
    absl::MutexLock lock(&coordinator.mutex);
    coordinator.failing_uploads = 1000;
    coordinator.upload_failure = {grpc::StatusCode::UNAVAILABLE, "not now"};
  }
  Start();
  const std::string path = directory.path("output");
  std::ofstream(path) << "abc";
  session->Upload({.id = 1, .task = 1, .total_bytes = 3, .path = path});
  Until([&] { return Of(&FakeCoordinator::failing_uploads) <= 998; });
  session.reset();
  reactor.Wake();
  bool later = false;
  reactor.AddTimer(ReadClocks().monotonic_us + 100'000, [&] { later = true; });
  Until([&] { return later; });
  EXPECT_TRUE(uploaded.empty());
}

TEST_F(SessionTest, ClosingDeliversWhatWasSent) {
  StartServer();
  Start();
  Until([&] { return session->Writable(); });
  v1::WorkerMessage message;
  message.set_goodbye(true);
  session->Send(std::move(message));
  session->Close();
  Until([&] { return closed; });
  EXPECT_TRUE(Of(&FakeCoordinator::said_goodbye));
  EXPECT_EQ(disconnected, 0);
}

TEST_F(SessionTest, ClosingWithoutAConnectionEndsAtOnce) {
  StartServer();
  StopServer();
  Start();
  Until([&] { return connecting >= 2; });
  session->Close();
  Until([&] { return closed; });
}

TEST_F(SessionTest, ADeathIsReported) {
  StartServer();
  const std::string address = absl::StrCat("127.0.0.1:", port);
  EXPECT_TRUE(ReportDeath(address, kToken, "abc", "killed by signal 9").ok());
  const auto deaths = Of(&FakeCoordinator::deaths);
  ASSERT_EQ(deaths.size(), 1u);
  EXPECT_EQ(deaths[0].incarnation(), "abc");
  EXPECT_EQ(deaths[0].cause(), "killed by signal 9");
  EXPECT_TRUE(absl::IsUnauthenticated(ReportDeath(address, "another", "abc", "")));
}

}  // namespace
}  // namespace haul::worker
