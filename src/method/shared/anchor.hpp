#pragma once
#include "method/method.hpp"

namespace dinoxx {

/// Adds the term of init.anchor, which holds the student to the network with which it began.
void add_anchor(MethodSpec& spec, const Config& config);

}  // namespace dinoxx
