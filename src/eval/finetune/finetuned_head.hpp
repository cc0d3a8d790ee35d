#pragma once
#include <filesystem>
#include <nlohmann/json.hpp>

#include "dinoxx/data_pipeline/dataset.hpp"
#include "eval/classify/logistic.hpp"

namespace dinoxx::eval {

/// The head that fine-tuning left in a merged file.
struct FinetunedHead {
  LinearModel model;           ///< of normalised features, over the data's classes
  nlohmann::json temperature;  ///< null: none fits
  nlohmann::json about;        ///< what the file says of it
};

/// UsageError: a file without such a head, or with classes that the data does not name.
FinetunedHead read_finetuned_head(const std::filesystem::path& file, const Dataset& dataset, int classes);

}  // namespace dinoxx::eval
