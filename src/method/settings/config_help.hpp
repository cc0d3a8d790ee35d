#pragma once
#include <string>

#include "config/config_fields.hpp"

namespace dinoxx {

/// A key as --help and docs/configuration.md describe it: the table's text, what "auto" becomes for each method, and which runs read it.
/// All of it follows from the table of methods, so that a new one changes every text by itself.
FieldText describe(const Field& field);

/// docs/configuration.md.
std::string config_markdown();

}  // namespace dinoxx
