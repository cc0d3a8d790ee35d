#pragma once
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "config.hpp"

namespace dinoxx {

/// One row of the table that feeds the command line, --help, --print-config, docs/configuration.md and the INI reader, so that they cannot
/// drift.
struct Field {
  std::string key;                                     ///< "section.name"
  std::string type;                                    ///< "integer", "number", "yes|no", "a|b|c", "duration", "list"
  std::string default_text;                            ///< as in a file
  std::string help;                                    ///< with the unit
  bool training = true;                                ///< changes what is trained (false: logging, workers, how many checkpoints are kept)
  std::function<void(Config&, std::string_view)> set;  ///< throws std::invalid_argument that says what was expected
  std::function<std::string(const Config&)> get;
  bool shapes_network = false;  ///< changes which tensors student and teacher have, or their shapes: another network's weights do not fit
};
const std::vector<Field>& config_fields();

/// Of config_differences() those of keys that may change the networks' tensors.
std::vector<std::string> network_differences(const Config& before, const Config& now);

struct Section {
  std::string name, help;
};
/// In the order in which the table lists them.
const std::vector<Section>& config_sections();

/// docs/configuration.md.
std::string config_markdown();

}  // namespace dinoxx
