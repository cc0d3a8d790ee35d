#pragma once
#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "dinoxx/base/error.hpp"
#include "loss_common.hpp"

/// Cosines between each view of the student and the teacher's other views, which BYOL and SimDINO have in common.
namespace dinoxx::loss_common {

/// How many pairs of a student's view and another view of the teacher's there are.
inline double pairs_of_views(const at::Tensor& student, const at::Tensor& teacher) {
  return static_cast<double>(teacher.size(0) * (student.size(0) - 1));
}

/// The sum of the cosines over all pairs and images: student [V, B, D], teacher [G, B, D] of the first G of its views, without gradient.
/// Error, about `loss`, for other shapes and for one view.
inline at::Tensor sum_of_cosines(const char* loss, const at::Tensor& student, const at::Tensor& teacher) {
  if (student.dim() != 3 || teacher.dim() != 3 || student.size(1) != teacher.size(1) || student.size(2) != teacher.size(2) ||
      teacher.size(0) < 1 || student.size(0) < std::max<int64_t>(teacher.size(0), 2) || student.size(1) < 1)
    fail(loss, "predictions [V, B, D] of at least two views and targets [G, B, D] of the first of them",
         fmt::format("[{}] and [{}]", fmt::join(student.sizes(), ", "), fmt::join(teacher.sizes(), ", ")),
         "Each view is compared with the targets of the others");
  const at::Tensor s = normalized(student), t = normalized(teacher.detach());
  at::Tensor others = t.sum(0, /*keepdim=*/true).expand_as(s).clone();  // for each view the sum of the other views' targets
  others.narrow(0, 0, t.size(0)).sub_(t);
  return (s * others).sum();
}

}  // namespace dinoxx::loss_common
