#pragma once
#include <map>
#include <string>
#include <vector>

#include "formats/weight_file.hpp"

/// Which backbones a file of weights holds, and their tensors by the names that published files have.
namespace dinoxx {

enum class BackboneKind { kVit, kVitTransformers, kVit3Transformers, kConvNext, kConvNextTimm, kConvNextTransformers, kResNet };

using TensorsByName = std::map<std::string, const WeightEntry*>;

struct FoundBackbone {
  std::string prefix;  ///< of its tensors
  BackboneKind kind;
};

/// The file's tensors without what wrappers of PyTorch put into their names, and blocks without their chunk ("blocks.2.17." ->
/// "blocks.17."). Error when two become one.
TensorsByName unwrapped_tensors(const WeightFile& file);

/// The backbones, found by a tensor that only one naming has. UsageError when there is none, with what was looked for.
std::vector<FoundBackbone> backbones_in(const TensorsByName& tensors, const WeightFile& file);

/// The one to take: the one that `key` names; else, of several, the one that training keeps for use, wherever its name stands in the
/// prefix: model_ema (which a distillation of DINOv3 has beside its frozen teacher), teacher, state_dict_ema (timm), ema, model, or the
/// one without a prefix.
/// Never a guess: UsageError when several fit.
FoundBackbone chosen_backbone(const std::vector<FoundBackbone>& found, const std::string& key, const std::string& source);

/// Its tensors, without the prefix. Names of modules in memory become those of published files: transformers 5 renames on saving, and a
/// ResNet made an nn.Sequential counts its parts.
TensorsByName tensors_of(const FoundBackbone& backbone, const TensorsByName& all);

}  // namespace dinoxx
