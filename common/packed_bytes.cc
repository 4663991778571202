#include "common/packed_bytes.h"

#include <limits>
#include <utility>

#include "common/check.h"

namespace haul {

void PackedBytes::MakeOffsets() {
  end_offsets_.reserve(count_ + 1);
  for (std::uint64_t i = 1; i <= count_; ++i) {
    end_offsets_.push_back(static_cast<std::uint32_t>(i * uniform_size_));
  }
}

void PackedBytes::Append(std::string_view value) {
  HAUL_CHECK(data_.size() + value.size() <= std::numeric_limits<std::uint32_t>::max());
  if (count_ == 0) {
    uniform_size_ = static_cast<std::uint32_t>(value.size());
  } else if (end_offsets_.empty() && value.size() != uniform_size_) {
    MakeOffsets();
  }
  data_.append(value);
  if (!end_offsets_.empty()) end_offsets_.push_back(static_cast<std::uint32_t>(data_.size()));
  ++count_;
}

void PackedBytes::Append(const PackedBytes& other) {
  if (count_ == 0) {
    *this = other;
    return;
  }
  if (end_offsets_.empty() && other.end_offsets_.empty() && uniform_size_ == other.uniform_size_) {
    HAUL_CHECK(data_.size() + other.data_.size() <= std::numeric_limits<std::uint32_t>::max());
    data_.append(other.data_);
    count_ += other.count_;
    return;
  }
  for (std::uint64_t i = 0; i < other.count_; ++i) Append(other[i]);
}

std::string_view PackedBytes::operator[](std::uint64_t i) const {
  HAUL_CHECK(i < count_);
  if (end_offsets_.empty()) {
    return std::string_view(data_).substr(i * uniform_size_, uniform_size_);
  }
  const std::size_t begin = i == 0 ? 0 : end_offsets_[i - 1];
  return std::string_view(data_).substr(begin, end_offsets_[i] - begin);
}

PackedBytes PackedBytes::Slice(std::uint64_t first, std::uint64_t count) const {
  HAUL_CHECK(first <= count_ && count <= count_ - first);
  if (first == 0 && count == count_) return *this;
  PackedBytes result;
  if (count == 0) return result;
  result.count_ = count;
  if (end_offsets_.empty()) {
    result.uniform_size_ = uniform_size_;
    result.data_ = data_.substr(first * uniform_size_, count * uniform_size_);
    return result;
  }
  const std::uint32_t begin = first == 0 ? 0 : end_offsets_[first - 1];
  result.end_offsets_.reserve(count);
  for (std::uint64_t i = first; i < first + count; ++i) {
    result.end_offsets_.push_back(end_offsets_[i] - begin);
  }
  result.data_ = data_.substr(begin, result.end_offsets_.back());
  return result;
}

bool PackedBytes::FromParts(std::uint64_t count, std::uint32_t uniform_size,
                            std::vector<std::uint32_t> end_offsets, std::string data,
                            PackedBytes* out) {
  if (end_offsets.empty()) {
    if (uniform_size != 0 && count > data.size() / uniform_size) return false;
    if (count * uniform_size != data.size()) return false;
  } else {
    if (uniform_size != 0 || end_offsets.size() != count) return false;
    std::uint32_t previous = 0;
    for (const std::uint32_t end : end_offsets) {
      if (end < previous) return false;
      previous = end;
    }
    if (previous != data.size()) return false;
  }
  out->count_ = count;
  out->uniform_size_ = uniform_size;
  out->end_offsets_ = std::move(end_offsets);
  out->data_ = std::move(data);
  return true;
}

bool operator==(const PackedBytes& a, const PackedBytes& b) {
  if (a.count_ != b.count_ || a.data_ != b.data_) return false;
  for (std::uint64_t i = 0; i < a.count_; ++i) {
    if (a[i] != b[i]) return false;
  }
  return true;
}

}  // namespace haul
