// Tensors to raw pointers for the kernels of prototype_loss_kernels.cu and column_kernels.cu.
#include "prototype_cuda.hpp"

#include <ATen/ATen.h>
#include <c10/core/DeviceGuard.h>

#include "column_kernels.hpp"
#include "kernels/cuda_stream.hpp"
#include "loss/loss_common.hpp"
#include "prototype_loss_kernels.hpp"

namespace dinoxx::loss_cuda {
namespace {

using loss_common::storage_of;

at::Tensor floats(const at::Tensor& like, int64_t count) {
  return at::empty({count}, like.options().dtype(at::kFloat));
}

LossTensors empty_results(const at::Tensor& like) {
  return {at::empty({}, like.options().dtype(at::kFloat)), at::empty({kFigures}, like.options().dtype(at::kDouble))};
}

ColumnPass column_pass(const at::Tensor& logits, const at::Tensor& sums) {
  ColumnPass pass;
  pass.type = storage_of(logits);
  pass.logits = logits.const_data_ptr();
  pass.rows = logits.size(0);
  pass.dim = logits.size(1);
  pass.sums = sums.mutable_data_ptr<float>();
  return pass;
}

}  // namespace

bool takes(std::initializer_list<at::Tensor> logits, const at::Tensor& centre) {
  return ops::fused() && kernels_run_on(logits.begin()->device()) && fits(logits, centre);
}

LossTensors dino(const at::Tensor& student, const at::Tensor& teacher, const at::Tensor& centre, Temperatures temperatures,
                 double local_weight, const at::Tensor& grad) {
  const c10::DeviceGuard guard(student.device());
  DinoPass pass;
  pass.type = storage_of(student);
  pass.student = student.const_data_ptr();
  pass.teacher = teacher.const_data_ptr();
  pass.centre = centre.const_data_ptr<float>();
  pass.student_grad = grad.defined() ? grad.mutable_data_ptr() : nullptr;
  pass.views = student.size(0);
  pass.teacher_views = teacher.size(0);
  pass.batch = student.size(1);
  pass.dim = student.size(2);
  pass.student_temp = temperatures.student;
  pass.teacher_temp = temperatures.teacher;
  pass.local_weight = local_weight;
  const at::Tensor scratch = floats(student, dino_scratch(pass));
  LossTensors results = empty_results(student);
  pass.scratch = scratch.mutable_data_ptr<float>();
  pass.figures = results.figures.mutable_data_ptr<double>();
  pass.loss = results.loss.mutable_data_ptr<float>();
  check_launch(launch_dino(pass, current_stream()), "dino loss");
  return results;
}

LossTensors patch(const at::Tensor& student, const at::Tensor& teacher, const at::Tensor& centre, const at::Tensor& row_weight,
                  Temperatures temperatures, double divisor, const at::Tensor& grad) {
  const c10::DeviceGuard guard(student.device());
  LossTensors results = empty_results(student);
  if (student.size(0) == 0) {
    results.loss.zero_();
    results.figures.zero_();
    return results;
  }
  PatchPass pass;
  pass.type = storage_of(student);
  pass.student = student.const_data_ptr();
  pass.teacher = teacher.const_data_ptr();
  pass.centre = centre.const_data_ptr<float>();
  pass.row_weight = row_weight.const_data_ptr<float>();
  pass.student_grad = grad.defined() ? grad.mutable_data_ptr() : nullptr;
  pass.rows = student.size(0);
  pass.dim = student.size(1);
  pass.student_temp = temperatures.student;
  pass.teacher_temp = temperatures.teacher;
  pass.divisor = divisor;
  const at::Tensor scratch = floats(student, patch_scratch(pass));
  pass.scratch = scratch.mutable_data_ptr<float>();
  pass.figures = results.figures.mutable_data_ptr<double>();
  pass.loss = results.loss.mutable_data_ptr<float>();
  check_launch(launch_patch(pass, current_stream()), "patch loss");
  return results;
}

void scale(const at::Tensor& gradient, const at::Tensor& weight) {
  if (gradient.numel() == 0) return;
  const c10::DeviceGuard guard(gradient.device());
  check_launch(
      launch_scale(storage_of(gradient), gradient.mutable_data_ptr(), gradient.numel(), weight.const_data_ptr<float>(), current_stream()),
      "backward of a loss");
}

std::pair<at::Tensor, at::Tensor> log_sum_exp(const at::Tensor& logits, double temp) {
  const c10::DeviceGuard guard(logits.device());
  const at::Tensor top = floats(logits, logits.size(1)), sums = floats(logits, logits.size(1));
  ColumnPass pass = column_pass(logits, sums);
  const at::Tensor scratch = floats(logits, columns_scratch(pass));
  pass.scratch = scratch.mutable_data_ptr<float>();
  check_launch(launch_log_sum_exp(pass, temp, top.mutable_data_ptr<float>(), current_stream()), "log-sum-exp of columns");
  return {top, sums};
}

at::Tensor softmax_sums(const at::Tensor& logits, const at::Tensor& centre, double temp, const at::Tensor& is_top) {
  const c10::DeviceGuard guard(logits.device());
  const at::Tensor sums = floats(logits, logits.size(1));
  ColumnPass pass = column_pass(logits, sums);
  const at::Tensor scratch = floats(logits, columns_scratch(pass));
  pass.scratch = scratch.mutable_data_ptr<float>();
  check_launch(launch_softmax_sums(pass, centre.const_data_ptr<float>(), temp,
                                   is_top.defined() ? is_top.mutable_data_ptr<uint8_t>() : nullptr, current_stream()),
               "sums of softmax rows");
  return sums;
}

at::Tensor weighted_sums(const at::Tensor& logits, const at::Tensor& row_weight) {
  const c10::DeviceGuard guard(logits.device());
  const at::Tensor sums = floats(logits, logits.size(1));
  ColumnPass pass = column_pass(logits, sums);
  const at::Tensor scratch = floats(logits, columns_scratch(pass));
  pass.scratch = scratch.mutable_data_ptr<float>();
  check_launch(launch_weighted_sums(pass, row_weight.const_data_ptr<float>(), current_stream()), "weighted sums of rows");
  return sums;
}

void rescale(at::Tensor& sums, const at::Tensor& own_top, const at::Tensor& top) {
  const c10::DeviceGuard guard(sums.device());
  check_launch(launch_rescale(sums.mutable_data_ptr<float>(), own_top.const_data_ptr<float>(), top.const_data_ptr<float>(), sums.numel(),
                              current_stream()),
               "Sinkhorn-Knopp");
}

at::Tensor first_centre(const at::Tensor& top, const at::Tensor& sums, double temp) {
  const c10::DeviceGuard guard(sums.device());
  at::Tensor centre = at::empty_like(sums);
  check_launch(launch_first_centre(centre.mutable_data_ptr<float>(), top.const_data_ptr<float>(), sums.const_data_ptr<float>(), temp,
                                   sums.numel(), current_stream()),
               "Sinkhorn-Knopp");
  return centre;
}

void next_centre(at::Tensor& centre, const at::Tensor& sums, double temp) {
  const c10::DeviceGuard guard(centre.device());
  check_launch(launch_next_centre(centre.mutable_data_ptr<float>(), sums.const_data_ptr<float>(), temp, centre.numel(), current_stream()),
               "Sinkhorn-Knopp");
}

}  // namespace dinoxx::loss_cuda
