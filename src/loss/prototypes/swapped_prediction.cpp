#include "swapped_prediction.hpp"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include "dinoxx/base/error.hpp"
#include "dinoxx/loss/sinkhorn.hpp"
#include "loss/loss_common.hpp"

namespace dinoxx {

DinoLossResult swapped_prediction(const at::Tensor& logits, int64_t global_views, double temp, double codes_temp, int iterations,
                                  Communicator& comm) {
  if (logits.dim() != 3 || logits.size(0) < 2 || global_views < 1 || global_views > logits.size(0) || logits.size(1) < 1)
    fail("swapped prediction", "logits [V, B, K] of at least two views, at least one of them global",
         fmt::format("[{}] with {} global views", fmt::join(logits.sizes(), ", "), global_views),
         "Add views: pairs of different views are compared");
  const at::Tensor of_codes = logits.detach().narrow(0, 0, global_views);
  // each view has a centre of its own, taken off here: dino_loss has one for all
  at::Tensor codes = of_codes.to(loss_common::wide_type(logits), /*non_blocking=*/false, /*copy=*/true);
  for (int64_t view = 0; view < global_views; ++view) codes[view].sub_(sinkhorn_centre(of_codes[view], codes_temp, iterations, comm));
  const at::Tensor no_centre = at::zeros({logits.size(2)}, codes.options());
  return dino_loss(logits, codes, no_centre, temp, codes_temp, /*local_weight=*/1.0, /*want_teacher_sum=*/false);
}

}  // namespace dinoxx
