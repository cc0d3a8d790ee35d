#include "method_defaults.hpp"

#include <fmt/ranges.h>

#include "dinoxx/base/error.hpp"

namespace dinoxx {
namespace {

const std::vector<MethodDefaults>& table() {
  // dino: main_dino.py; ibot: its README's ViT-S; dinov2: ssl_default_config.yaml; dinov3: vitl_im1k_lin834.yaml; distill: dinov2's, with
  // the centring of the released recipes; byol, simclr: their papers, LARS with weight decay as the published runs in solo-learn.
  static const std::vector<MethodDefaults> rows = {
      {"dino",      "dino-v1", 0.4, 0.4,   8,       "adamw",  "linear_256", 5e-4, 1e-6, 0.04, 0.4, 3,
       "parameter", 1,         1,   0.996, "epoch", "centre", "none",       0,    0,    2048, 0,   true, true, false},
      {"ibot",      "dino-v1", 0.25, 0.25,  10,      "adamw",  "linear_256", 5e-4, 1e-6, 0.04, 0.4, 3,
       "parameter", 1,         1,    0.996, "epoch", "centre", "ibot-block", 1,    0,    2048, 0,   true, false, false},
      {"dinov2",    "dinov2-as-released",
       0.32,        0.32,
       8,           "adamw",
       "sqrt_1024", 4e-3,
       1e-6,        0.04,
       0.4,         3,
       "module",    0.9,
       0.2,         0.992,
       "step",      "centre",
       "dinov2",    1,
       0.1,         2048,
       0,           true, false, true},
      {"dinov3", "dinov3", 0.32, 0.32,  8,      "adamw",    "sqrt_1024", 4e-3, 1e-6, 0.04, 0.4, 3,
       "module", 0.9,      0.2,  0.992, "step", "sinkhorn", "dinov3",    1,    0.1,  2048, 0,   false, false, true},
      {"distill", "dinov2-as-released", 0.32,     0.32, 8, "adamw", "sqrt_1024", 4e-3, 1e-6, 0.04, 0.4, 3, "module", 0.9, 0.2, 0.992,
       "step",    "sinkhorn",           "dinov2", 1,    0, 2048,    0,           true, false, true},
      {"byol",      "byol", 0.08, 0.08,  0,       "lars",   "linear_256", 0.2, 0, 1e-5, 1e-5, 0,
       "parameter", 1,      1,    0.996, "epoch", "centre", "none",       0,   0, 4096, 256,  true, true, false},
      {"simclr",    "simclr", 0.08, 0.08, 0,       "lars",   "linear_256", 0.3, 0, 1e-5, 1e-5, 0,
       "parameter", 1,        1,    0,    "epoch", "centre", "none",       0,   0, 2048, 128,  true, true, false},
  };
  return rows;
}

}  // namespace

const MethodDefaults& method_defaults(const std::string& method) {
  for (const MethodDefaults& row : table())
    if (row.name == method) return row;
  const std::string near = nearest_name(method, method_names());
  fail_usage("method", fmt::format("one of {}", fmt::join(method_names(), ", ")), fmt::format("\"{}\"", method),
             near.empty() ? std::string("Choose one of the known methods") : fmt::format("Did you mean {}?", near));
}

std::vector<std::string> method_names() {
  std::vector<std::string> names;
  for (const MethodDefaults& row : table()) names.push_back(row.name);
  return names;
}

const std::vector<std::string>& view_profile_names() {
  static const std::vector<std::string> names{"dino-v1", "dinov2-as-released",    "dinov2-as-documented", "dinov3", "byol",
                                              "simclr",  "solo-cifar-asymmetric", "solo-cifar-symmetric"};
  return names;
}

}  // namespace dinoxx
