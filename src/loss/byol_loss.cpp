#include "dinoxx/loss/byol_loss.hpp"

#include "view_pairs.hpp"

namespace dinoxx {

at::Tensor byol_loss(const at::Tensor& prediction, const at::Tensor& target) {
  const at::Tensor cosines = loss_common::sum_of_cosines("BYOL loss", prediction, target);
  return 2.0 * loss_common::pairs_of_views(prediction, target) - cosines * (2.0 / static_cast<double>(prediction.size(1)));
}

}  // namespace dinoxx
