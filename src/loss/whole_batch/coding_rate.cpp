#include "dinoxx/loss/coding_rate.hpp"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include "all_images.hpp"
#include "dinoxx/base/error.hpp"
#include "loss/view_pairs.hpp"

namespace dinoxx {

at::Tensor coding_rate(const at::Tensor& z, double eps, Communicator& comm) {
  if (z.dim() != 3 || z.size(0) < 1 || z.size(1) < 1 || z.size(2) < 1)
    fail("coding rate", "features [V, B, D]", fmt::format("[{}]", fmt::join(z.sizes(), ", ")), "This is a defect of the program");
  if (!(eps > 0)) fail("coding rate", "a positive eps", fmt::format("{}", eps), "Correct loss.coding_eps");
  const at::Tensor x = loss_common::of_all_images(z, comm);
  const auto images = static_cast<double>(x.size(1)), width = static_cast<double>(x.size(2));
  // det(I + c X^T X) = det(I + c X X^T): the smaller of the two
  const at::Tensor gram = images < width ? at::matmul(x, x.transpose(1, 2)) : at::matmul(x.transpose(1, 2), x);
  const at::Tensor room = at::eye(gram.size(-1), gram.options()) + gram * (width / (images * eps));
  const at::Tensor half_logdet = std::get<0>(at::linalg_cholesky_ex(room)).diagonal(0, -2, -1).log().sum(-1);
  return half_logdet.mean() * ((width + images) / (width * images));
}

at::Tensor view_agreement(const at::Tensor& student, const at::Tensor& teacher) {
  const at::Tensor cosines = loss_common::sum_of_cosines("agreement of views", student, teacher);
  return cosines / (loss_common::pairs_of_views(student, teacher) * static_cast<double>(student.size(1)));
}

at::Tensor patch_agreement(const at::Tensor& student, const at::Tensor& teacher, const at::Tensor& weights, int64_t crops) {
  if (student.dim() != 2 || student.sizes() != teacher.sizes() || weights.dim() != 1 || weights.size(0) != student.size(0) || crops < 1)
    fail("agreement of patches", "student and teacher [M, D], weights [M]",
         fmt::format("[{}], [{}] and [{}]", fmt::join(student.sizes(), ", "), fmt::join(teacher.sizes(), ", "),
                     fmt::join(weights.sizes(), ", ")),
         "This is a defect of the program");
  const at::Tensor cosines = (loss_common::normalized(student) * loss_common::normalized(teacher.detach())).sum(-1);
  return ((1.0 - cosines) * weights.to(cosines.scalar_type())).sum() / static_cast<double>(crops);
}

at::Tensor agreement_with_mean(const at::Tensor& z) {
  if (z.dim() != 3 || z.size(0) < 2 || z.size(1) < 1)
    fail("agreement of views", "features [V, B, D] of at least two views", fmt::format("[{}]", fmt::join(z.sizes(), ", ")),
         "One view agrees with itself");
  return at::linalg_vector_norm(loss_common::normalized(z).mean(0), 2, -1).mean();
}

}  // namespace dinoxx
