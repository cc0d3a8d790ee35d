#pragma once
#include <array>
#include <string>
#include <vector>

namespace dinoxx {

/// What an image's channels (red, green, blue, each on the scale from 0 to 1) are normalised by before a network sees them: (x - mean) /
/// std. It belongs to a network as its weights do. There is no default: the numbers of another network give other features, and nothing
/// tells.
struct Normalization {
  /// UsageError: a number that is not finite, a standard deviation that is not above 0.
  Normalization(const std::array<float, 3>& channel_mean, const std::array<float, 3>& channel_std);
  bool operator==(const Normalization&) const = default;

  std::array<float, 3> mean, std;
};

/// mean 0.485 0.456 0.406, std 0.229 0.224 0.225: of the published networks, and of most augmentation profiles.
Normalization imagenet_normalization();

/// "mean 0.485 0.456 0.406, std 0.229 0.224 0.225".
std::string describe(const Normalization& normalization);

/// The shortest decimals that are these numbers (0.485, not 0.48500001430511475), for files that other programs read.
std::vector<double> decimals(const std::array<float, 3>& values);

/// Key of the metadata of the weight files that dinoxx writes.
inline constexpr const char* kNormalizationKey = "dinoxx.normalization";
/// Its value: {"mean":[0.485,0.456,0.406],"std":[0.229,0.224,0.225]}.
std::string to_text(const Normalization& normalization);
/// The same numbers again, bit for bit. Error naming `where` for any other text.
Normalization parse_normalization(const std::string& text, const std::string& where);

}  // namespace dinoxx
