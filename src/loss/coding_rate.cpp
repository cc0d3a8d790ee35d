#include "dinoxx/loss/coding_rate.hpp"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "comm/gather.hpp"
#include "dinoxx/base/error.hpp"
#include "loss_common.hpp"

namespace dinoxx {

at::Tensor coding_rate(const at::Tensor& z, double eps, Communicator& comm) {
  if (z.dim() != 3 || z.size(0) < 1 || z.size(1) < 1 || z.size(2) < 1)
    fail("coding rate", "features [V, B, D]", fmt::format("[{}]", fmt::join(z.sizes(), ", ")), "This is a defect of the program");
  if (!(eps > 0)) fail("coding rate", "a positive eps", fmt::format("{}", eps), "Correct loss.coding_eps");
  // [W B, V, D] of all ranks -> [V, N, D]
  const at::Tensor x = gather_rows(z.to(loss_common::wide_type(z)).transpose(0, 1).contiguous(), comm).transpose(0, 1);
  const auto images = static_cast<double>(x.size(1)), width = static_cast<double>(x.size(2));
  // det(I + c X^T X) = det(I + c X X^T): the smaller of the two
  const at::Tensor gram = images < width ? at::matmul(x, x.transpose(1, 2)) : at::matmul(x.transpose(1, 2), x);
  const at::Tensor room = at::eye(gram.size(-1), gram.options()) + gram * (width / (images * eps));
  const at::Tensor half_logdet = std::get<0>(at::linalg_cholesky_ex(room)).diagonal(0, -2, -1).log().sum(-1);
  return half_logdet.mean() * ((width + images) / (width * images));
}

at::Tensor view_agreement(const at::Tensor& student, const at::Tensor& teacher) {
  if (student.dim() != 3 || teacher.dim() != 3 || student.size(1) != teacher.size(1) || student.size(2) != teacher.size(2) ||
      teacher.size(0) < 1 || student.size(0) < std::max<int64_t>(teacher.size(0), 2) || student.size(1) < 1)
    fail("agreement of views", "a student's [V, B, D] of at least two views and a teacher's [G, B, D] of the first of them",
         fmt::format("[{}] and [{}]", fmt::join(student.sizes(), ", "), fmt::join(teacher.sizes(), ", ")),
         "This is a defect of the program");
  const at::Tensor s = loss_common::normalized(student), t = loss_common::normalized(teacher.detach());
  at::Tensor others = t.sum(0, /*keepdim=*/true).expand_as(s).clone();  // for each view the sum of the other views' teachers
  others.narrow(0, 0, t.size(0)).sub_(t);
  return (s * others).sum() / static_cast<double>(t.size(0) * (s.size(0) - 1) * s.size(1));
}

}  // namespace dinoxx
