#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/normalization.hpp"
#include "config/config.hpp"
#include "model/weights/import.hpp"

namespace dinoxx {
class Dataset;
struct EvalTransform;
}  // namespace dinoxx

namespace dinoxx::eval {

struct ModelRequest {
  std::filesystem::path checkpoint;     ///< run folder, checkpoint folder, or any file or folder of weights that WeightFile opens
  RecognizeOptions which;               ///< for files that dinoxx did not write
  std::optional<int64_t> step;          ///< of a run folder: this checkpoint instead of the newest
  std::vector<Setting> model_settings;  ///< model.* keys from the command line; they win over what the file says. Foreign files: the facts
                                        ///< that no shape shows
  std::optional<std::string> fit;       ///< how images become the input, as the user says it; for the record of facts
  std::optional<double> crop;
  at::ScalarType dtype = at::kFloat;
  at::Device device = at::kCPU;  ///< where the network computes; features come back to the CPU
};

/// {"mean", "std", "source"}, for results.
nlohmann::json describe(const InputNormalization& normalization);

/// What all work with a network is told: which one, how images become its input, what it may use, and what records say of the call.
struct NetworkRun {
  ModelRequest model;
  std::optional<int> image_size;  ///< short side of the input, pixels; default: what training showed
  bool whole = false;             ///< images are shown whole, resized to a square; else their centre crop
  std::optional<double> crop;     ///< the centre crop's share of the resized short side; default: 224 of 256
  int threads = 1;                ///< of each rank
  std::string command_line;
  nlohmann::json build;  ///< what the program was built of
};

/// choose_transform() (features.hpp) for input of this size, with the crop that was asked for.
EvalTransform transform_of(const NetworkRun& run, const Dataset& dataset, std::span<const uint64_t> ids, int image_size);

/// A backbone with its weights and where they are from.
struct LoadedModel {
  std::unique_ptr<Backbone> network;
  std::filesystem::path file;
  uint32_t crc32c = 0;          ///< of the file
  std::optional<int64_t> step;  ///< from the checkpoint's manifest beside the file
  uint64_t seed = 0;            ///< of the run, 0 when unknown
  int image_size = 224;         ///< what training evaluated: eval.image_size, or the size of the positions when no configuration is known
  std::vector<Fact> facts;      ///< what no shape shows, each with its source
  std::vector<std::string> notes;                   ///< what had to be guessed
  std::optional<InputNormalization> normalization;  ///< there once load_model has given it back
  std::string config_text;                          ///< the training's configuration as the file has it; empty: a file from elsewhere
};

/// Finds the teacher's weights, builds the network that they describe and loads them. The configuration is that stored in the file
/// ("dinoxx.config"), else what recognize() finds. UsageError: nothing there to evaluate, a step that is not there, no backbone that is
/// known, names or shapes that do not fit; Error: a damaged file, a checksum other than the manifest's.
LoadedModel load_model(const ModelRequest& request);

}  // namespace dinoxx::eval
