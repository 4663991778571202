#include "tests/fuzz/message_mutator.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "common/utf8.h"
#include "google/protobuf/stubs/logging.h"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

namespace haul::fuzz {
namespace {

using google::protobuf::EnumValueDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

constexpr std::size_t kMostGrowth = 64;  // of a text by one mutation

class Mutator {
 public:
  explicit Mutator(unsigned seed) : random_(seed) {}

  void Mutate(Message& message) {
    std::vector<Message*> all;
    Collect(message, all);
    // Several at once, now and then: some of what is wrong takes two.
    do {
      Message& chosen = *all[Below(all.size())];
      MutateOne(chosen);
      all.clear();
      Collect(message, all);
    } while (Below(3) == 0);
  }
  std::size_t Below(std::size_t count) { return random_() % count; }

 private:
  static void Collect(Message& message, std::vector<Message*>& all) {
    all.push_back(&message);
    const Reflection& reflection = *message.GetReflection();
    std::vector<const FieldDescriptor*> fields;
    reflection.ListFields(message, &fields);
    for (const FieldDescriptor* field : fields) {
      if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) continue;
      if (!field->is_repeated()) {
        Collect(*reflection.MutableMessage(&message, field), all);
        continue;
      }
      for (int i = 0; i < reflection.FieldSize(message, field); ++i) {
        Collect(*reflection.MutableRepeatedMessage(&message, field, i), all);
      }
    }
  }

  void MutateOne(Message& message) {
    const auto& descriptor = *message.GetDescriptor();
    if (descriptor.field_count() == 0) return;
    const FieldDescriptor& field = *descriptor.field(
        static_cast<int>(Below(static_cast<std::size_t>(descriptor.field_count()))));
    if (field.is_repeated()) return MutateRepeated(message, field);
    const Reflection& reflection = *message.GetReflection();
    if (Below(8) == 0) return reflection.ClearField(&message, &field);
    if (field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      reflection.MutableMessage(&message, &field);
    } else {
      SetScalar(message, field, -1);
    }
  }

  void MutateRepeated(Message& message, const FieldDescriptor& field) {
    const Reflection& reflection = *message.GetReflection();
    const int size = reflection.FieldSize(message, &field);
    const auto any = [&] { return static_cast<int>(Below(static_cast<std::size_t>(size))); };
    const bool is_message = field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE;
    switch (size == 0 ? 0 : Below(5)) {
      case 0:
        if (is_message) {
          reflection.AddMessage(&message, &field);
        } else {
          SetScalar(message, field, size);
        }
        return;
      case 1:
        if (const int i = any(); i + 1 < size)
          reflection.SwapElements(&message, &field, i, size - 1);
        return reflection.RemoveLast(&message, &field);
      case 2:
        return reflection.SwapElements(&message, &field, any(), any());
      case 3:
        if (is_message) {
          const std::string copy =
              reflection.GetRepeatedMessage(message, &field, any()).SerializeAsString();
          reflection.AddMessage(&message, &field)->ParseFromString(copy);
          return;
        }
        return SetScalar(message, field, size);
      default:
        if (!is_message) SetScalar(message, field, any());
        return;
    }
  }

  // Of a repeated field the element `index`, which is added where there is none; else -1.
  void SetScalar(Message& message, const FieldDescriptor& field, int index) {
    const Reflection& reflection = *message.GetReflection();
    const bool adds = index >= 0 && index == reflection.FieldSize(message, &field);
    const auto set = [&](auto value, auto single, auto repeated, auto add) {
      if (index < 0) {
        (reflection.*single)(&message, &field, value);
      } else if (adds) {
        (reflection.*add)(&message, &field, value);
      } else {
        (reflection.*repeated)(&message, &field, index, value);
      }
    };
    switch (field.cpp_type()) {
      case FieldDescriptor::CPPTYPE_INT32:
        return set(Number<std::int32_t>(), &Reflection::SetInt32, &Reflection::SetRepeatedInt32,
                   &Reflection::AddInt32);
      case FieldDescriptor::CPPTYPE_INT64:
        return set(Number<std::int64_t>(), &Reflection::SetInt64, &Reflection::SetRepeatedInt64,
                   &Reflection::AddInt64);
      case FieldDescriptor::CPPTYPE_UINT32:
        return set(Number<std::uint32_t>(), &Reflection::SetUInt32, &Reflection::SetRepeatedUInt32,
                   &Reflection::AddUInt32);
      case FieldDescriptor::CPPTYPE_UINT64:
        return set(Number<std::uint64_t>(), &Reflection::SetUInt64, &Reflection::SetRepeatedUInt64,
                   &Reflection::AddUInt64);
      case FieldDescriptor::CPPTYPE_DOUBLE:
        return set(static_cast<double>(Number<std::int64_t>()), &Reflection::SetDouble,
                   &Reflection::SetRepeatedDouble, &Reflection::AddDouble);
      case FieldDescriptor::CPPTYPE_FLOAT:
        return set(static_cast<float>(Number<std::int32_t>()), &Reflection::SetFloat,
                   &Reflection::SetRepeatedFloat, &Reflection::AddFloat);
      case FieldDescriptor::CPPTYPE_BOOL:
        return set(Below(2) == 1, &Reflection::SetBool, &Reflection::SetRepeatedBool,
                   &Reflection::AddBool);
      case FieldDescriptor::CPPTYPE_ENUM:
        // Also numbers that no release has named yet.
        return set(static_cast<int>(Below(13)), &Reflection::SetEnumValue,
                   &Reflection::SetRepeatedEnumValue, &Reflection::AddEnumValue);
      case FieldDescriptor::CPPTYPE_STRING:
        return SetText(message, field, index, adds);
      case FieldDescriptor::CPPTYPE_MESSAGE:
        return;
    }
  }

