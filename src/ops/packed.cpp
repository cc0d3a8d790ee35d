// Autograd nodes around the kernels of token_kernels.hpp.
#include "packed.hpp"

#include <ATen/ATen.h>
#include <c10/core/DeviceGuard.h>
#include <torch/csrc/autograd/custom_function.h>

#include "dinoxx/base/error.hpp"
#include "kernels/cuda_stream.hpp"
#include "ops.hpp"
#include "to_device.hpp"
#include "token_kernels.hpp"

namespace dinoxx::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

bool is_bf16(const at::Tensor& t) {
  return t.scalar_type() == at::kBFloat16;
}
const void* data(const at::Tensor& t) {
  return t.defined() ? t.const_data_ptr() : nullptr;
}
float* floats(const at::Tensor& t) {
  return t.data_ptr<float>();
}
at::Tensor empty_rows(int64_t rows, int64_t columns, const at::Tensor& like) {
  return at::empty({rows, columns}, like.options().requires_grad(false));
}
at::Tensor empty_floats(at::IntArrayRef sizes, const at::Tensor& like) {
  return at::empty(sizes, like.options().dtype(at::kFloat).requires_grad(false));
}

cuda::RowGroups groups_of(const PackedRows& rows) {
  cuda::RowGroups groups;
  groups.count = static_cast<int>(rows.samples.size());
  for (int i = 0; i < groups.count; ++i) {
    const auto at = static_cast<size_t>(i);
    groups.tokens[i] = static_cast<int>(rows.tokens[at]);
    groups.first_sample[i + 1] = groups.first_sample[i] + static_cast<int>(rows.samples[at]);
    groups.first_row[i + 1] = groups.first_row[i] + rows.samples[at] * rows.tokens[at];
  }
  return groups;
}
cuda::Branch branch_of(const PackedRows& rows, const PackedBranch& branch) {
  return {groups_of(running_rows(rows, branch)), branch.slot.defined() ? branch.slot.const_data_ptr<int>() : nullptr,
          branch.gain.defined() ? branch.gain.const_data_ptr<float>() : nullptr};
}
bool runs_for_all_alike(const PackedBranch& branch) {
  return !branch.slot.defined() && !branch.gain.defined();
}

at::Tensor linear_rows(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  return bias.defined() ? at::addmm(bias, x, weight.t()) : at::mm(x, weight.t());
}

/// Undefined tensors are no inputs of a node: those that are there, and which.
struct Inputs {
  std::vector<at::Tensor> list;
  int64_t present = 0;

  void add(const at::Tensor& t) {
    if (t.defined()) {
      present |= int64_t{1} << count;
      list.push_back(t);
    }
    ++count;
  }
  int count = 0;
};
bool needs_gradient(const std::vector<at::Tensor>& tensors) {
  return at::GradMode::is_enabled() && std::any_of(tensors.begin(), tensors.end(), [](const at::Tensor& t) { return t.requires_grad(); });
}
/// All of them again, with undefined ones in their places.
template <size_t kCount>
std::array<at::Tensor, kCount> expanded(at::ArrayRef<at::Tensor> list, int64_t present) {
  std::array<at::Tensor, kCount> all;
  for (size_t i = 0, next = 0; i < kCount; ++i)
    if (present >> i & 1) all[i] = list[next++].contiguous();
  return all;
}
/// Of gradients in the order of Inputs::add, those whose inputs are there.
template <size_t kCount>
void append_present(variable_list& to, const std::array<at::Tensor, kCount>& gradients, int64_t present) {
  for (size_t i = 0; i < kCount; ++i)
    if (present >> i & 1) to.push_back(gradients[i]);
}

