#include "backbones_in_file.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <set>

#include "dinoxx/base/error.hpp"

namespace dinoxx {
namespace {

using Kind = BackboneKind;

struct Signature {
  const char* name;  ///< a tensor that this kind alone has
  Kind kind;
};
constexpr std::array<Signature, 7> kSignatures{{{"patch_embed.proj.weight", Kind::kVit},
                                                {"embeddings.patch_embeddings.projection.weight", Kind::kVitTransformers},
                                                {"embeddings.patch_embeddings.weight", Kind::kVit3Transformers},
                                                {"downsample_layers.0.0.weight", Kind::kConvNext},
                                                {"stages.0.blocks.0.conv_dw.weight", Kind::kConvNextTimm},
                                                {"stages.0.layers.0.depthwise_conv.weight", Kind::kConvNextTransformers},
                                                {"layer1.0.conv1.weight", Kind::kResNet}}};
// A ResNet as nn.Sequential of its parts, as lightly makes it: torchvision's has four before its stages, lightly's own for small images
// two.
constexpr const char* kSequential = "4.0.conv1.weight";

/// Networks that are known and have no counterpart here.
struct Foreign {
  const char* name;  ///< a tensor that this kind alone has
  const char *what, *advice;
};
constexpr Foreign kForeign[] = {
    {"patch_generator.embedder.weight",
     "C-RADIO under the names of its own program, with positions for 128 x 128 patches of which each image has its cut",
     "Take timm's file of the same weights (vit_*_radio_*), whose positions are those of images of 512 pixels"},
    {"embeds.proj.weight", "a NaFlexViT of timm, whose positions and patches follow the shape of each image",
     "Take the file of timm's plain network of the same weights (vit_* instead of naflexvit_*)"}};

std::string unwrapped(std::string name) {
  for (const std::string_view wrapper : {"_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module."})
    for (size_t at = name.find(wrapper); at != std::string::npos; at = name.find(wrapper)) name.erase(at, wrapper.size());
  const size_t blocks = name.find("blocks.");
  if (blocks == std::string::npos || (blocks > 0 && name[blocks - 1] != '.')) return name;
  const auto digits = [&](size_t from) {
    size_t end = from;
    while (end < name.size() && name[end] >= '0' && name[end] <= '9') ++end;
    return end;
  };
  const size_t chunk = blocks + 7, chunk_end = digits(chunk);
  if (chunk_end == chunk || chunk_end >= name.size() || name[chunk_end] != '.') return name;
  const size_t block_end = digits(chunk_end + 1);
  if (block_end > chunk_end + 1 && block_end < name.size() && name[block_end] == '.') name.erase(chunk, chunk_end + 1 - chunk);
  return name;
}

/// The prefix of a tensor that ends in `name`; nothing when `name` is not the end of its parts.
std::optional<std::string> prefix_before(const std::string& tensor, const char* name) {
  if (!tensor.ends_with(name)) return std::nullopt;
  std::string prefix = tensor.substr(0, tensor.size() - std::strlen(name));
  if (!prefix.empty() && prefix.back() != '.') return std::nullopt;
  return prefix;
}

bool is_sequential_resnet(const TensorsByName& tensors, const std::string& prefix) {
  const auto stem = tensors.find(prefix + "0.weight");
  return stem != tensors.end() && stem->second->shape.size() == 4 && tensors.contains(prefix + "1.running_mean") &&
         (tensors.contains(prefix + "7.0.conv1.weight") || tensors.contains(prefix + "2.0.conv1.weight"));
}

/// DINOv3's ConvNeXt of transformers keeps all but the last norm under "model." while in memory.
std::string without_model(std::string prefix, const TensorsByName& tensors) {
  constexpr std::string_view model = "model.";
  if (!prefix.ends_with(model) || tensors.contains(prefix + "layer_norm.weight")) return prefix;
  const std::string outer = prefix.substr(0, prefix.size() - model.size());
  return tensors.contains(outer + "layer_norm.weight") ? outer : prefix;
}

std::string listed(const std::vector<FoundBackbone>& found) {
  std::vector<std::string> prefixes;
  for (const FoundBackbone& f : found) prefixes.push_back("\"" + f.prefix + "\"");
  return fmt::format("{}", fmt::join(prefixes, ", "));
}

/// Whether a part of the prefix is the word; with `more`, or begins with it ("teacher_backbone").
bool has_word(const std::string& prefix, const std::string& word, bool more) {
  const std::string dotted = "." + prefix;
  if (dotted.find("." + word + (word.ends_with('.') ? "" : ".")) != std::string::npos) return true;
  return more && dotted.find("." + word + "_") != std::string::npos;
}

/// The one backbone whose prefix has the word; nullptr for none and for several.
const FoundBackbone* only_one_of(const std::vector<FoundBackbone>& found, const std::string& word, bool more) {
  const FoundBackbone* match = nullptr;
  for (const FoundBackbone& f : found) {
    if (!has_word(f.prefix, word, more)) continue;
    if (match) return nullptr;
    match = &f;
  }
  return match;
}

void replace(std::string& name, std::string_view part, std::string_view by) {
  if (const size_t at = name.find(part); at != std::string::npos) name.replace(at, part.size(), by);
}

std::string file_name_of_resnet(std::string name, int parts_before) {
  replace(name, ".shortcut.", ".downsample.");
  const size_t dot = name.find('.');
  if (parts_before == 0 || dot == std::string::npos || dot != 1 || name[0] < '0' || name[0] > '9') return name;
  const int part = name[0] - '0';
  if (part < 2) return (part == 0 ? "conv1" : "bn1") + name.substr(dot);
  const int stage = part - parts_before + 1;
  return stage < 1 || stage > 4 ? name : fmt::format("layer{}{}", stage, name.substr(dot));
}

/// ViTModel, Dinov2Model and Dinov2WithRegistersModel. The two halves of a gated feed-forward part stay apart (import.cpp joins them).
std::string file_name_of_vit(std::string name) {
  if (name.starts_with("layers.")) {  // ViTModel
    name = "encoder.layer" + name.substr(std::strlen("layers"));
    replace(name, ".mlp.fc1.", ".intermediate.dense.");
    replace(name, ".mlp.fc2.", ".output.dense.");
  }
  replace(name, ".attention.q_proj.", ".attention.attention.query.");
  replace(name, ".attention.k_proj.", ".attention.attention.key.");
  replace(name, ".attention.v_proj.", ".attention.attention.value.");
  replace(name, ".attention.o_proj.", ".attention.output.dense.");
  replace(name, ".mlp.down_proj.", ".mlp.weights_out.");
  return name;
}

}  // namespace

TensorsByName unwrapped_tensors(const WeightFile& file) {
  TensorsByName all;
  for (const WeightEntry& entry : file.entries()) {
    const std::string name = unwrapped(entry.name);
    if (!all.emplace(name, &entry).second)
      fail(file.path().string(), "one tensor of a name, once wrappers and chunks are taken off", fmt::format("\"{}\" twice", name),
           "Use a file of one network");
  }
  return all;
}

std::vector<FoundBackbone> backbones_in(const TensorsByName& tensors, const WeightFile& file) {
  std::vector<FoundBackbone> found;
  for (const Signature& signature : kSignatures)
    for (const auto& [name, entry] : tensors)
      if (const auto prefix = prefix_before(name, signature.name))
        found.push_back({signature.kind == Kind::kConvNextTransformers ? without_model(*prefix, tensors) : *prefix, signature.kind});
  for (const auto& [name, entry] : tensors)
    if (const auto prefix = prefix_before(name, kSequential); prefix && is_sequential_resnet(tensors, *prefix))
      found.push_back({*prefix, Kind::kResNet});
  if (!found.empty()) return found;
  for (const Foreign& foreign : kForeign)
    for (const auto& [name, entry] : tensors)
      if (prefix_before(name, foreign.name))
        fail_usage(file.path().string(), "a backbone that dinoxx knows", fmt::format("{} (tensor \"{}\")", foreign.what, name),
                   foreign.advice);
  std::vector<std::string> known;
  for (const Signature& signature : kSignatures) known.push_back(std::string("\"") + signature.name + "\"");
  const std::vector<std::string>& unread = file.unread();
  fail_usage(file.path().string(), fmt::format("a backbone that dinoxx knows (one of the tensors {})", fmt::join(known, ", ")),
             fmt::format("{} tensors, {}{}", tensors.size(), tensors.empty() ? "none" : "the first \"" + tensors.begin()->first + "\"",
                         unread.empty() ? "" : ", and objects that only their own program can build: " + unread.front()),
             unread.empty()
                 ? "Give weights of a ViT of DINO v1, v2 or v3, a ConvNeXt or a ResNet"
                 : "Give weights of a ViT of DINO v1, v2 or v3, a ConvNeXt or a ResNet; of a whole model, save its state_dict()");
}

FoundBackbone chosen_backbone(const std::vector<FoundBackbone>& found, const std::string& key, const std::string& source) {
  if (!key.empty()) {
    for (const bool more : {false, true})
      if (const FoundBackbone* f = only_one_of(found, key, more)) return *f;
    fail_usage("--key", fmt::format("a word that one alone of the prefixes {} in {} has", listed(found), source), "\"" + key + "\"",
               "Name one of them");
  }
  if (found.size() == 1) return found.front();
  for (const char* word : {"model_ema", "teacher", "state_dict_ema", "ema", "model"})
    for (const bool more : {false, true})
      if (const FoundBackbone* f = only_one_of(found, word, more)) return *f;
  for (const FoundBackbone& f : found)
    if (f.prefix.empty()) return f;
  fail_usage(source, "one backbone, or a teacher among several", fmt::format("backbones under {}", listed(found)),
             fmt::format("Take one of them out first: dinoxx weights import {} --key PREFIX --out DIR", source));
}

TensorsByName tensors_of(const FoundBackbone& backbone, const TensorsByName& all) {
  const std::string& prefix = backbone.prefix;
  const bool sequential = backbone.kind == Kind::kResNet && !all.contains(prefix + "layer1.0.conv1.weight");
  const int parts_before = !sequential ? 0 : all.contains(prefix + "2.0.conv1.weight") ? 2 : 4;
  TensorsByName tensors;
  for (const auto& [name, entry] : all) {
    if (!name.starts_with(prefix)) continue;
    std::string rest = name.substr(prefix.size());
    if (backbone.kind == Kind::kResNet) rest = file_name_of_resnet(std::move(rest), parts_before);
    if (backbone.kind == Kind::kVitTransformers) rest = file_name_of_vit(std::move(rest));
    if (backbone.kind == Kind::kVit3Transformers && rest.starts_with("model.layer.")) rest = rest.substr(std::strlen("model."));
    if (backbone.kind == Kind::kConvNextTransformers && rest.starts_with("model.stages.")) rest = rest.substr(std::strlen("model."));
    tensors.emplace(std::move(rest), entry);
  }
  return tensors;
}

}  // namespace dinoxx
