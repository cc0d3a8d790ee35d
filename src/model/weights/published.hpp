#pragma once
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "config/vit_config.hpp"
#include "formats/weight_file.hpp"
#include "model/backbones/convnext.hpp"
#include "model/backbones/resnet.hpp"

/// Published names of backbones: which tensors a file of each naming holds, and which network a file describes.
namespace dinoxx {

using BackboneConfig = std::variant<VitConfig, ConvNextConfig, ResNetConfig>;
/// "vision transformer 384 x 12, patch 16", ...
std::string describe(const BackboneConfig& config);

/// Whose names. official: facebookresearch/dino, dinov2 and dinov3, by the style of the network (and torchvision's for ResNet, which all of
/// them use); dinoxx: the names of VisionTransformer, equal to the official ones but for register_tokens and w12 in every style.
enum class Naming { kDinoxx, kOfficial, kTimm, kTransformers };
std::string_view naming_name(Naming naming);
/// UsageError for an unknown name.
Naming naming_from_name(const std::string& name);

/// A tensor of a file as a run of elements of one of ours.
struct StoredPart {
  std::string name;            ///< "": not in the file; zeros when read, left out when written
  std::vector<int64_t> shape;  ///< in the file
};
/// One parameter and the parts whose elements, one after the other in row-major order, are its own.
struct StoredTensor {
  NamedShape ours;
  std::vector<StoredPart> parts;
  bool with_position = false;  ///< written with the first learned position added (timm keeps CLS so when registers stand behind it)
};

/// Every parameter of a backbone (`ours`: its names and shapes, in any order) under another naming. UsageError when that naming has no such
/// network (a convolutional stem, SwiGLU in a DINO v1 ViT of transformers, ...).
std::vector<StoredTensor> stored_tensors(Naming naming, const BackboneConfig& config, const std::vector<NamedShape>& ours);

/// Entries of a file that belong to no parameter but are known: what they are, or nothing for a name that is unknown. `name` without
/// prefix.
std::optional<std::string> known_extra(const std::string& name);

struct RecognizeOptions {
  std::string key;                ///< which network of a training checkpoint: "teacher", "student" or a whole prefix; "": chosen_backbone
  std::optional<int> heads;       ///< when the file does not say it
  std::optional<int> image_size;  ///< size of the images to come; default: that of the positions, or 224
};

/// What a file of weights describes.
struct Recognized {
  Naming naming = Naming::kOfficial;
  std::string style;   ///< dino, dinov2, dinov2_reg, dinov3, convnext, resnet
  std::string prefix;  ///< of the backbone's tensors in the file
  BackboneConfig config;
  std::vector<std::string> others;                    ///< prefixes of further backbones in the file
  std::vector<std::string> unread;                    ///< objects of unknown classes in the file (WeightFile::unread)
  std::vector<std::string> notes;                     ///< what had to be assumed
  std::map<std::string, const WeightEntry*> tensors;  ///< the backbone's, by the name without prefix and wrappers
};
/// The architecture from names and shapes, a config.json beside the file where there is one, and the metadata of dinoxx's own files. Reads
/// no tensor but the rotary periods. Error when there is no backbone that is known, with what was looked for.
Recognized recognize(const WeightFile& file, const RecognizeOptions& options = {});

}  // namespace dinoxx
