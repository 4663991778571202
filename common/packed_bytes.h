// The byte values of consecutive tasks: one blob and where each value ends, never an object per
// task. A plain value; not thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace haul {

class PackedBytes {
 public:
  // Appends a value. The sizes of a pack add up to less than 4 GiB.
  void Append(std::string_view value);
  void Append(const PackedBytes& other);

  std::uint64_t count() const { return count_; }
  std::size_t byte_count() const { return data_.size(); }
  // i < count().
  std::string_view operator[](std::uint64_t i) const;
  // The values [first, first + count), which must be there.
  PackedBytes Slice(std::uint64_t first, std::uint64_t count) const;

  // The representation, for the wire and the store: while all values are of one size, `end_offsets`
  // is empty. FromParts refuses (returns false) what does not describe `count` values within
  // `data`.
  static bool FromParts(std::uint64_t count, std::uint32_t uniform_size,
                        std::vector<std::uint32_t> end_offsets, std::string data, PackedBytes* out);
  std::uint32_t uniform_size() const { return end_offsets_.empty() ? uniform_size_ : 0; }
  const std::vector<std::uint32_t>& end_offsets() const { return end_offsets_; }
  const std::string& data() const& { return data_; }
  std::string data() && { return std::move(data_); }  // nothing else is to be asked of it then

  friend bool operator==(const PackedBytes& a, const PackedBytes& b);

 private:
  void MakeOffsets();

  std::uint64_t count_ = 0;
  std::uint32_t uniform_size_ = 0;  // while end_offsets_ is empty
  std::vector<std::uint32_t> end_offsets_;
  std::string data_;
};

}  // namespace haul
