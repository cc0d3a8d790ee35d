#include "dinoxx/loss/koleo.hpp"

#include <ATen/ATen.h>
#include <fmt/ranges.h>
#include <torch/csrc/autograd/custom_function.h>

#include <optional>

#include "comm/gather.hpp"
#include "dinoxx/base/error.hpp"
#include "loss/gpu/koleo_cuda.hpp"
#include "loss_common.hpp"

namespace dinoxx {
namespace {

constexpr double kEps = 1e-8;  // of the published code: of the norm, of each component of a difference, and beside the distance

struct Refusal {
  std::string expected, found, advice;
};

std::optional<Refusal> refusal(int64_t batch, int64_t world_size, int64_t group_size, int64_t top_k) {
  const int64_t global = batch * world_size, group = group_size == 0 ? global : group_size;
  const std::string found = fmt::format("groups of {} with a batch of {} on each of {} rank(s)", group, batch, world_size);
  if (batch < 1 || group < 2)
    return Refusal{"groups of at least two images: the nearest neighbour of one image does not exist", found,
                   "Enlarge the batch or the group, or switch KoLeo off"};
  const bool within = group <= batch && batch % group == 0, across = group > batch && group % batch == 0 && global % group == 0;
  if (!within && !across)
    return Refusal{"a group size that divides the local batch, or is a multiple of it and divides the global batch", found,
                   "Choose a group size that does"};
  if (top_k < 1 || top_k >= group)
    return Refusal{fmt::format("1 to {} neighbours", group - 1), fmt::format("{} in {}", top_k, found), "Correct top_k or the group size"};
  return std::nullopt;
}

/// Of groups within the batch.
class KoleoOnGpu : public torch::autograd::Function<KoleoOnGpu> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& features, int64_t group, int64_t top_k) {
    at::AutoDispatchBelowADInplaceOrView below_autograd;
    const loss_cuda::KoleoForward f = loss_cuda::koleo_forward(features.contiguous(), group, top_k, kEps);
    ctx->save_for_backward({f.normalized, f.norm, f.nearest, f.distance});
    ctx->saved_data["group"] = group;
    ctx->saved_data["type"] = features.scalar_type();
    return f.loss;
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx, torch::autograd::variable_list grads) {
    const torch::autograd::variable_list saved = ctx->get_saved_variables();
    return {loss_cuda::koleo_backward({{}, saved[0], saved[1], saved[2], saved[3]}, ctx->saved_data["group"].toInt(), kEps, grads[0],
                                      ctx->saved_data["type"].toScalarType()),
            {},
            {}};
  }
};

}  // namespace

void check_koleo(int64_t batch, int world_size, int64_t group_size, int64_t top_k) {
  if (const auto r = refusal(batch, world_size, group_size, top_k)) fail_usage("KoLeo", r->expected, r->found, r->advice);
}

at::Tensor koleo_loss(const at::Tensor& features, int64_t group_size, int64_t top_k, Communicator* comm) {
  if (features.dim() != 2)
    fail("KoLeo", "features [B, D]", fmt::format("[{}]", fmt::join(features.sizes(), ", ")), "Call it for each view apart");
  const int64_t batch = features.size(0), dim = features.size(1), ranks = comm ? comm->size() : 1;
  if (const auto r = refusal(batch, ranks, group_size, top_k)) fail("KoLeo", r->expected, r->found, r->advice);
  const int64_t group = group_size == 0 ? batch * ranks : group_size;

  if (group <= batch && loss_cuda::takes_koleo(features)) return KoleoOnGpu::apply(features, group, top_k);
  const at::Tensor x = loss_common::normalized(features, kEps);
  at::Tensor pool, own;  // [groups, group, D] and, of those, the images of this rank [groups, n, D]
  int64_t place = 0;     // of own's first image in its group
  if (group <= batch) {
    pool = own = x.view({batch / group, group, dim});
  } else {
    const int64_t first = comm->rank() * batch;
    place = first % group;
    pool = gather_rows(x, *comm).narrow(0, first - place, group).unsqueeze(0);
    own = x.unsqueeze(0);
  }

  at::Tensor nearest;  // [B top_k] rows of the flat pool
  {
    at::NoGradGuard no_grad;
    at::Tensor dots = at::matmul(own, pool.transpose(1, 2));  // [groups, n, group]
    dots.diagonal(place, 1, 2).fill_(-1.0);
    const at::Tensor index = std::get<1>(dots.topk(top_k, -1));
    nearest = (index + at::arange(pool.size(0), index.options()).view({-1, 1, 1}) * group).reshape(-1);
  }
  const at::Tensor neighbours = pool.reshape({-1, dim}).index_select(0, nearest);
  const at::Tensor repeated = x.unsqueeze(1).expand({batch, top_k, dim}).reshape({-1, dim});
  return -(at::pairwise_distance(repeated, neighbours, 2.0, kEps) + kEps).log().mean();
}

}  // namespace dinoxx
