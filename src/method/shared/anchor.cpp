#include "anchor.hpp"

#include <ATen/ATen.h>

#include "dinoxx/loss/gram.hpp"
#include "dinoxx/loss/match.hpp"
#include "optim/init_config.hpp"

namespace dinoxx {

void add_anchor(MethodSpec& spec, const Config& config) {
  spec.anchor = true;
  const bool vit = std::holds_alternative<VitConfig>(spec.network.backbone), gram = config.init->anchor_form == "gram";
  const auto loss = [=](const LossInputs& in) {
    LossOutputs out;
    const int64_t rows = vit ? in.student.patches.size(0) : 0;  // of the first views where each goes by itself
    if (gram) {
      out.loss = gram_loss(in.student.patches, in.anchor_patches.narrow(0, 0, rows), {});
    } else {
      out.loss = match_cosine(in.student.features.narrow(0, 0, in.global_views), in.anchor_features);
      const at::Tensor seen = in.masks.masked.defined() ? in.masks.masked.logical_not() : at::Tensor();
      if (vit) out.loss = out.loss + match_cosine(in.student.patches, in.anchor_patches.narrow(0, 0, rows), seen);
    }
    out.metrics = {{"anchor_loss", out.loss.detach()}};
    return out;
  };
  std::vector<Need> needs{Need::kAnchor};
  if (vit || gram) needs.push_back(Need::kPatches);
  const auto weight = [weight = config.init->anchor](const StepValues& values) { return values.thawed > 0 ? weight : 0.0; };
  spec.terms.push_back({"anchor", weight, loss, needs});
}

}  // namespace dinoxx
