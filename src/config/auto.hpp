#pragma once
#include <optional>

namespace dinoxx {

/// A value that resolve_config() (method/settings/resolve.hpp) chooses when the user does not: printed and read as "auto".
template <class T>
using Auto = std::optional<T>;

}  // namespace dinoxx