/// What a LayerNorm leaves for its backward pass.
struct Statistics {
  at::Tensor mean, rstd;  // [rows that are normalised]
};
struct Residual {
  at::Tensor z, y;
  Statistics statistics;
};
/// z = x + gain * branch (branch undefined: z is x); y = LayerNorm(z) for `to` (weight undefined: none).
Residual run_residual_norm(const at::Tensor& x, const PackedRows& rows, const at::Tensor& branch, const PackedBranch& from,
                           const at::Tensor& weight, const at::Tensor& bias, double eps, const PackedBranch& to) {
  const int64_t dim = x.size(1);
  cuda::ResidualNorm work;
  work.bf16 = is_bf16(x);
  work.dim = static_cast<int>(dim);
  work.rows = groups_of(rows);
  work.x = data(x);
  Residual out;
  out.z = x;
  if (branch.defined()) {
    out.z = empty_rows(x.size(0), dim, x);
    work.branch = data(branch);
    work.from = branch_of(rows, from);
    work.z = out.z.data_ptr();
  }
  if (weight.defined()) {
    const int64_t normed = running_rows(rows, to).rows();
    out.y = empty_rows(normed, dim, x);
    out.statistics = {empty_floats({normed}, x), empty_floats({normed}, x)};
    work.to = branch_of(rows, to);
    work.weight = data(weight);
    work.bias = data(bias);
    work.eps = static_cast<float>(eps);
    work.y = out.y.data_ptr();
    work.mean = floats(out.statistics.mean);
    work.rstd = floats(out.statistics.rstd);
  }
  check_launch(cuda::launch_residual_norm(work, current_stream()), "residual and LayerNorm");
  return out;
}

/// Sums over rows that wait for the one launch that finishes them all.
class PendingTotals {
 public:
  explicit PendingTotals(const at::Tensor& like) : like_(like) {}
  /// `partial` [count, n]; the totals, of the type of `like`, are there after finish().
  at::Tensor add(const at::Tensor& partial) {
    at::Tensor out = at::empty({partial.size(1)}, like_.options().requires_grad(false));
    list_.push_back(
        {floats(partial), static_cast<int>(partial.size(0)), static_cast<int>(partial.size(1)), partial.size(1), out.data_ptr()});
    partials_.push_back(partial);
    return out;
  }
  void finish() {
    check_launch(cuda::launch_column_totals(is_bf16(like_), list_.data(), static_cast<int>(list_.size()), current_stream()), "column sums");
  }

 private:
  at::Tensor like_;
  std::vector<cuda::Totals> list_;
  std::vector<at::Tensor> partials_;
};

struct ResidualGrads {
  at::Tensor x, branch;
  at::Tensor sums;  // [3 * dim]: LayerNorm's weight and bias, the branch's bias; after the totals are finished
};
/// dz may be undefined (0), and is written over where it is `owned`; dy undefined: no LayerNorm.
ResidualGrads run_residual_norm_backward(const at::Tensor& dz, bool owned, const at::Tensor& dy, const PackedRows& rows,
                                         const at::Tensor& z, const Statistics& statistics, const at::Tensor& weight,
                                         const PackedBranch& to, const PackedBranch* from, PendingTotals& totals) {
  const int64_t dim = z.size(1), count = rows.rows();
  cuda::ResidualNormBackward work;
  work.bf16 = is_bf16(z);
  work.dim = static_cast<int>(dim);
  work.rows = groups_of(rows);
  work.dz = data(dz);
  ResidualGrads out;
  out.x = dz;
  if (dy.defined() || !dz.defined()) {
    if (!dz.defined() || !owned) out.x = empty_rows(count, dim, z);
    work.dx = out.x.data_ptr();
  }
  if (dy.defined()) {
    work.dy = data(dy);
    work.to = branch_of(rows, to);
    work.z = data(z);
    work.weight = data(weight);
    work.mean = floats(statistics.mean);
    work.rstd = floats(statistics.rstd);
  }
  if (from) {
    work.from = branch_of(rows, *from);
    out.branch = out.x;
    if (!runs_for_all_alike(*from)) {
      out.branch = empty_rows(running_rows(rows, *from).rows(), dim, z);
      work.dbranch = out.branch.data_ptr();
    }
  }
  const at::Tensor partial = empty_floats({cuda::residual_norm_blocks(count, work.dim, work.bf16), 3 * dim}, z);
  work.partial = floats(partial);
  check_launch(cuda::launch_residual_norm_backward(work, current_stream()), "backward of residual and LayerNorm");
  out.sums = totals.add(partial);
  return out;
}

