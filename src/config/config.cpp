#include "config.hpp"

#include <fmt/format.h>

#include <boost/program_options.hpp>
#include <map>
#include <sstream>

#include "base/files.hpp"
#include "checkpoint/checkpoint_config.hpp"
#include "config_fields.hpp"
#include "data_pipeline/augment/mask_config.hpp"
#include "data_pipeline/augment/views_config.hpp"
#include "data_pipeline/loader/data_config.hpp"
#include "dinoxx/base/error.hpp"
#include "eval/run/eval_config.hpp"
#include "loss/gram_config.hpp"
#include "loss/loss_config.hpp"
#include "method/guides/guide_config.hpp"
#include "method/teacher_config.hpp"
#include "model/heads/head_config.hpp"
#include "model/model_config.hpp"
#include "optim/init_config.hpp"
#include "optim/optim_config.hpp"
#include "parallel/parallel_config.hpp"
#include "train/training_config.hpp"

namespace dinoxx {
namespace {

namespace po = boost::program_options;

const Field* find_field(const std::string& key) {
  for (const Field& field : config_fields())
    if (field.key == key) return &field;
  return nullptr;
}

std::string trimmed(const std::string& text) {
  const size_t begin = text.find_first_not_of(" \t\r"), end = text.find_last_not_of(" \t\r");
  return begin == std::string::npos ? "" : text.substr(begin, end - begin + 1);
}

// Program_options reads INI files but keeps no line numbers: this finds the lines of each key again, for the messages.
std::map<std::string, std::vector<int>> key_lines(const std::string& text) {
  std::map<std::string, std::vector<int>> lines;
  std::istringstream stream(text);
  std::string line, section;
  for (int number = 1; std::getline(stream, line); ++number) {
    line = trimmed(line.substr(0, line.find('#')));
    if (line.size() >= 2 && line.front() == '[' && line.back() == ']') {
      section = line.substr(1, line.size() - 2) + ".";
    } else if (const size_t equals = line.find('='); equals != std::string::npos) {
      lines[section + trimmed(line.substr(0, equals))].push_back(number);
    }
  }
  return lines;
}

int line_of_text(const std::string& text, const std::string& wanted) {
  std::istringstream stream(text);
  std::string line;
  for (int number = 1; std::getline(stream, line); ++number)
    if (trimmed(line.substr(0, line.find('#'))) == wanted) return number;
  return 0;
}

}  // namespace

Config::Config() = default;
Config::Config(const Config&) = default;
Config::Config(Config&&) noexcept = default;
Config& Config::operator=(const Config&) = default;
Config& Config::operator=(Config&&) noexcept = default;
Config::~Config() = default;
bool Config::operator==(const Config&) const = default;

std::string ViewSizes::text() const {
  return fmt::format("{}x{}x{}:{}", global, local, gram, share);
}

std::vector<ViewSizes> resolutions(const Config& config) {
  if (!config.views->sizes.empty()) return config.views->sizes;
  return {{config.views->global_size, config.views->local_size, config.gram->size, 1.0}};
}

Config default_config() {
  Config config;
  for (const Field& field : config_fields()) field.set(config, field.default_text);
  return config;
}

std::vector<Setting> read_settings(const std::filesystem::path& path) {
  std::string text;
  try {
    text = read_text(path);
  } catch (const Error& error) {
    throw UsageError(error.what());  // a wrong --config is the user's to change
  }
  return parse_settings(text, path.string());
}

std::vector<Setting> parse_settings(const std::string& text, const std::string& source) {
  std::istringstream stream(text);
  std::vector<Setting> settings;
  const auto lines = key_lines(text);
  try {
    const po::options_description none;
    const auto parsed = po::parse_config_file(stream, none, /*allow_unregistered=*/true);
    for (const auto& option : parsed.options) {
      const auto at = lines.find(option.string_key);
      const int line = at == lines.end() ? 0 : at->second.front();
      if (at != lines.end() && at->second.size() > 1)
        fail_usage(fmt::format("{}:{}", source, at->second[1]), "each key once",
                   fmt::format("{} again (first in line {})", option.string_key, line), "Remove one of them");
      settings.push_back(
          {option.string_key, option.value.empty() ? "" : trimmed(option.value.front()), fmt::format("{}:{}", source, line)});
    }
  } catch (const po::invalid_config_file_syntax& error) {
    const std::string line = error.tokens();
    fail_usage(fmt::format("{}:{}", source, line_of_text(text, line)), "\"[section]\", \"key = value\" or \"# comment\"",
               fmt::format("\"{}\"", line), "Correct the line");
  }
  return settings;
}

void apply_settings(Config& config, const std::vector<Setting>& settings) {
  for (const Setting& setting : settings) {
    const Field* field = find_field(setting.key);
    if (!field) {
      std::vector<std::string> keys;
      for (const Field& known : config_fields()) keys.push_back(known.key);
      const std::string near = nearest_name(setting.key, keys);
      fail_usage(setting.where, "a known key", fmt::format("\"{}\"", setting.key),
                 near.empty() ? "\"dinoxx train --help\" lists all keys" : fmt::format("Did you mean {}?", near));
    }
    try {
      field->set(config, setting.value);
    } catch (const std::invalid_argument& error) {
      fail_usage(fmt::format("{}: {}", setting.where, setting.key), error.what(), fmt::format("\"{}\"", setting.value), field->help);
    }
  }
}

std::string print_config(const Config& config) {
  std::string text;
  for (const Section& section : config_sections()) {
    text += fmt::format("{}[{}]  # {}\n", text.empty() ? "" : "\n", section.name, section.help);
    for (const Field& field : config_fields()) {
      if (field.key.substr(0, field.key.find('.')) != section.name) continue;
      text +=
          fmt::format("{:<32}  # {}\n", fmt::format("{} = {}", field.key.substr(section.name.size() + 1), field.get(config)), field.help);
    }
  }
  return text;
}

std::string training_identity(const Config& config) {
  std::string text;
  for (const Field& field : config_fields())
    if (field.training) text += fmt::format("{}={}\n", field.key, field.get(config));
  return text;
}

std::vector<std::string> config_differences(const Config& before, const Config& now) {
  std::vector<std::string> found;
  for (const Field& field : config_fields())
    if (field.training && field.get(before) != field.get(now))
      found.push_back(fmt::format("{} was {} and is {}", field.key, field.get(before), field.get(now)));
  return found;
}

}  // namespace dinoxx
