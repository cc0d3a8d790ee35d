#include "dinoxx/loss/gram.hpp"

#include <ATen/ATen.h>
#include <fmt/ranges.h>
#include <torch/csrc/autograd/custom_function.h>

#include <numeric>

#include "dinoxx/base/error.hpp"
#include "loss_common.hpp"
#include "ops/to_device.hpp"

namespace dinoxx {
namespace {

constexpr int64_t kBlock = int64_t{1} << 22;  // elements of a block of rows

std::string shape_of(const at::Tensor& t) {
  return fmt::format("[{}]", fmt::join(t.sizes(), ", "));
}

/// Mean over parts of the mean over n x n of (X X^T - Y Y^T)^2; part i is the next sizes[i] rows of student and teacher [N, D]. With E the
/// matrix of differences, which is symmetric, d/dX = 4 E X / n^2, so the gradient is one more product while a block of E's rows is there.
class GramDistance : public torch::autograd::Function<GramDistance> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& student, const at::Tensor& teacher,
                            const std::vector<int64_t>& sizes, GramNegatives negatives) {
    at::AutoDispatchBelowADInplaceOrView below_autograd;
    at::Tensor grad;
    if (student.requires_grad()) {
      grad = at::empty_like(student);
      ctx->save_for_backward({grad});
    }
    at::Tensor total = at::zeros({}, student.options().dtype(at::kDouble));
    int64_t first = 0;
    for (const int64_t n : sizes) {
      const double scale = 1.0 / (static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(sizes.size()));
      const at::Tensor x = student.narrow(0, first, n), y = teacher.narrow(0, first, n);
      const int64_t step = std::max<int64_t>(1, kBlock / std::max<int64_t>(n, 1));
      for (int64_t row = 0; row < n; row += step) {
        const int64_t count = std::min(step, n - row);
        at::Tensor similar = at::mm(x.narrow(0, row, count), x.t()), target = at::mm(y.narrow(0, row, count), y.t());
        at::Tensor blocked;  // entries that were set to 0 and pass no gradient on
        if (negatives == GramNegatives::kRemoveTeacher) similar.masked_fill_((similar < 0).logical_and_(target < 0), 0.0);
        if (negatives == GramNegatives::kRemoveBoth) blocked = similar < 0;
        if (blocked.defined()) similar.masked_fill_(blocked, 0.0);
        if (negatives != GramNegatives::kKeep) target.clamp_min_(0.0);
        similar.sub_(target);
        if (grad.defined()) {
          at::Tensor out = grad.narrow(0, first + row, count);
          at::mm_out(out, blocked.defined() ? similar.masked_fill(blocked, 0.0) : similar, x);
          out.mul_(4.0 * scale);
        }
        total.add_(similar.square_().sum(at::kDouble), scale);
      }
      first += n;
    }
    return total.to(student.scalar_type());
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx, torch::autograd::variable_list grads) {
    return {loss_common::scaled_gradient(ctx->get_saved_variables()[0], grads[0]), {}, {}, {}};
  }
};

void check(const at::Tensor& student, const at::Tensor& teacher, const GramOptions& options, const at::Tensor& mask) {
  if (student.dim() != 3 || student.sizes() != teacher.sizes() || student.numel() == 0)
    fail("Gram loss", "student and teacher tokens [B, P, D] of equal shape, not empty",
         fmt::format("{} and {}", shape_of(student), shape_of(teacher)), "Bring the teacher's map to the student's grid (reduce_tokens)");
  if (options.group_size < 0 || (options.group_size > 0 && student.size(0) % options.group_size != 0))
    fail("Gram loss", "a group size that divides the batch, or 0 for each image",
         fmt::format("{} and {}", options.group_size, student.size(0)), "Correct the group size");
  if (options.tokens == GramTokens::kAll) return;
  if (options.group_size == 0)
    fail("Gram loss", "groups of images for masked or unmasked tokens alone", "a matrix for each image", "Set a group size");
  if (!mask.defined() || mask.scalar_type() != at::kBool || mask.dim() != 2 || mask.size(0) != student.size(0) ||
      mask.size(1) != student.size(1))
    fail("Gram loss", "a bool mask [B, P]", mask.defined() ? shape_of(mask) : "none", "This is a defect of the program");
}

}  // namespace

at::Tensor gram_loss(const at::Tensor& student, const at::Tensor& teacher, const GramOptions& options, const at::Tensor& mask) {
  check(student, teacher, options, mask);
  const int64_t batch = student.size(0), tokens = student.size(1), dim = student.size(2), images = std::max<int64_t>(options.group_size, 1);
  at::Tensor x = student.reshape({-1, dim}), y = teacher.detach().reshape({-1, dim});
  std::vector<int64_t> sizes(static_cast<size_t>(batch / images), images * tokens);
  if (options.tokens != GramTokens::kAll) {
    const at::Tensor chosen = options.tokens == GramTokens::kMasked ? mask : mask.logical_not();
    const at::Tensor counts = chosen.view({batch / images, images * tokens}).sum(1).cpu();
    sizes.assign(counts.const_data_ptr<int64_t>(), counts.const_data_ptr<int64_t>() + counts.numel());
    const at::Tensor index = to_device(chosen.reshape(-1).nonzero().squeeze(1), x.device());
    x = x.index_select(0, index);
    y = y.index_select(0, index);
  }
  return GramDistance::apply(loss_common::normalized(x), loss_common::normalized(y), sizes, options.negatives);
}

at::Tensor reduce_tokens(const at::Tensor& tokens, int64_t from_height, int64_t from_width, int64_t height, int64_t width) {
  if (tokens.dim() != 3 || from_height < 1 || from_width < 1 || height < 1 || width < 1 || tokens.size(1) != from_height * from_width)
    fail("reduction of tokens", fmt::format("tokens [B, {} x {}, D]", from_height, from_width), shape_of(tokens),
         "Give the patch tokens alone, with the size of their grid");
  const at::Tensor wide = tokens.to(loss_common::wide_type(tokens));
  if (from_height == height && from_width == width) return wide;
  const at::Tensor map = wide.reshape({tokens.size(0), from_height, from_width, tokens.size(2)}).permute({0, 3, 1, 2});
  const at::Tensor smaller = at::upsample_bicubic2d(map, {height, width}, /*align_corners=*/false);
  return smaller.permute({0, 2, 3, 1}).reshape({tokens.size(0), height * width, tokens.size(2)});
}

}  // namespace dinoxx