// ---------------------------------------------------------------- LayerNorm of what comes in

struct NormPlan : torch::CustomClassHolder {
  NormPlan(PackedRows r, PackedBranch b, double e) : rows(std::move(r)), to(std::move(b)), eps(e) {}
  PackedRows rows;
  PackedBranch to;
  double eps;
};

class PackedNormFunction : public torch::autograd::Function<PackedNormFunction> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias,
                            const c10::intrusive_ptr<NormPlan>& plan) {
    at::AutoDispatchBelowADInplaceOrView below_autograd;
    const c10::DeviceGuard guard(input.device());
    const at::Tensor x = input.contiguous();
    const Residual r = run_residual_norm(x, plan->rows, {}, {}, weight, bias, plan->eps, plan->to);
    ctx->save_for_backward({x, weight, r.statistics.mean, r.statistics.rstd});
    ctx->saved_data["plan"] = c10::IValue::make_capsule(plan);
    return r.y;
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const auto plan = c10::static_intrusive_pointer_cast<NormPlan>(ctx->saved_data["plan"].toCapsule());
    const c10::DeviceGuard guard(saved[0].device());
    PendingTotals totals(saved[1]);
    const ResidualGrads g = run_residual_norm_backward({}, false, grads[0].contiguous(), plan->rows, saved[0], {saved[2], saved[3]},
                                                       saved[1], plan->to, nullptr, totals);
    totals.finish();
    const int64_t dim = saved[0].size(1);
    return {g.x, g.sums.narrow(0, 0, dim), g.sums.narrow(0, dim, dim), at::Tensor()};
  }
};

// ---------------------------------------------------------------- queries, keys, values

struct QkvPlan : torch::CustomClassHolder {
  PackedRows rows;
  int64_t heads = 1, prefix = 1;
  std::vector<PackedRotary> rotary;

  cuda::Rotary tables(int64_t dim) const {
    cuda::Rotary r;
    r.heads = static_cast<int>(heads);
    r.head_dim = static_cast<int>(dim / heads);
    r.prefix = static_cast<int>(prefix);
    for (size_t i = 0; i < rotary.size(); ++i) {
      if (!rotary[i].cos.defined()) continue;
      r.cos[i] = rotary[i].cos.const_data_ptr<float>();
      r.sin[i] = rotary[i].sin.const_data_ptr<float>();
    }
    return r;
  }
};

enum QkvInput { kH, kQkvWeight, kQkvBias, kQkvInputs };

