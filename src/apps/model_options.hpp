#pragma once
#include <boost/program_options.hpp>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "apps/commands/command.hpp"
#include "build_info.hpp"
#include "config/config_options.hpp"
#include "eval/features/model_source.hpp"

namespace dinoxx {

/// The options of commands that show images to a network: which network, which data, how.
struct ModelOptions {
  eval::ModelRequest model;
  std::filesystem::path data;
  std::optional<int> image_size;
  int threads = 0;                ///< 0: not said
  std::vector<Setting> settings;  ///< configuration keys of the command's own, see `keys`
  std::string help;               ///< set when help was asked for; then nothing else is
};

/// Adds these options to the command's own in `own`, which it has filled in, and reads the line. UsageError as parse_config_line; a missing
/// --checkpoint or --data; a configuration key that neither describes a network nor stands in `keys`: it would be silently without effect.
/// `name`: of the command, for "see --help". Not `with_data`: the command has no --data.
ModelOptions parse_model_options(int argc, char** argv, const std::string& name, boost::program_options::options_description& own,
                                 const std::vector<std::string>& keys = {}, bool with_data = true);

/// Hands on what was said about network, input, machine and data, and how the program was called, to the options of the library's call.
template <class Options>
void apply_model_options(const ModelOptions& model, int argc, char** argv, Options& options) {
  options.model = model.model;
  options.image_size = model.image_size;
  options.threads = model.threads;
  options.command_line = command_line(argc, argv);
  if constexpr (requires { options.data; }) options.data = model.data;
  if constexpr (requires { options.build; }) options.build = build_info();
}

/// UsageError when `value` is empty.
void require_option(const std::string& name, const std::string& value, const char* option, const char* expected);

/// Says on stderr how far work is: a line that is rewritten on a terminal, a line every ten seconds in a file. May be called from several
/// threads. Nothing at all when not `shown`.
std::function<void(int64_t done, int64_t total)> progress_line(const std::string& name, bool shown);

}  // namespace dinoxx
