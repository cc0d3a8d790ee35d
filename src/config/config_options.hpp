#pragma once
#include <boost/program_options.hpp>
#include <string>
#include <vector>

#include "config.hpp"
#include "config_fields.hpp"

namespace dinoxx {

/// A command line that takes its own options and every configuration key as --section.key.
struct ConfigLine {
  boost::program_options::variables_map variables;  ///< of the command's own options, already notified
  std::vector<Setting> settings;                    ///< of configuration keys, in the order typed
  std::string help;                                 ///< all options with defaults
};

/// `own`: the command's options; `describe`: of the keys, for the help. UsageError for an unknown option (with the nearest name), a missing
/// value or a stray word.
ConfigLine parse_config_line(int argc, char** argv, const boost::program_options::options_description& own,
                             const DescribeField& describe = plain_text);

}  // namespace dinoxx
