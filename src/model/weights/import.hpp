#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/normalization.hpp"
#include "facts.hpp"
#include "model/backbones/backbone.hpp"

namespace dinoxx {

/// What an import leaves open unless it is allowed.
struct ImportOptions {
  bool allow_missing = false;     ///< parameters that the file lacks keep the values that they have
  bool allow_unexpected = false;  ///< tensors of the backbone that the network lacks are left out
};

struct ImportReport {
  std::vector<std::string> missing, unexpected, reshaped;  ///< "name", "name", "name [found] instead of [wanted]"
  std::vector<std::string> ignored;                        ///< "name: why it is no part of the network"
  std::vector<std::string> adapted;                        ///< what was changed on the way in
  std::map<std::string, at::ScalarType> types;             ///< of our tensors, as the file has them
  int loaded = 0;
};

/// Copies the tensors of a recognised file into `into` (parameters and buffers of a network of r.config, perhaps with another number of
/// channels), converted to each tensor's type and device; a tensor at a time, so that memory beyond file and network stays small.
///
/// Channels: a first convolution for C input channels is made from one for C0 by taking channel c mod C0 and scaling by C0 / C, which keeps
/// the size of the response (for C = 1: the sum over the C0 channels).
///
/// Nothing is loaded partially in silence: missing, unexpected and reshaped tensors are one Error that lists them, nothing written, unless
/// `options` allow them (never the reshaped).
ImportReport import_weights(const Recognized& recognized, const std::string& source, const NamedTensors& into,
                            const ImportOptions& options = {});

/// UsageError when a file of so many numbers has by far too few for the network. Asked before a network is built, so that a file whose
/// description of itself lies costs no memory.
void require_numbers(const BackboneConfig& config, uint64_t numbers, const std::string& source);
void require_numbers(const Recognized& recognized, const std::string& source);

struct ImportedBackbone {
  std::unique_ptr<Backbone> backbone;
  Recognized recognized;  ///< its tensors are gone with the file
  ImportReport report;
  std::vector<Fact> facts;
  std::optional<InputFacts> input;  ///< there once the import has given it back
};
/// Opens, recognises, builds and loads. channels 0: those of the file.
ImportedBackbone import_backbone(const std::filesystem::path& path, at::ScalarType dtype, const RecognizeOptions& which = {},
                                 const ImportOptions& options = {}, int channels = 0);
ImportedBackbone import_with_facts(const std::filesystem::path& path, at::ScalarType dtype, const FactOptions& which,
                                   const ImportOptions& options = {}, int channels = 0);

/// What the exported folder says to the tools that will read it.
struct ExportOptions {
  Normalization normalization;  ///< of the network's input
  bool assumed = false;         ///< the normalisation is: model.safetensors does not say it
  int image_size = 224;         ///< input size for preprocessing
  std::string fit = "crop";     ///< as FactValues has it
  double crop = 0.875;          ///< the size over the resized short side
};
/// Writes `folder`/model.safetensors under a naming, with the facts that no shape shows in its metadata, and config.json and
/// preprocessor_config.json where the naming's tools want them (transformers: the model class's configuration and image processor; timm:
/// architecture and arguments for timm.create_model("local-dir:")). Reading it again gives the same tensors bit for bit, with two
/// exceptions: timm adds the first position to CLS where registers are, and has no mask token, nor has ViTModel of transformers, whose
/// other classes want one (zeros where the network has none). Error when the folder already holds a model, or when the naming has no such
/// network. Returns what that system does in its own way.
std::vector<std::string> export_backbone(Naming naming, const BackboneConfig& config, const NamedTensors& state,
                                         const std::filesystem::path& folder, const ExportOptions& options);

}  // namespace dinoxx
