#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.hpp"
#include "method/method.hpp"
#include "parallel/param_layout.hpp"

namespace dinoxx::plan {

/// Crops of one size that go through a network together.
struct CropGroup {
  int64_t views = 0, size = 0;      ///< of each image; pixels of a side
  int64_t tokens = 0, patches = 0;  ///< of a crop, for a ViT; tokens with CLS and registers
  bool local = false;
};

/// What one batch is made of, at one resolution.
struct Resolution {
  double share = 1;                ///< of the batches
  std::vector<CropGroup> student;  ///< global ones first
  std::vector<CropGroup> teacher;
  std::optional<CropGroup> gram;  ///< what the Gram teacher sees, where there is one
  double masked = 0;              ///< masked patches of an image, mean
  int64_t pixels() const;         ///< of one image's crops, with the Gram teacher's own
};

/// What the loss over prototypes holds of them: loss.rows_at_once and head.shard_prototypes.
struct Prototypes {
  int64_t rows_at_once = 0;
  bool shared = false;
  bool operator==(const Prototypes&) const = default;
};

/// Elements of the parameters by part.
struct PartSizes {
  std::string part;
  int64_t elements = 0;
};

/// A configuration as a plan sees it: shapes, and no memory for them. Parameters come from the network's own code on the device "meta".
struct Model {
  Config config;  ///< resolved
  MethodSpec spec;
  ParamLayout layout;                     ///< of the student; teachers of its kind have the same
  std::optional<ParamLayout> by_columns;  ///< the same where ranks share the prototypes (head.shard_prototypes); absent: there are none
  std::vector<PartSizes> parts;           ///< embedding, blocks, norms, heads, prototypes; in sum the parameters
  int64_t parameters = 0;                 ///< without padding
  int64_t norms = 0;                      ///< batch norms
  int64_t buffer_tensors = 0;             ///< of running statistics
  double buffer_bytes = 0;
  int64_t norm_channels = 0;                            ///< of all batch norms together
  int64_t predictor_norms = 0, predictor_channels = 0;  ///< of these, those of a predictor, which a teacher has and does not use
  std::optional<NetworkConfig> frozen;                  ///< the teacher of a distillation
  int64_t frozen_elements = 0;                          ///< with the padding of its layout
  std::vector<Resolution> resolutions;
  std::vector<std::string> notes;        ///< what was assumed
  int64_t padded(int64_t shards) const;  ///< elements of the flat buffers where so many ranks share them
  int64_t compute_bytes() const;         ///< of an element while networks compute: 2 for bf16, else 4
  bool own_gram_teacher() const { return spec.keeps_gram_network(); }
  /// As configured; none for a convolutional network.
  Recompute recompute() const { return vit() ? vit()->recompute : Recompute{}; }
  int64_t elements_of(std::string_view part) const;  ///< 0 where there is none
  Prototypes prototypes() const;                     ///< as configured
  const VitConfig* vit() const { return std::get_if<VitConfig>(&spec.network.backbone); }
};

/// `teacher_arch`: architecture of a distillation's teacher, a name of config/architectures.hpp with the style and the patch of the
/// student; empty: vit_large, noted. UsageError for what the method or the architecture refuses.
Model make_model(const Config& resolved, const std::string& teacher_arch = "");

/// The same with a teacher of this configuration (tests).
Model make_model(const Config& resolved, const BackboneConfig& teacher);

/// Elements of a bucket of a layout where so many ranks share it.
int64_t padded(const ParamLayout& layout, const Bucket& bucket, int64_t shards);

/// Whether a term of the method has this need, or this name.
bool needs(const MethodSpec& spec, Need need);
bool has_term(const MethodSpec& spec, std::string_view name);
bool has_prototypes(const MethodSpec& spec);
/// Whether the loss compares the outputs of all ranks with each other: two views and no teacher.
bool compares_ranks(const MethodSpec& spec);

/// Share of a block's samples that its branches run for in training: 1 but for stochastic depth in the form "subset".
double kept_share(const VitConfig& config, int64_t block, int64_t batch);

}  // namespace dinoxx::plan
