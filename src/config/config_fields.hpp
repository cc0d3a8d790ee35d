#pragma once
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "config.hpp"

namespace dinoxx {

/// What has to hold in a run that reads a key.
struct Condition {
  std::string text;                            ///< behind "read where": "gram.weight is above 0"
  std::function<bool(const Config&)> holds{};  ///< of a resolved configuration
};

/// One row of the table that feeds the command line, --help, --print-config, docs/configuration.md and the INI reader, so that they cannot
/// drift.
struct Field {
  std::string key;                                     ///< "section.name"
  std::string type;                                    ///< "integer", "number", "yes|no", "a|b|c", "duration", "list"
  std::string default_text;                            ///< as in a file
  std::string help;                                    ///< with the unit; what "auto" is only where it is the same for every method
  bool training = true;                                ///< changes what is trained (false: logging, workers, how many checkpoints are kept)
  std::function<void(Config&, std::string_view)> set;  ///< throws std::invalid_argument that says what was expected
  std::function<std::string(const Config&)> get;
  bool shapes_network = false;  ///< of some networks it changes which tensors there are, or their shapes: a resume may meet another network
  bool other_function = false;  ///< tensors of the same shapes, but another function of them: a resume that changes it is refused
  bool of_machine = false;      ///< how a rank uses its machine: ranks may have different values
  bool of_method = false;       ///< read by the methods that list it (method/methods.hpp), not by all
  std::vector<Condition> read_where{};  ///< all have to hold; none: every run reads it
};
const std::vector<Field>& config_fields();

struct Section {
  std::string name, help;
  bool of_method = false;  ///< its keys are the methods' (Field::of_method)
};
/// In the order in which the table lists them.
const std::vector<Section>& config_sections();

/// How a key is described to a user.
struct FieldText {
  std::string type, help;
};
using DescribeField = std::function<FieldText(const Field&)>;
/// As the table has it. What follows from the methods as well is in method/settings/config_help.hpp.
FieldText plain_text(const Field& field);

}  // namespace dinoxx
