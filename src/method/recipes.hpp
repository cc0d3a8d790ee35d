#pragma once
#include "dinoxx/method/method.hpp"

/// The recipes behind method_table(): one file each.
namespace dinoxx {

/// DINO v1 (Caron et al. 2021): two global and any number of local views, EMA teacher, cross-entropy with centring.
MethodSpec recipe_dino(const Config& config);

}  // namespace dinoxx