class PackedQkvFunction : public torch::autograd::Function<PackedQkvFunction> {
 public:
  static variable_list forward(AutogradContext* ctx, at::TensorList list, int64_t present, const c10::intrusive_ptr<QkvPlan>& plan) {
    at::AutoDispatchBelowADInplaceOrView below_autograd;
    const auto in = expanded<kQkvInputs>(list, present);
    const c10::DeviceGuard guard(in[kH].device());
    const int64_t dim = in[kH].size(1), head_dim = dim / plan->heads;
    const at::Tensor qkv = linear_rows(in[kH], in[kQkvWeight], in[kQkvBias]);
    if (!plan->rotary.empty())
      check_launch(cuda::launch_rotate(is_bf16(qkv), qkv.data_ptr(), groups_of(plan->rows), plan->tables(dim), current_stream()),
                   "rotary positions");
    ctx->save_for_backward({in[kH], in[kQkvWeight]});
    ctx->saved_data["plan"] = c10::IValue::make_capsule(plan);
    ctx->saved_data["present"] = present;
    ctx->set_materialize_grads(false);
    variable_list out;
    int64_t first = 0;
    for (size_t i = 0; i < plan->rows.samples.size(); ++i) {
      const int64_t samples = plan->rows.samples[i], tokens = plan->rows.tokens[i];
      const at::Tensor all = qkv.narrow(0, first, samples * tokens).view({samples, tokens, 3, plan->heads, head_dim});
      for (int64_t part = 0; part < 3; ++part) out.push_back(all.select(2, part).transpose(1, 2));
      first += samples * tokens;
    }
    return out;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const auto plan = c10::static_intrusive_pointer_cast<QkvPlan>(ctx->saved_data["plan"].toCapsule());
    const int64_t present = ctx->saved_data["present"].toInt();
    const at::Tensor &h = saved[0], &weight = saved[1];
    const c10::DeviceGuard guard(h.device());
    const int64_t dim = h.size(1), rows = h.size(0);
    cuda::QkvGrad work;
    work.bf16 = is_bf16(h);
    work.rows = groups_of(plan->rows);
    work.rotary = plan->tables(dim);
    std::vector<at::Tensor> held;  // copies of gradients whose channels are not side by side
    const int64_t vector = 16 / h.element_size();
    for (size_t k = 0; k < grads.size(); ++k) {
      at::Tensor g = grads[k];
      if (!g.defined()) continue;
      if (g.stride(3) != 1 || g.stride(0) % vector != 0 || g.stride(1) % vector != 0 || g.stride(2) % vector != 0 ||
          reinterpret_cast<uintptr_t>(g.const_data_ptr()) % 16 != 0)
        g = g.contiguous();
      held.push_back(g);
      work.grad[k / 3][k % 3] = data(g);
      for (int64_t d = 0; d < 3; ++d) work.stride[k / 3][k % 3][d] = g.stride(d);
    }
    const at::Tensor dqkv = empty_rows(rows, 3 * dim, h);
    const at::Tensor partial = empty_floats({cuda::column_chunks(rows, static_cast<int>(3 * dim), work.bf16), 3 * dim}, h);
    work.dqkv = dqkv.data_ptr();
    work.partial = floats(partial);
    check_launch(cuda::launch_qkv_grad(work, current_stream()), "gradient of queries, keys and values");
    std::array<at::Tensor, kQkvInputs> g;
    PendingTotals totals(weight);
    if (present >> kQkvBias & 1) {
      g[kQkvBias] = totals.add(partial);
      totals.finish();
    }
    g[kH] = at::mm(dqkv, weight);
    g[kQkvWeight] = at::mm(dqkv.t(), h);
    variable_list out;
    append_present(out, g, present);
    out.resize(out.size() + 2);
    return out;
  }
};

// ---------------------------------------------------------------- both branches

struct BranchesPlan : torch::CustomClassHolder {
  PackedRows rows;
  PackedBranch first, second, next;
  double eps = 0;
  bool swiglu = false, training = false;
};

enum BranchesInput {
  kX,
  kProjWeight,
  kProjBias,
  kNormWeight,
  kNormBias,
  kUpWeight,
  kUpBias,
  kDownWeight,
  kDownBias,
  kNextWeight,
  kNextBias,
  kBranchesInputs
};

