#include "toy_video.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/files.hpp"
#include "dinoxx/base/error.hpp"
#include "toy_pixels.hpp"
#include "toy_textures.hpp"

namespace dinoxx {
namespace {

constexpr double kStretch = 1.6;  // texture coordinates per short side: several periods on an object
constexpr double kMiddle = 0.5, kContrast = 0.3;

double shade(const Texture& texture, double x, double y) {
  const Texture::Shift bend = texture.bend(x, y);
  return kMiddle + kContrast * texture(x + bend.x, y + bend.y);
}

struct Tint {
  explicit Tint(CounterRng& rng) {
    for (double& channel : share) channel = rng.uniform(0.35, 1.0);
  }
  double share[3];
};

// Lengths in units of the short side.
class Mover {
 public:
  Mover(CounterRng& rng, uint64_t kind, double width, double height)
      : texture_(static_cast<int>(kind % texture_names().size()), rng),
        tint_(rng),
        disc_(rng.bernoulli(0.5)),
        half_(rng.uniform(0.14, 0.22)) {
    // from one half of the picture to the other, so that all of them move
    const bool leftwards = rng.bernoulli(0.5);
    const double margin = half_ + 0.02, low = margin, high = width - margin, middle = width / 2;
    from_x_ = leftwards ? rng.uniform(middle, high) : rng.uniform(low, middle);
    to_x_ = leftwards ? rng.uniform(low, middle) : rng.uniform(middle, high);
    from_y_ = rng.uniform(margin, height - margin);
    to_y_ = rng.uniform(margin, height - margin);
  }
  /// Is (x, y) on the object when a share t of its way is done?
  bool covers(double x, double y, double t) const {
    const double dx = x - std::lerp(from_x_, to_x_, t), dy = y - std::lerp(from_y_, to_y_, t);
    return disc_ ? dx * dx + dy * dy <= half_ * half_ : std::max(std::abs(dx), std::abs(dy)) <= half_;
  }
  double value(double x, double y, double t, int channel) const {
    return tint_.share[channel] *
           shade(texture_, kStretch * (x - std::lerp(from_x_, to_x_, t)), kStretch * (y - std::lerp(from_y_, to_y_, t)));
  }

 private:
  Texture texture_;
  Tint tint_;
  bool disc_;
  double half_, from_x_, to_x_, from_y_, to_y_;
};

}  // namespace

ToyVideo draw_toy_video(const ToyVideoOptions& options, uint64_t index) {
  if (std::min(options.width, options.height) < 32 || std::max(options.width, options.height) > 4096) {
    fail_usage("toy video", "sides of 32 to 4096 pixels", fmt::format("{} x {}", options.width, options.height), "Change them.");
  }
  if (options.frames < 2 || options.objects < 1 || options.objects > 8) {
    fail_usage("toy video", "at least 2 frames and 1 to 8 objects", fmt::format("{} and {}", options.frames, options.objects),
               "Change them.");
  }
  CounterRng rng(options.seed, index, UINT32_MAX, Purpose::kToy);  // images of the toy set have lanes per row
  const double scale = 1.0 / std::min(options.width, options.height);
  const Texture ground(static_cast<int>(rng.below(texture_names().size())), rng);
  const Tint ground_tint(rng);
  std::vector<Mover> movers;
  const uint64_t first_kind = rng.below(texture_names().size());
  movers.reserve(static_cast<size_t>(options.objects));
  for (int i = 0; i < options.objects; ++i) movers.emplace_back(rng, first_kind + i, options.width * scale, options.height * scale);
  ToyVideo video;
  for (int f = 0; f < options.frames; ++f) {
    const double t = static_cast<double>(f) / (options.frames - 1);
    Image frame{options.width, options.height, {}};
    LabelImage mask{options.width, options.height, {}};
    for (int y = 0; y < options.height; ++y) {
      for (int x = 0; x < options.width; ++x) {
        const double px = (x + 0.5) * scale, py = (y + 0.5) * scale;
        int object = options.objects;
        while (object > 0 && !movers[object - 1].covers(px, py, t)) --object;
        for (int c = 0; c < 3; ++c) {
          frame.data.push_back(to_byte(object > 0 ? movers[object - 1].value(px, py, t, c)
                                                  : ground_tint.share[c] * shade(ground, kStretch * px, kStretch * py)));
        }
        mask.data.push_back(static_cast<uint8_t>(object));
      }
    }
    video.frames.push_back(std::move(frame));
    video.masks.push_back(std::move(mask));
  }
  return video;
}

void write_toy_videos(const std::filesystem::path& folder, int count, const ToyVideoOptions& options) {
  const auto write = [](const std::filesystem::path& path, const std::vector<uint8_t>& bytes) {
    write_file_atomically(path, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  };
  for (int i = 0; i < count; ++i) {
    const ToyVideo video = draw_toy_video(options, static_cast<uint64_t>(i));
    const std::string name = fmt::format("toy_{:02}", i);
    for (const char* part : {"frames", "masks"}) make_writable_directory(folder / part / name);
    for (size_t f = 0; f < video.frames.size(); ++f) {
      const std::string file = fmt::format("{:05}.png", f);
      write(folder / "frames" / name / file, encode_png(video.frames[f]));
      write(folder / "masks" / name / file, encode_label_png(video.masks[f]));
    }
  }
}

}  // namespace dinoxx
