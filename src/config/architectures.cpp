#include "architectures.hpp"

#include "vit_config.hpp"

namespace dinoxx {

std::vector<std::string> architectures() {
  std::vector<std::string> all = vit_archs();
  for (const char* name : {"convnext_tiny", "convnext_small", "convnext_base", "convnext_large", "resnet18", "resnet34", "resnet50"})
    all.push_back(name);
  return all;
}

Family family_of(const std::string& architecture) {
  if (architecture.starts_with("convnext_")) return Family::kConvNext;
  return architecture.starts_with("resnet") ? Family::kResNet : Family::kVit;
}

}  // namespace dinoxx