class PackedBranchesFunction : public torch::autograd::Function<PackedBranchesFunction> {
 public:
  /// `list`: the inputs that are there, then attention's output of each group.
  static variable_list forward(AutogradContext* ctx, at::TensorList list, int64_t present, const c10::intrusive_ptr<BranchesPlan>& plan) {
    at::AutoDispatchBelowADInplaceOrView below_autograd;
    const auto in = expanded<kBranchesInputs>(list, present);
    const at::Tensor& x = in[kX];
    const c10::DeviceGuard guard(x.device());
    const int64_t dim = x.size(1);
    const PackedRows of_first = running_rows(plan->rows, plan->first);
    std::vector<at::Tensor> mixed;
    at::Tensor branch = empty_rows(of_first.rows(), dim, x);
    for (size_t i = 0, row = 0; i < of_first.samples.size(); ++i) {
      const int64_t count = of_first.samples[i] * of_first.tokens[i];
      mixed.push_back(list[list.size() - of_first.samples.size() + i].contiguous());
      at::Tensor rows = branch.narrow(0, static_cast<int64_t>(row), count);
      if (in[kProjBias].defined())
        at::addmm_out(rows, in[kProjBias], mixed.back(), in[kProjWeight].t());
      else
        at::mm_out(rows, mixed.back(), in[kProjWeight].t());
      row += static_cast<size_t>(count);
    }
    const Residual middle = run_residual_norm(x, plan->rows, branch, plan->first, in[kNormWeight], in[kNormBias], plan->eps, plan->second);
    branch = at::Tensor();

    const at::Tensor up = linear_rows(middle.y, in[kUpWeight], in[kUpBias]);
    at::Tensor hidden = empty_rows(up.size(0), plan->swiglu ? up.size(1) / 2 : up.size(1), x);
    const auto code = plan->swiglu ? cuda::launch_swiglu(is_bf16(x), data(up), hidden.data_ptr(), up.size(0),
                                                         static_cast<int>(hidden.size(1)), current_stream())
                                   : cuda::launch_gelu(is_bf16(x), data(up), hidden.data_ptr(), up.numel(), current_stream());
    check_launch(code, "feed-forward part");
    branch = linear_rows(hidden, in[kDownWeight], in[kDownBias]);
    const Residual last =
        run_residual_norm(middle.z, plan->rows, branch, plan->second, in[kNextWeight], in[kNextBias], plan->eps, plan->next);

    ctx->set_materialize_grads(false);
    if (plan->training) {
      variable_list saved{in[kProjWeight],
                          in[kNormWeight],
                          in[kUpWeight],
                          in[kDownWeight],
                          middle.z,
                          middle.y,
                          middle.statistics.mean,
                          middle.statistics.rstd,
                          up,
                          hidden};
      const bool with_next = in[kNextWeight].defined();
      for (const at::Tensor& t : {in[kNextWeight], last.z, last.statistics.mean, last.statistics.rstd})
        saved.push_back(with_next ? t : at::Tensor());
      saved.insert(saved.end(), mixed.begin(), mixed.end());
      ctx->save_for_backward(saved);
      ctx->saved_data["plan"] = c10::IValue::make_capsule(plan);
      ctx->saved_data["present"] = present;
    }
    return last.y.defined() ? variable_list{last.z, last.y} : variable_list{last.z};
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    auto saved = ctx->get_saved_variables();
    const auto plan = c10::static_intrusive_pointer_cast<BranchesPlan>(ctx->saved_data["plan"].toCapsule());
    const int64_t present = ctx->saved_data["present"].toInt();
    const at::Tensor proj_weight = saved[0], norm_weight = saved[1], up_weight = saved[2], down_weight = saved[3], y = saved[4],
                     h2 = saved[5], up = saved[8], hidden = saved[9], next_weight = saved[10], z = saved[11];
    const Statistics middle{saved[6], saved[7]}, next{saved[12], saved[13]};
    const c10::DeviceGuard guard(y.device());
    const bool bf16 = is_bf16(y);
    std::array<at::Tensor, kBranchesInputs> g;
    PendingTotals totals(proj_weight);

    // z = y + gain2 * (hidden down^T + b), and the next norm of z. A gradient that nobody else holds is written over.
    const at::Tensor dz = grads[0].defined() ? std::move(grads[0]).contiguous() : at::Tensor();
    grads[0] = at::Tensor();
    const bool has_next = grads.size() > 1 && grads[1].defined();
    const at::Tensor dh = has_next ? grads[1].contiguous() : at::Tensor();
    const bool owned = dz.defined() && dz.use_count() == 1 && dz.storage().use_count() == 1;
    const ResidualGrads outer =
        run_residual_norm_backward(dz, owned, dh, plan->rows, z.defined() ? z : y, next, next_weight, plan->next, &plan->second, totals);
    g[kDownWeight] = at::mm(outer.branch.t(), hidden);
    const at::Tensor dhidden = at::mm(outer.branch, down_weight), dup = at::empty_like(up);
    const int64_t rows = up.size(0), columns = up.size(1);
    const at::Tensor partial = empty_floats({cuda::column_chunks(rows, static_cast<int>(columns), bf16), columns}, up);
    const auto code = plan->swiglu ? cuda::launch_swiglu_backward(bf16, data(dhidden), data(up), dup.data_ptr(), floats(partial), rows,
                                                                  static_cast<int>(columns / 2), current_stream())
                                   : cuda::launch_gelu_backward(bf16, data(dhidden), data(up), dup.data_ptr(), floats(partial), rows,
                                                                static_cast<int>(columns), current_stream());
    check_launch(code, "backward of the feed-forward part");
    if (present >> kUpBias & 1) g[kUpBias] = totals.add(partial);
    g[kUpWeight] = at::mm(dup.t(), h2);
    const at::Tensor dh2 = at::mm(dup, up_weight);

    // y = x + gain1 * (mixed proj^T + b)
    const bool own_outer = owned || !outer.x.is_same(dz);
    const ResidualGrads inner =
        run_residual_norm_backward(outer.x, own_outer, dh2, plan->rows, y, middle, norm_weight, plan->second, &plan->first, totals);
    g[kX] = inner.x;
    const PackedRows of_first = running_rows(plan->rows, plan->first);
    variable_list of_mixed;
    for (size_t i = 0, row = 0; i < of_first.samples.size(); ++i) {
      const int64_t count = of_first.samples[i] * of_first.tokens[i];
      const at::Tensor d = inner.branch.narrow(0, static_cast<int64_t>(row), count);
      const at::Tensor& mixed = saved[14 + i];
      if (!g[kProjWeight].defined())
        g[kProjWeight] = at::mm(d.t(), mixed);
      else
        g[kProjWeight].addmm_(d.t(), mixed);
      of_mixed.push_back(at::mm(d, proj_weight));
      row += static_cast<size_t>(count);
    }
    totals.finish();
    const int64_t dim = y.size(1);
    const auto part = [&](const at::Tensor& sums, int64_t i) { return sums.narrow(0, i * dim, dim); };
    g[kDownBias] = part(outer.sums, 2);
    g[kNormWeight] = part(inner.sums, 0);
    g[kNormBias] = part(inner.sums, 1);
    g[kProjBias] = part(inner.sums, 2);
    if (has_next) {
      g[kNextWeight] = part(outer.sums, 0);
      g[kNextBias] = part(outer.sums, 1);
    }
    variable_list out;
    append_present(out, g, present);
    out.insert(out.end(), of_mixed.begin(), of_mixed.end());
    out.resize(out.size() + 2);
    return out;
  }
};

