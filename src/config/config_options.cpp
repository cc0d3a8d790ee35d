#include "config_options.hpp"

#include <fmt/format.h>

#include <sstream>

#include "config_fields.hpp"
#include "dinoxx/base/error.hpp"

namespace dinoxx {
namespace {

namespace po = boost::program_options;
constexpr unsigned kColumns = 140;

po::options_description section_options(const Section& section, const DescribeField& describe) {
  po::options_description group(section.name + ": " + section.help, kColumns, kColumns / 2);
  for (const Field& field : config_fields()) {
    if (field.key.substr(0, field.key.find('.')) != section.name) continue;
    const FieldText text = describe(field);
    group.add_options()(field.key.c_str(), po::value<std::string>()->value_name(text.type + "=" + field.default_text), text.help.c_str());
  }
  return group;
}

}  // namespace

ConfigLine parse_config_line(int argc, char** argv, const po::options_description& own, const DescribeField& describe) {
  po::options_description all(kColumns, kColumns / 2);
  all.add(own);
  for (const Section& section : config_sections()) all.add(section_options(section, describe));
  ConfigLine line;
  std::ostringstream help;
  help << all;
  line.help = help.str();
  try {
    // whole names only: a prefix that is unique today is ambiguous tomorrow
    const auto style = po::command_line_style::unix_style & ~po::command_line_style::allow_guessing;
    const po::positional_options_description none;
    po::parsed_options parsed = po::command_line_parser(argc, argv).options(all).style(style).positional(none).run();
    po::parsed_options of_command(&own);
    for (auto& option : parsed.options) {
      if (own.find_nothrow(option.string_key, false))
        of_command.options.push_back(option);
      else
        line.settings.push_back({option.string_key, option.value.empty() ? "" : option.value.back(), "--" + option.string_key});
    }
    po::store(of_command, line.variables);
    po::notify(line.variables);
  } catch (const po::unknown_option& error) {
    std::vector<std::string> names;
    for (const auto& option : all.options()) names.push_back(option->long_name());
    std::string name = error.get_option_name();
    name.erase(0, name.find_first_not_of('-'));
    const std::string near = nearest_name(name, names);
    fail_usage("command line", "a known option", error.get_option_name(),
               near.empty() ? "\"--help\" lists all options" : fmt::format("Did you mean --{}?", near));
  } catch (const po::too_many_positional_options_error&) {
    fail_usage("command line", "options only (--name value)", "a word that belongs to none", "See --help");
  } catch (const po::error& error) {
    fail_usage("command line", "options as in --help", error.what(), "See --help");
  }
  return line;
}

}  // namespace dinoxx
