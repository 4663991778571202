// Draws a tile of the Mandelbrot set by escape time.
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "examples.h"

namespace examples {
namespace {

constexpr std::uint32_t kSideLimit = 4096;

// How many iterations of z := z^2 + c stay within the circle of radius 2.
std::uint32_t EscapeTime(double x, double y, std::uint32_t limit) {
  double a = 0;
  double b = 0;
  for (std::uint32_t i = 0; i < limit; ++i) {
    const double a2 = a * a;
    const double b2 = b * b;
    if (a2 + b2 > 4) return i;
    b = 2 * a * b + y;
    a = a2 - b2 + x;
  }
  return limit;
}

HAUL_SERVE(kMandelbrot, [](haul::Context& context, double left, double top, double step,
                           std::uint32_t width, std::uint32_t height, std::uint32_t iterations) {
  if (width == 0 || height == 0 || width > kSideLimit || height > kSideLimit) {
    throw std::invalid_argument("a tile has 1 to 4096 pixels on each side");
  }
  std::string image = "P5\n" + std::to_string(width) + " " + std::to_string(height) + "\n255\n";
  image.reserve(image.size() + std::size_t{width} * height);
  for (std::uint32_t j = 0; j < height; ++j) {
    if (context.stop_requested()) throw std::runtime_error("stopped while it drew");
    for (std::uint32_t i = 0; i < width; ++i) {
      const std::uint32_t time = EscapeTime(left + i * step, top - j * step, iterations);
      const auto shade = time == iterations ? 0 : 255 - time % 192;
      image.push_back(static_cast<char>(shade));
    }
  }
  return image;
});

}  // namespace
}  // namespace examples
