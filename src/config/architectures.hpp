#pragma once
#include <string>
#include <vector>

namespace dinoxx {

enum class Family { kVit, kConvNext, kResNet };

/// Every backbone that has a name: the sizes of vit_archs(), convnext_{tiny,small,base,large}, resnet{18,34,50}.
std::vector<std::string> architectures();
/// Of one of these names; anything else counts as a vision transformer, whose configuration refuses it.
Family family_of(const std::string& architecture);

}  // namespace dinoxx
