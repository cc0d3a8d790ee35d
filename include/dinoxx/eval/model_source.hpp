#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dinoxx/core/config.hpp"
#include "dinoxx/core/safetensors.hpp"
#include "dinoxx/model/vit.hpp"

namespace dinoxx::eval {

struct ModelRequest {
  std::filesystem::path checkpoint;     ///< run folder, checkpoint folder, or safetensors file with "backbone.*" or bare names
  std::optional<int64_t> step;          ///< of a run folder: this checkpoint instead of the newest
  std::vector<Setting> model_settings;  ///< model.* keys from the command line; they win over what the file says
  at::ScalarType dtype = at::kFloat;
};

/// A backbone with its weights and where they are from.
struct LoadedModel {
  std::unique_ptr<VisionTransformer> network;
  std::filesystem::path file;
  uint32_t crc32c = 0;             ///< of the file
  std::optional<int64_t> step;     ///< from the checkpoint's manifest beside the file
  uint64_t seed = 0;               ///< of the run, 0 when unknown
  int image_size = 224;            ///< what training showed: views.global_size, or the size of the positions when no configuration is known
  std::vector<std::string> notes;  ///< what had to be guessed
};

/// Finds the teacher's weights, builds the network that they describe and loads them. The configuration is that stored in the file ("dinoxx.config"), else the shapes of the
/// tensors say all but the number of heads, which is then taken as width / 64, as published, and noted. UsageError: nothing there to evaluate, a step that is not there, several
/// networks' worth of names; Error: a foreign or damaged file, names or shapes that do not fit, a checksum other than the manifest's.
LoadedModel load_model(const ModelRequest& request);

/// The shape of a backbone from its tensors' names and shapes (names without prefix). Error when this is no vision transformer of dinoxx.
VitConfig infer_vit_config(const SafetensorsFile& file, const std::string& prefix, const std::string& source);

}  // namespace dinoxx::eval
