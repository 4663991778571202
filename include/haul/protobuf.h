// Messages of Protocol Buffers as arguments and results: include it beside haul/function.h, and
// link libprotobuf or libprotobuf-lite. docs/codec.md has the format.
//
//   inline constexpr haul::Function<shop::Receipt(shop::Order)> kSell{"sell.v1"};
//   kSell.Signature()   // "pb<shop.Receipt>(pb<shop.Order>)"
//
// The signature has the name of a message, not its fields: these may differ as far as Protocol
// Buffers let them. Bytes are the same for the same message within one version of that library,
// since it writes its maps in the order of their keys; fields that it does not know are kept.
#pragma once

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/message_lite.h>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>

#include "haul/codec.h"

namespace haul {

template <typename T>
requires std::is_base_of_v<google::protobuf::MessageLite, T>
struct Codec<T> {
  static_assert(!std::is_abstract_v<T>, "a message of a type that is known when it is compiled");

  static std::string Name() { return "pb<" + T().GetTypeName() + ">"; }
  // Throws std::invalid_argument where a required field is missing, std::length_error above 2 GiB.
  static void Encode(const T& value, Writer& writer) {
    if (!value.IsInitialized()) {
      throw std::invalid_argument(value.GetTypeName() + " misses the required " +
                                  value.InitializationErrorString());
    }
    const std::size_t size = value.ByteSizeLong();
    if (size > std::numeric_limits<std::int32_t>::max()) {
      throw std::length_error(value.GetTypeName() + " has " + std::to_string(size) + " bytes");
    }
    std::string bytes;
    bytes.reserve(size);
    {
      google::protobuf::io::StringOutputStream stream(&bytes);
      google::protobuf::io::CodedOutputStream coded(&stream);
      coded.SetSerializationDeterministic(true);
      value.SerializeWithCachedSizes(&coded);
    }
    writer.AppendCount(bytes.size());
    writer.Append(bytes.data(), bytes.size());
  }
  static T Decode(Reader& reader) {
    const std::string_view bytes = reader.Take(reader.TakeUnsigned<std::uint32_t>());
    T value;
    // A required field that is missing would be logged by ParseFromArray.
    if (bytes.size() > std::numeric_limits<std::int32_t>::max() ||
        !value.ParsePartialFromArray(bytes.data(), static_cast<int>(bytes.size())) ||
        !value.IsInitialized()) {
      throw DecodeError("its bytes are no " + value.GetTypeName());
    }
    return value;
  }
};

}  // namespace haul
