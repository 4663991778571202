// Hashes a file with OpenSSL's libcrypto.
#include <openssl/evp.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <system_error>

#include "examples.h"

namespace examples {
namespace {

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
struct FreeDigest {
  void operator()(EVP_MD_CTX* digest) const { EVP_MD_CTX_free(digest); }
};

void Check(int result) {
  if (result != 1) throw std::runtime_error("libcrypto failed");
}

std::string Hexadecimal(const unsigned char* bytes, std::size_t count) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (std::size_t i = 0; i < count; ++i) {
    text.push_back(kDigits[bytes[i] >> 4]);
    text.push_back(kDigits[bytes[i] & 15]);
  }
  return text;
}

HAUL_SERVE(kSha256, [](haul::Context& context, const std::string& path) {
  const std::unique_ptr<std::FILE, CloseFile> file(std::fopen(path.c_str(), "rbe"));
  if (file == nullptr) throw std::system_error(errno, std::generic_category(), path);
  const std::unique_ptr<EVP_MD_CTX, FreeDigest> digest(EVP_MD_CTX_new());
  if (digest == nullptr) throw std::bad_alloc();
  Check(EVP_DigestInit_ex(digest.get(), EVP_sha256(), nullptr));
  std::array<char, 64 << 10> block{};
  while (const std::size_t size = std::fread(block.data(), 1, block.size(), file.get())) {
    if (context.stop_requested()) throw std::runtime_error("stopped while it hashed " + path);
    Check(EVP_DigestUpdate(digest.get(), block.data(), size));
  }
  if (std::ferror(file.get()) != 0) throw std::system_error(errno, std::generic_category(), path);
  std::array<unsigned char, EVP_MAX_MD_SIZE> hash{};
  unsigned size = 0;
  Check(EVP_DigestFinal_ex(digest.get(), hash.data(), &size));
  return Hexadecimal(hash.data(), size);
});

}  // namespace
}  // namespace examples
