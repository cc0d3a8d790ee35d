#include "dinoxx/loss/match.hpp"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include "dinoxx/base/error.hpp"
#include "loss_common.hpp"

namespace dinoxx {
namespace {

std::string shape_of(const at::Tensor& t) {
  return fmt::format("[{}]", fmt::join(t.sizes(), ", "));
}

void require_alike(const char* what, const at::Tensor& student, const at::Tensor& target) {
  if (student.dim() < 2 || student.sizes() != target.sizes() || student.numel() == 0)
    fail(what, "rows of student and target of one shape, not empty", fmt::format("{} and {}", shape_of(student), shape_of(target)),
         "Project the student's to the teacher's width, and bring both to one grid");
}

}  // namespace

at::Tensor match_cosine(const at::Tensor& student, const at::Tensor& target, const at::Tensor& counts) {
  require_alike("match_cosine", student, target);
  const at::Tensor s = loss_common::normalized(student), t = loss_common::normalized(target.detach());
  const at::Tensor distance = 1.0 - (s * t).sum(-1);
  if (!counts.defined()) return distance.mean();
  if (counts.sizes() != distance.sizes())
    fail("match_cosine", fmt::format("a flag for each row, {}", shape_of(distance)), shape_of(counts), "This is a defect of the program");
  const at::Tensor of = counts.to(distance.scalar_type());
  return (distance * of).sum() / of.sum().clamp_min(1.0);
}

at::Tensor match_batch(const at::Tensor& student, const at::Tensor& target, double student_temp, double target_temp, Communicator& comm) {
  require_alike("match_batch", student, target);
  const at::Tensor s = loss_common::normalized(student).flatten(0, -2), t = loss_common::normalized(target.detach()).flatten(0, -2);
  at::Tensor all = t;
  if (comm.size() > 1) {
    all = at::empty({comm.size() * t.size(0), t.size(1)}, t.options());
    comm.all_gather(all, t.contiguous())->wait();
  }
  const at::Tensor wanted = at::softmax(at::mm(t, all.t()) / target_temp, -1);
  return -(wanted * at::log_softmax(at::mm(s, all.t()) / student_temp, -1)).sum(-1).mean();
}

}  // namespace dinoxx
