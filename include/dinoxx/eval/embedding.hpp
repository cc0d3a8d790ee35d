#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

#include "dinoxx/comm/communicator.hpp"
#include "dinoxx/data_pipeline/dataset.hpp"
#include "dinoxx/eval/pretrained_backbone.hpp"

namespace dinoxx {

/// How images become features.
struct EmbeddingOptions {
  int image_size = 0;     ///< side of the network's input, a multiple of the patch size; 0: what training showed
  bool normalize = true;  ///< each row divided by its L2 norm
  int threads = 1;        ///< that read, decode and compute, each a block of images
};

/// The features of some images of a data set, [ids, feature_dim] float32, in the order of `ids`: the rows that `dinoxx embed` writes, bit
/// for bit. An image is used as stored when every image of the data set has the network's size, else its short side is resized (bicubic) to
/// size * 256 / 224 and its centre is cut out. Rows do not depend on the number of threads.
///
/// UsageError: an image_size that patches do not fit, a network for other than 3 channels. Error: an id outside the data set, an image that
/// cannot be read, with its name; a feature that is not finite.
at::Tensor embed_images(const PretrainedBackbone& backbone, const Dataset& dataset, std::span<const uint64_t> ids,
                        const EmbeddingOptions& options = {});

/// The same by all ranks of `comm` together: each embeds a part, every rank returns all rows. Collective, with equal arguments on all
/// ranks; an error on one is thrown on all. Rows do not depend on the number of ranks.
at::Tensor embed_images(const PretrainedBackbone& backbone, const Dataset& dataset, std::span<const uint64_t> ids,
                        const EmbeddingOptions& options, Communicator& comm);

}  // namespace dinoxx
