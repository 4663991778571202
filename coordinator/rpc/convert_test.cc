#include "coordinator/rpc/convert.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace haul::coordinator {
namespace {

using testing::HasSubstr;

template <typename T>
void ExpectRefused(const absl::StatusOr<T>& result, const char* what) {
  ASSERT_EQ(result.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(result.status().message()), HasSubstr(what));
}

v1::JobSpec Command() {
  v1::JobSpec spec;
  spec.mutable_command()->add_arguments("true");
  spec.mutable_command()->set_directory("/tmp");
  return spec;
}

v1::Hello Hello() {
  v1::Hello hello;
  hello.set_incarnation("a");
  hello.set_name("w");
  hello.set_cpus_milli(1000);
  return hello;
}

TEST(ConvertTest, ADirectoryBesideATemporaryOneIsRefusedAtSubmit) {
  v1::JobSpec spec = Command();
  EXPECT_TRUE(ToCore(spec, Limits()).ok());
  spec.mutable_command()->set_temporary_directory(true);  // every task would fail at its worker
  ExpectRefused(ToCore(spec, Limits()),
                "command.directory: '/tmp' is given beside a temporary one");
}

TEST(ConvertTest, AHelloWithASignatureThatNobodyCanReadIsRefused) {
  v1::Hello hello = Hello();
  hello.add_functions()->set_name("f");
  hello.mutable_functions(0)->set_signature("u64(");
  ExpectRefused(ToCore(SessionId(1), hello, Limits()), "hello.functions: f: signature");
  hello.mutable_functions(0)->set_signature("u64()");
  EXPECT_TRUE(ToCore(SessionId(1), hello, Limits()).ok());
  hello.mutable_functions(0)->set_library(std::string(5000, 'x'));
  ExpectRefused(ToCore(SessionId(1), hello, Limits()), "limit of 4096");
}

TEST(ConvertTest, InputsCostWhatTheirMessageHasInBytes) {
  v1::SubmitRequest empty_values;
  empty_values.set_input_count(std::uint64_t{1} << 62);  // would be counted for years
  const auto values = ToInputs(std::move(empty_values), false, 0, std::uint64_t{1} << 63, Limits());
  ASSERT_TRUE(values.ok());
  EXPECT_EQ(values->count(), std::uint64_t{1} << 62);
}

TEST(ConvertTest, InputsOverALimitAreRefused) {
  v1::SubmitRequest message;
  message.set_input_count(3);
  ExpectRefused(ToInputs(v1::SubmitRequest(message), true, 0, 10, Limits()),
                "an array job has none");
  ExpectRefused(ToInputs(v1::SubmitRequest(message), false, 8, 10, Limits()),
                "8 and 3 more are over the limit of 10");
  const std::string large(Limits().argument_bytes + 1, 'x');
  message.set_input_count(2);
  message.mutable_inputs()->set_data("a" + large);
  message.mutable_inputs()->add_end_offsets(1);
  message.mutable_inputs()->add_end_offsets(static_cast<std::uint32_t>(large.size()) + 1);
  ExpectRefused(ToInputs(v1::SubmitRequest(message), false, 5, 10, Limits()),
                "value 6 has 131073 bytes");
}

TEST(ConvertTest, AFollowerInOrderStartsAtItsRange) {
  v1::FollowRequest request;
  request.set_first(5);
  request.set_count(~0ull);
  request.set_in_order(true);
  const OutcomeQuery query = ToQuery(JobId(1), request);
  EXPECT_EQ(query.cursor, 5u);
  EXPECT_EQ(query.only, (TaskRange{5, ~0ull}));
  request.set_in_order(false);
  EXPECT_EQ(ToQuery(JobId(1), request).cursor, 0u);
}

}  // namespace
}  // namespace haul::coordinator
