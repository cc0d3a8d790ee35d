#pragma once
#include <string>

#include "fact_values.hpp"

namespace dinoxx {

struct Config;

/// The keys of [model] that start-up and readers of weights ask for, without model/model_config.hpp (train_keys.hpp says why).
const std::string& model_init_from(const Config& config);
/// The keys of facts that have a value, as options of an import.
FactValues model_facts(const Config& config);

}  // namespace dinoxx
