#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <deque>
#include <vector>

/// Labels that follow the features of patches through a video, without any training: the protocol of DINO's evaluation on DAVIS
/// (Caron et al. 2021, section 4.2.2, after Jabri et al. 2020).
namespace dinoxx::eval {

struct PropagationConfig {
  int last_frames = 7;       ///< that a frame is compared with, beside the first
  int top_k = 5;             ///< patches of all these frames whose labels a patch takes
  int radius = 12;           ///< of the window around its own place, in patches
  double temperature = 0.1;  ///< of the softmax over cosine similarities
};

/// Holds the frames that count and no affinity of whole frames: a tile of patches is compared with the window around it, frame by frame.
class LabelPropagation {
 public:
  /// Of the first frame: features [rows, columns, D] (any floating type, any length) and soft labels [rows, columns, C].
  LabelPropagation(const PropagationConfig& config, const at::Tensor& features, const at::Tensor& labels);
  /// Soft labels of the next frame [rows, columns, C] float64: the mean of the labels of its top_k most similar patches (equal: of the
  /// earlier frame, then the earlier patch), weighted by exp(cosine / temperature).
  at::Tensor next(const at::Tensor& features);

 private:
  struct Frame {
    at::Tensor features, labels;  // [rows, columns, D] of length 1; float64
  };
  PropagationConfig config_;
  Frame first_;
  std::deque<Frame> last_;
};

/// Hard labels as the numbers stored in a mask -> [rows, columns, C] of 0 and 1: a patch takes the label at its centre. Channel 0 is the
/// background, channel i + 1 is objects[i]; other numbers are background.
at::Tensor labels_of_patches(const std::vector<uint8_t>& mask, int64_t width, int64_t height, int64_t rows, int64_t columns,
                             const std::vector<uint8_t>& objects);

/// Back to a mask of width x height: soft labels [rows, columns, C] interpolated bilinearly to `scale` times as many pixels, each channel
/// stretched to 0 .. 1 over the frame (as the published evaluation has it), the largest (equal: the earlier) channel, the nearest pixel.
std::vector<uint8_t> mask_of_labels(const at::Tensor& labels, int64_t scale, int64_t width, int64_t height,
                                    const std::vector<uint8_t>& objects);

}  // namespace dinoxx::eval
