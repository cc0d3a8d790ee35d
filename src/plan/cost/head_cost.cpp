#include "cost.hpp"

namespace dinoxx::plan {
namespace {

Cost dino_head(const DinoHeadConfig& head, double rows, double c, bool trains) {
  Cost cost;
  double in = head.in_dim;
  for (int i = 0; i < head.layers; ++i) {
    const double out = i + 1 < head.layers ? head.hidden_dim : head.bottleneck_dim;
    add_linear(cost, rows, in, out, trains);
    if (trains) cost.saved += c * rows * (in + (i + 1 < head.layers ? out : 0));
    cost.traffic += c * rows * out * (trains ? 6 : 2);
    if (head.batch_norm && i + 1 < head.layers) {  // its input is kept beside that of the GELU
      if (trains) cost.saved += c * rows * out;
      cost.traffic += c * rows * out * (trains ? 6 : 2);
      cost.launches += trains ? 20 : 8;
    }
    in = out;
  }
  const double prototypes = static_cast<double>(head.out_dim) * head.bottleneck_dim;
  add_linear(cost, rows, head.bottleneck_dim, head.out_dim, trains);
  if (trains) {
    // the rows in front of the normalisation and behind it; the normalised prototypes; backward: their gradient and that of the vectors
    cost.saved += rows * head.bottleneck_dim * (2 * c + (c < 4 ? 4 : 0)) + (head.weight_norm ? c * prototypes : 0);
    cost.backward = (head.weight_norm ? 2 : 1) * c * prototypes;
  }
  cost.forward = (head.weight_norm ? c * prototypes : 0) + 2 * c * rows * head.hidden_dim;
  cost.traffic += c * prototypes * (head.weight_norm ? (trains ? 6 : 2) : 0);
  cost.launches += (trains ? 6 : 2) * head.layers;
  return cost;
}

Cost mlp_head(const MlpHeadConfig& head, double rows, double c, bool trains) {
  Cost cost;
  const double hidden = c * rows * head.hidden_dim * (head.layers - 1);
  double in = head.in_dim;
  for (int i = 0; i < head.layers; ++i) {
    const double out = i + 1 < head.layers ? head.hidden_dim : head.out_dim;
    add_linear(cost, rows, in, out, trains);
    in = out;
  }
  if (trains) cost.saved = c * rows * (head.in_dim + (head.norm_output ? head.out_dim : 0)) + 2 * hidden;
  cost.traffic = hidden * (trains ? 12 : 4) + c * rows * head.out_dim;
  cost.launches = (trains ? 20 : 7) * head.layers;
  cost.backward = trains && head.layers > 1 ? 2 * c * rows * head.hidden_dim : 0;
  cost.forward = head.layers > 1 ? 2 * c * rows * head.hidden_dim : 0;
  return cost;
}

}  // namespace

Cost head_cost(const ProjectionConfig& head, double rows, int64_t element, bool trains) {
  const auto c = static_cast<double>(element);
  if (const auto* dino = std::get_if<DinoHeadConfig>(&head)) return dino_head(*dino, rows, c, trains);
  return mlp_head(std::get<MlpHeadConfig>(head), rows, c, trains);
}

}  // namespace dinoxx::plan