  void SetText(Message& message, const FieldDescriptor& field, int index, bool adds) {
    const Reflection& reflection = *message.GetReflection();
    std::string text;
    if (index < 0) text = reflection.GetString(message, &field);
    if (index >= 0 && !adds) text = reflection.GetRepeatedString(message, &field, index);
    const std::size_t size = text.size();
    text.resize(size + kMostGrowth);
    text.resize(LLVMFuzzerMutate(reinterpret_cast<std::uint8_t*>(text.data()), size, text.size()));
    // What is not UTF-8 would not parse as a string.
    if (field.type() == FieldDescriptor::TYPE_STRING) text = ToUtf8(text);
    if (index < 0) return reflection.SetString(&message, &field, text);
    if (adds) return reflection.AddString(&message, &field, text);
    reflection.SetRepeatedString(&message, &field, index, text);
  }

  // Mostly small, so that ids and ranges of different messages meet; else where types end.
  template <typename T>
  T Number() {
    constexpr std::array<T, 8> kEdges = {std::numeric_limits<T>::max(),
                                         std::numeric_limits<T>::min(),
                                         static_cast<T>(std::numeric_limits<T>::max() - 1),
                                         static_cast<T>(std::numeric_limits<T>::max() / 2 + 1),
                                         static_cast<T>(std::int64_t{1} << 31),
                                         static_cast<T>((std::int64_t{1} << 40) + 1),
                                         static_cast<T>(-1),
                                         static_cast<T>(1'000'000)};
    switch (Below(8)) {
      case 0:
        return kEdges[Below(kEdges.size())];
      case 1:
        return static_cast<T>(random_() >> Below(64));
      case 2:
        return static_cast<T>(Below(2000));
      default:
        return static_cast<T>(Below(9));
    }
  }

  std::mt19937_64 random_;
};

std::size_t Write(const Message& message, std::uint8_t* out, std::size_t max_size) {
  const std::string bytes = message.SerializeAsString();
  if (bytes.size() > max_size) return 0;
  std::memcpy(out, bytes.data(), bytes.size());
  return bytes.size();
}

}  // namespace

bool Parse(const std::uint8_t* data, std::size_t size, Message* message) {
  // It would say of each input why it is no message.
  [[maybe_unused]] static const bool silenced = (google::protobuf::SetLogHandler(nullptr), true);
  return message->ParseFromArray(data, static_cast<int>(size));
}

std::size_t Mutate(Message& message, std::uint8_t* data, std::size_t size, std::size_t max_size,
                   unsigned seed) {
  Mutator mutator(seed);
  // The parser too is code that bytes from outside reach.
  if (mutator.Below(16) == 0) return LLVMFuzzerMutate(data, size, max_size);
  if (!Parse(data, size, &message)) message.Clear();
  mutator.Mutate(message);
  const std::size_t written = Write(message, data, max_size);
  return written > 0 ? written : LLVMFuzzerMutate(data, size, max_size);
}

std::size_t CrossOver(Message& message, const std::uint8_t* first, std::size_t first_size,
                      const std::uint8_t* second, std::size_t second_size, std::uint8_t* out,
                      std::size_t max_size) {
  if (!Parse(first, first_size, &message)) message.Clear();
  // What is repeated in the two stands one after the other.
  if (!message.MergeFromString(std::string(reinterpret_cast<const char*>(second), second_size))) {
    return 0;
  }
  return Write(message, out, max_size);
}

}  // namespace haul::fuzz