// ---------------------------------------------------------------- LayerScale

enum FoldInput { kWeight1, kBias1, kGamma1, kWeight2, kBias2, kGamma2, kFoldQkvBias, kFoldInputs };

class PackedFoldFunction : public torch::autograd::Function<PackedFoldFunction> {
 public:
  static variable_list forward(AutogradContext* ctx, at::TensorList list, int64_t present) {
    at::AutoDispatchBelowADInplaceOrView below_autograd;
    const auto in = expanded<kFoldInputs>(list, present);
    const c10::DeviceGuard guard(list[0].device());
    cuda::Fold work;
    work.bf16 = is_bf16(list[0]);
    variable_list out;
    for (int p = 0; p < cuda::Fold::kParts; ++p) {
      const at::Tensor &weight = in[3 * p + kWeight1], &bias = in[3 * p + kBias1], &gamma = in[3 * p + kGamma1];
      if (!gamma.defined()) continue;
      cuda::Fold::Part& part = work.part[p];
      out.push_back(at::empty_like(weight));
      part = {data(gamma),
              data(weight),
              data(bias),
              out.back().data_ptr(),
              nullptr,
              static_cast<int>(weight.size(0)),
              static_cast<int>(weight.size(1))};
      if (!bias.defined()) continue;
      out.push_back(at::empty_like(bias));
      part.bias_out = out.back().data_ptr();
    }
    if (in[kFoldQkvBias].defined()) {
      out.push_back(at::empty_like(in[kFoldQkvBias]));
      work.qkv_bias = data(in[kFoldQkvBias]);
      work.qkv_bias_out = out.back().data_ptr();
      work.dim = static_cast<int>(in[kFoldQkvBias].size(0) / 3);
    }
    check_launch(cuda::launch_fold(work, current_stream()), "LayerScale");
    ctx->save_for_backward(list.vec());
    ctx->saved_data["present"] = present;
    return out;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const int64_t present = ctx->saved_data["present"].toInt();
    const auto in = expanded<kFoldInputs>(ctx->get_saved_variables(), present);
    for (at::Tensor& t : grads) t = t.contiguous();
    const c10::DeviceGuard guard(grads[0].device());
    auto next = grads.begin();
    std::array<at::Tensor, kFoldInputs> g;
    cuda::FoldBackward work;
    work.bf16 = is_bf16(grads[0]);
    for (int p = 0; p < cuda::Fold::kParts; ++p) {
      const at::Tensor &weight = in[3 * p + kWeight1], &bias = in[3 * p + kBias1], &gamma = in[3 * p + kGamma1];
      if (!gamma.defined()) continue;
      at::Tensor &dweight = g[3 * p + kWeight1], &dbias = g[3 * p + kBias1], &dgamma = g[3 * p + kGamma1];
      cuda::FoldBackward::Part& part = work.part[p];
      dweight = at::empty_like(weight);
      dgamma = at::empty_like(gamma);
      part.gamma = data(gamma), part.weight = data(weight), part.dweight_out = data(*next++);
      part.dgamma = dgamma.data_ptr(), part.dweight = dweight.data_ptr();
      part.rows = static_cast<int>(weight.size(0)), part.columns = static_cast<int>(weight.size(1));
      if (!bias.defined()) continue;
      dbias = at::empty_like(bias);
      part.bias = data(bias), part.dbias_out = data(*next++), part.dbias = dbias.data_ptr();
    }
    if (in[kFoldQkvBias].defined()) {
      g[kFoldQkvBias] = at::empty_like(in[kFoldQkvBias]);
      work.dqkv_bias_out = data(*next++);
      work.dqkv_bias = g[kFoldQkvBias].data_ptr();
      work.dim = static_cast<int>(in[kFoldQkvBias].size(0) / 3);
    }
    check_launch(cuda::launch_fold_backward(work, current_stream()), "backward of LayerScale");
    variable_list out;
    append_present(out, g, present);
    out.resize(out.size() + 1);
    return out;
  }
};

}  // namespace

