#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "model.hpp"

/// What one step of one rank computes and keeps, derived from shapes alone. The forms are those of a GPU: blocks of a ViT as rows of one
/// matrix (ops/packed.hpp), losses over prototypes in own kernels.
namespace dinoxx::plan {

/// [m, k] x [k, n], so many times.
struct Product {
  double m = 0, n = 0, k = 0, times = 1;
  double flops() const { return 2 * m * n * k * times; }
};

/// Of one network or head.
struct Cost {
  std::vector<Product> products;  ///< of a step: forward, backward, and forward again where activations are computed twice
  double backward_flops = 0;      ///< of these, the backward pass with what it computes again
  double attention = 0;           ///< FLOP of attention, which is not among the products
  double traffic = 0;             ///< bytes that elementwise passes read and write
  double launches = 0;            ///< kernels and products that the host starts
  double saved = 0;               ///< bytes kept from forward to backward
  double backward = 0;            ///< bytes that the first part of the backward pass needs beside these
  double forward = 0;             ///< bytes that a forward pass needs while it runs, without gradients
  Cost& operator+=(const Cost& more);
  double product_flops() const;
};

/// How the rows of a network go through it.
struct Pass {
  bool trains = false;   ///< forward and backward, as the configuration's `recompute` has it; else forward alone
  bool patches = false;  ///< the first group's patches are wanted
};

/// Of one linear layer on `rows` rows: forward and, where the pass trains, both gradients (without `input_gradient` that of the weight).
void add_linear(Cost& cost, double rows, double in, double out, bool trains, bool input_gradient = true, double forwards = 1);

Cost vit_cost(const VitConfig& vit, const std::vector<CropGroup>& crops, int64_t batch, int64_t element, const Pass& pass);
/// ResNet and ConvNeXt: products as those of the convolutions' matrices; activations to within some tens of per cent.
Cost conv_cost(const BackboneConfig& backbone, const std::vector<CropGroup>& crops, int64_t batch, int64_t element, const Pass& pass);
Cost backbone_cost(const BackboneConfig& backbone, const std::vector<CropGroup>& crops, int64_t batch, int64_t element, const Pass& pass);

/// A projection head on `rows` rows, without its outputs.
Cost head_cost(const ProjectionConfig& head, double rows, int64_t element, bool trains);

}  // namespace dinoxx::plan
