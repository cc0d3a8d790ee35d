#include "ema.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "cuda/adamw_cuda.hpp"
#include "dinoxx/base/error.hpp"
#include "kernels/optim/flat_kernels.hpp"
#include "pieces.hpp"

namespace dinoxx {

using namespace optim_detail;

void ema_update(FlatState& teacher, const FlatState& student, double momentum, const std::optional<std::vector<FlatRange>>& ranges) {
  at::NoGradGuard no_grad;
  require_type(teacher.master, "ema_update");
  if (teacher.master.numel() != student.master.numel() || teacher.master.scalar_type() != student.master.scalar_type()) {
    fail("ema_update", fmt::format("a teacher of {} elements", student.master.numel()), fmt::format("{}", teacher.master.numel()),
         "Teacher and student must have one layout");
  }
  for (const FlatRange& range : ranges.value_or(std::vector<FlatRange>{{0, teacher.master.numel()}})) {
    if (teacher.master.is_cuda()) {
      optim_detail::ema_cuda(teacher, student, momentum, range);
      continue;
    }
    uint16_t* const bf16 = bf16_copy(teacher);
    const auto run = [&]<class T>(auto kernel, T) {
      T* t = teacher.master.data_ptr<T>() + range.begin;
      const T* s = student.master.data_ptr<T>() + range.begin;
      uint16_t* const copy = bf16 ? bf16 + range.begin : nullptr;
      at::parallel_for(0, range.count, kPiece, [&](int64_t begin, int64_t end) {
        kernel(t + begin, s + begin, copy ? copy + begin : nullptr, end - begin, static_cast<T>(momentum), static_cast<T>(1.0 - momentum));
      });
    };
    if (teacher.master.scalar_type() == at::kFloat) {
      run(flat_kernels().average_f32, float{});
    } else {
      run(flat_kernels().average_f64, double{});
    }
  }
  if (!bf16_copy(teacher)) teacher.cast();
}

}  // namespace dinoxx
