#pragma once
#include <array>
#include <optional>
#include <string>
#include <string_view>

namespace dinoxx {

/// What the shapes of a network's tensors do not show, as far as somebody says it.
struct FactValues {
  std::optional<int> heads;
  std::optional<double> norm_eps;
  std::optional<std::string> qkv_bias;  ///< none, masked (the keys' part counts as 0), live
  std::optional<std::string>
      position_resize;                      ///< how learned ones meet another grid: scaled (by factors with 0.1 added), exact, antialiased
  std::optional<double> rope_base;          ///< of rotary ones
  std::optional<std::string> rope_periods;  ///< exact, bf16
  std::optional<std::string> activation;    ///< gelu; silu in a gated feed-forward part
  std::optional<int> stem_padding;          ///< of a ResNet's 3x3 stem, pixels
  std::optional<std::array<float, 3>> mean, std;  ///< of the input's channels
  std::optional<int> image_size;                  ///< of the input, pixels
  std::optional<std::string> fit;                 ///< crop (the middle of the resized image) or whole (the image is resized to the size)
  std::optional<double> crop;                     ///< fit crop: the size over the resized short side
  bool operator==(const FactValues&) const = default;
};
/// "0.5,0.5,0.5", "0.485 0.456 0.406" or one number for all channels. std::invalid_argument that says what was expected.
std::array<float, 3> parse_channels(std::string_view text);
/// "0.485,0.456,0.406".
std::string channels_text(const std::array<float, 3>& values);

}  // namespace dinoxx
