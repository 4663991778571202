// Messages of Protocol Buffers as values (haul/protobuf.h), by some that every installation has.
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "gmock/gmock.h"
#include "google/protobuf/descriptor.pb.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/struct.pb.h"
#include "haul/function.h"
#include "haul/protobuf.h"

namespace codec_protobuf_test {
struct Sleep {
  google::protobuf::Duration duration;
  bool deep = false;
};
}  // namespace codec_protobuf_test

namespace haul {
namespace {

using codec_protobuf_test::Sleep;
using google::protobuf::Duration;
using google::protobuf::Struct;
using google::protobuf::UninterpretedOption;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

template <typename T>
std::string Encoded(const T& value) {
  Writer writer;
  Codec<T>::Encode(value, writer);
  return writer.Release();
}

template <typename T>
T Decoded(std::string_view bytes) {
  Reader reader(bytes);
  T value = Codec<T>::Decode(reader);
  reader.ExpectEnd();
  return value;
}

Duration Minute() {
  Duration duration;
  duration.set_seconds(60);
  duration.set_nanos(1);
  return duration;
}

TEST(CodecProtobufTest, MessagesHaveTheDocumentedBytes) {
  const std::string bytes("\x04\0\0\0\x08\x3c\x10\x01", 8);
  EXPECT_EQ(Encoded(Minute()), bytes);
  const Duration duration = Decoded<Duration>(bytes);
  EXPECT_EQ(duration.seconds(), 60);
  EXPECT_EQ(duration.nanos(), 1);
  EXPECT_EQ(Encoded(Duration()), std::string(4, '\0'));
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_THROW(Decoded<Duration>(std::string_view(bytes).substr(0, size)), DecodeError) << size;
  }
}

TEST(CodecProtobufTest, SignaturesHaveTheirFullNames) {
  EXPECT_EQ((Function<Duration(Struct, std::vector<Duration>, Sleep)>::Signature()),
            "pb<google.protobuf.Duration>(pb<google.protobuf.Struct>,"
            "vec<pb<google.protobuf.Duration>>,struct<pb<google.protobuf.Duration>,bool>)");
}

TEST(CodecProtobufTest, TheyAreMembersLikeAnyOther) {
  const Sleep sleep = Decoded<Sleep>(Encoded(Sleep{Minute(), true}));
  EXPECT_EQ(sleep.duration.seconds(), 60);
  EXPECT_TRUE(sleep.deep);
  // Without fields they still have bytes.
  EXPECT_EQ(Decoded<std::vector<Duration>>(Encoded(std::vector<Duration>(3))).size(), 3u);
}

TEST(CodecProtobufTest, EqualMessagesHaveEqualBytes) {
  Struct up;
  Struct down;
  for (int i = 0; i < 200; ++i) {
    (*up.mutable_fields())[std::to_string(i)].set_number_value(i);
    (*down.mutable_fields())[std::to_string(199 - i)].set_number_value(199 - i);
  }
  EXPECT_EQ(Encoded(up), Encoded(down));
  EXPECT_EQ(Encoded(Decoded<Struct>(Encoded(up))), Encoded(up));
}

TEST(CodecProtobufTest, WhatDoesNotParseIsRefused) {
  EXPECT_THAT([] { Decoded<Duration>(std::string_view("\x01\0\0\0\x08", 5)); },
              ThrowsMessage<DecodeError>(HasSubstr("no google.protobuf.Duration")));
  EXPECT_THROW(Decoded<Duration>(std::string_view("\xff\xff\xff\xff\x08", 5)), DecodeError);
  // Fields within fields, more of them than Protocol Buffers reads.
  google::protobuf::Value deep;
  for (int i = 0; i < 200; ++i) {
    google::protobuf::Value outer;
    *outer.mutable_list_value()->add_values() = std::move(deep);
    deep = std::move(outer);
  }
  EXPECT_THROW(Decoded<google::protobuf::Value>(Encoded(deep)), DecodeError);
}

TEST(CodecProtobufTest, RequiredFieldsAreRequired) {
  UninterpretedOption::NamePart part;
  part.set_name_part("x");
  EXPECT_THAT([&] { Encoded(part); },
              ThrowsMessage<std::invalid_argument>(HasSubstr("required is_extension")));
  EXPECT_THROW(Decoded<UninterpretedOption::NamePart>(std::string_view("\3\0\0\0\x0a\1x", 7)),
               DecodeError);
  part.set_is_extension(true);
  EXPECT_EQ(Decoded<UninterpretedOption::NamePart>(Encoded(part)).name_part(), "x");
}

}  // namespace
}  // namespace haul
