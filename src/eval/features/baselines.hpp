#pragma once
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "features.hpp"
#include "model_source.hpp"

// A checkpoint and the baselines beside it, for work on images from files.
namespace dinoxx::eval {

struct ModelAndBaselines {
  LoadedModel model;
  std::unique_ptr<Backbone> untrained;
  std::vector<Embedder> embedders;  ///< with patches; the checkpoint first
  std::vector<std::string> names() const;
};
/// `baselines`: of baseline_names(). Errors as load_model.
ModelAndBaselines load_model_and_baselines(const ModelRequest& request, const std::vector<std::string>& baselines);
/// For results.json.
nlohmann::json describe_checkpoint(const LoadedModel& model);

}  // namespace dinoxx::eval