bool packed_supported(const at::Tensor& like, int64_t dim, int64_t hidden, int64_t heads, size_t groups) {
  const auto type = like.scalar_type();
  if (!fused() || !kernels_run_on(like.device()) || (type != at::kFloat && type != at::kBFloat16)) return false;
  const int64_t vector = 16 / static_cast<int64_t>(like.element_size()), head_dim = dim / heads;
  return groups <= cuda::kMaxGroups && dim <= cuda::kMaxDim && dim % heads == 0 && head_dim % (2 * vector) == 0 && hidden % vector == 0;
}

at::Tensor packed_norm(const at::Tensor& x, const PackedRows& rows, const PackedBranch& to, const at::Tensor& weight,
                       const at::Tensor& bias, double eps) {
  return PackedNormFunction::apply(x, weight, bias, c10::make_intrusive<NormPlan>(rows, to, eps));
}

std::vector<at::Tensor> packed_qkv(const at::Tensor& h, const PackedRows& rows, const at::Tensor& weight, const at::Tensor& bias, int heads,
                                   int64_t prefix, const std::vector<PackedRotary>& rotary) {
  auto plan = c10::make_intrusive<QkvPlan>();
  plan->rows = rows;
  plan->heads = heads;
  plan->prefix = prefix;
  plan->rotary = rotary;
  Inputs in;
  for (const at::Tensor& t : {h, weight, bias}) in.add(t);
  return PackedQkvFunction::apply(at::TensorList(in.list), in.present, plan);
}

