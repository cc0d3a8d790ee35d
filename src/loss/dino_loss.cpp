#include "dinoxx/loss/dino_loss.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/ranges.h>

#include "dino_loss_kernel.hpp"
#include "dinoxx/core/error.hpp"
#include "dinoxx/model/ops.hpp"

// For student view v the teachers g != v enter only through their sum Q_v = sum_g p_g - [v < G] p_v:
//   loss = 1 / (pairs B) sum_{v,b} (n_v logsumexp(s_v) - Q_v . s_v),  s = student / student_temp,  n_v = number of teachers g != v,
//   d loss / d student_v = (n_v softmax(s_v) - Q_v) / (pairs B student_temp).
// So the [pairs, B, K] products of the textbook form never exist.
namespace dinoxx {
namespace {

struct Sums {
  double loss = 0, entropy = 0;
};

void check(const at::Tensor& student, const at::Tensor& teacher, const at::Tensor& centre, double student_temp, double teacher_temp) {
  if (student.dim() != 3 || teacher.dim() != 3 || centre.dim() != 1 || student.size(1) != teacher.size(1) ||
      student.size(2) != teacher.size(2) || student.size(2) != centre.size(0) || student.size(1) < 1 || student.size(2) < 1)
    fail("dino loss", "student [V, B, K], teacher [G, B, K] and centre [K]",
         fmt::format("[{}], [{}] and [{}]", fmt::join(student.sizes(), ", "), fmt::join(teacher.sizes(), ", "),
                     fmt::join(centre.sizes(), ", ")),
         "Student and teacher must see the same batch with heads of equal width");
  if (teacher.size(0) < 1 || student.size(0) < teacher.size(0) || student.size(0) < 2)
    fail("dino loss", "at least two student views, the first of which are the teacher's",
         fmt::format("{} student and {} teacher views", student.size(0), teacher.size(0)),
         "Add views: pairs of different views are compared");
  if (!(student_temp > 0) || !(teacher_temp > 0))
    fail("dino loss", "positive temperatures", fmt::format("{} and {}", student_temp, teacher_temp), "Correct the temperatures");
}

int64_t pair_count(const at::Tensor& student, const at::Tensor& teacher) {
  return teacher.size(0) * (student.size(0) - 1);
}

dino_kernel::Storage storage_of(const at::Tensor& t) {
  return t.scalar_type() == at::kFloat ? dino_kernel::Storage::kFloat : dino_kernel::Storage::kBFloat16;
}

/// Runs the kernel over all images; sums are added in the order of images, so that they do not depend on the number of threads.
Sums run_kernel(const at::Tensor& student, const at::Tensor& teacher, const at::Tensor& centre, double student_temp, double teacher_temp,
                const at::Tensor& grad) {
  dino_kernel::Problem problem;
  problem.student = student.const_data_ptr();
  problem.teacher = teacher.const_data_ptr();
  problem.centre = centre.const_data_ptr<float>();
  problem.student_grad = grad.defined() ? grad.mutable_data_ptr() : nullptr;
  problem.student_type = storage_of(student);
  problem.teacher_type = storage_of(teacher);
  problem.views = student.size(0);
  problem.teacher_views = teacher.size(0);
  problem.batch = student.size(1);
  problem.dim = student.size(2);
  problem.student_temp = student_temp;
  problem.teacher_temp = teacher_temp;

  std::vector<dino_kernel::ImageSums> per_image(static_cast<size_t>(problem.batch));
  const dino_kernel::Level level = dino_kernel::best_level();
  at::parallel_for(0, problem.batch, 1, [&](int64_t begin, int64_t end) {
    const auto scratch = std::make_unique_for_overwrite<float[]>(static_cast<size_t>(dino_kernel::scratch_size(problem)));
    dino_kernel::images(problem, begin, end, scratch.get(), per_image.data(), level);
  });
  Sums sums;
  for (const auto& image : per_image) {
    sums.loss += image.loss;
    sums.entropy += image.entropy;
  }
  return sums;
}

/// Forward computes the gradient as well, while the row is in the cache; backward scales it.
class FusedDinoLoss : public torch::autograd::Function<FusedDinoLoss> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& student, const at::Tensor& teacher,
                            const at::Tensor& centre, double student_temp, double teacher_temp, Sums* sums) {
    at::AutoDispatchBelowADInplaceOrView below_autograd;
    at::Tensor grad;
    if (student.requires_grad()) {
      grad = at::empty_like(student, at::MemoryFormat::Contiguous);
      ctx->save_for_backward({grad});
    }
    *sums = run_kernel(student.contiguous(), teacher.contiguous(), centre.contiguous(), student_temp, teacher_temp, grad);
    return at::full({}, sums->loss / static_cast<double>(pair_count(student, teacher) * student.size(1)),
                    student.options().dtype(at::kFloat));
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx, torch::autograd::variable_list grads) {
    const at::Tensor grad = ctx->get_saved_variables()[0];
    const double scale = grads[0].item<double>();
    return {scale == 1.0 ? grad : grad * scale, {}, {}, {}, {}, {}};
  }
};

/// The same sums as ATen formulas, differentiated by ATen: float64, GPUs, and the reference of the tests.
at::Tensor formula_loss(const at::Tensor& student_logits, const at::Tensor& teacher_logits, const at::Tensor& centre, double student_temp,
                        double teacher_temp, Sums* sums) {
  const at::ScalarType wide = student_logits.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const at::Tensor sharp = (teacher_logits.to(wide) - centre.to(wide)) / teacher_temp;
  const at::Tensor log_p = at::log_softmax(sharp, -1), p = log_p.exp();                  // [G, B, K]
  const at::Tensor log_q = at::log_softmax(student_logits.to(wide) / student_temp, -1);  // [V, B, K]
  at::Tensor others = p.sum(0, /*keepdim=*/true).expand_as(log_q).clone();               // Q_v
  others.narrow(0, 0, p.size(0)).sub_(p);
  const at::Tensor total = -(others * log_q).sum();
  sums->loss = total.item<double>();
  sums->entropy = -(p * log_p).sum().item<double>();
  return total / static_cast<double>(pair_count(student_logits, teacher_logits) * student_logits.size(1));
}

}  // namespace

DinoLossResult dino_loss(const at::Tensor& student_logits, const at::Tensor& teacher_logits, const at::Tensor& centre, double student_temp,
                         double teacher_temp) {
  check(student_logits, teacher_logits, centre, student_temp, teacher_temp);
  const at::Tensor teacher = teacher_logits.detach(), middle = centre.detach();
  const auto narrow = [](const at::Tensor& t) {
    return t.device().is_cpu() && (t.scalar_type() == at::kFloat || t.scalar_type() == at::kBFloat16);
  };
  const bool fused = ops::fused() && narrow(student_logits) && narrow(teacher) && middle.scalar_type() == at::kFloat;

  Sums sums;
  DinoLossResult result;
  result.loss = fused ? FusedDinoLoss::apply(student_logits, teacher, middle, student_temp, teacher_temp, &sums)
                      : formula_loss(student_logits, teacher, middle, student_temp, teacher_temp, &sums);
  const std::array<int64_t, 2> rows{0, 1};
  result.teacher_sum = teacher.sum(rows, false, teacher.scalar_type() == at::kDouble ? at::kDouble : at::kFloat);
  result.teacher_rows = teacher.size(0) * teacher.size(1);
  result.teacher_entropy = sums.entropy / static_cast<double>(result.teacher_rows);
  result.kl = sums.loss / static_cast<double>(pair_count(student_logits, teacher) * student_logits.size(1)) - result.teacher_entropy;
  return result;
}

}  // namespace dinoxx