PackedOut packed_branches(const at::Tensor& x, const std::vector<at::Tensor>& mixed, const PackedRows& rows, const PackedWeights& w,
                          double eps, const PackedBranch& first, const PackedBranch& second, const PackedNext& next) {
  Inputs in;
  for (const at::Tensor& t : {x, w.proj_weight, w.proj_bias, w.norm_weight, w.norm_bias, w.up_weight, w.up_bias, w.down_weight, w.down_bias,
                              next.weight, next.bias})
    in.add(t);
  in.list.insert(in.list.end(), mixed.begin(), mixed.end());
  auto plan = c10::make_intrusive<BranchesPlan>();
  plan->rows = rows;
  plan->first = first;
  plan->second = second;
  plan->next = next.to;
  plan->eps = eps;
  plan->swiglu = w.up_weight.size(0) == 2 * w.down_weight.size(1);
  plan->training = needs_gradient(in.list);
  const variable_list out = PackedBranchesFunction::apply(at::TensorList(in.list), in.present, plan);
  return {out[0], out.size() > 1 ? out[1] : at::Tensor()};
}

PackedFold packed_fold(const PackedFold& in) {
  if (!in.gamma1.defined() && !in.gamma2.defined() && !in.qkv_bias.defined()) return in;
  Inputs inputs;
  const auto add = [&](const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& gamma) {
    for (const at::Tensor& t : {weight, bias, gamma}) inputs.add(gamma.defined() ? t : at::Tensor());
  };
  add(in.proj_weight, in.proj_bias, in.gamma1);
  add(in.down_weight, in.down_bias, in.gamma2);
  inputs.add(in.qkv_bias);
  const variable_list list = PackedFoldFunction::apply(at::TensorList(inputs.list), inputs.present);
  auto next = list.begin();
  PackedFold out = in;
  if (in.gamma1.defined()) out.proj_weight = *next++;
  if (in.gamma1.defined() && in.proj_bias.defined()) out.proj_bias = *next++;
  if (in.gamma2.defined()) out.down_weight = *next++;
  if (in.gamma2.defined() && in.down_bias.defined()) out.down_bias = *next++;
  if (in.qkv_bias.defined()) out.qkv_bias = *next++;
  out.gamma1 = out.gamma2 = at::Tensor();
  return out;
}

PackedRotary packed_rotary_tables(const at::Tensor& centres, const at::Tensor& frequency, int64_t rows, int64_t columns,
                                  at::Device device) {
  const int64_t sets = centres.size(0), quarter = frequency.size(0);
  const at::Tensor both = to_device(at::cat({centres.reshape({-1}), frequency}), device);
  const c10::DeviceGuard guard(device);
  const at::Tensor tables = at::empty({2, sets, rows * columns, 2 * quarter}, both.options().dtype(at::kFloat));
  const double* in = both.const_data_ptr<double>();
  check_launch(cuda::launch_rotary_tables(in, in + centres.numel(), floats(tables[0]), floats(tables[1]), static_cast<int>(sets),
                                          static_cast<int>(rows), static_cast<int>(columns), static_cast<int>(quarter), current_stream()),
               "rotary tables");
  return {tables[0], tables[1]};
}

}  // namespace dinoxx::ops
