#include "node.hpp"
#include "ops/fused.hpp"

namespace dinoxx::ops {
namespace {

enum FoldInput { kWeight1, kBias1, kGamma1, kWeight2, kBias2, kGamma2, kFoldQkvBias, kFoldInputs };

class PackedFoldFunction : public torch::autograd::Function<PackedFoldFunction> {
 public:
  static variable_list forward(AutogradContext* ctx, at::TensorList list, int64_t present) {
    at::AutoDispatchBelowADInplaceOrView below_autograd;
    const auto in = expanded<kFoldInputs>(list, present);
    const c10::DeviceGuard guard(list[0].device());
    cuda::Fold work;
    work.bf16 = holds_bf16(list[0]);
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
    cpu::refuse_second_derivative();
    const int64_t present = ctx->saved_data["present"].toInt();
    const auto in = expanded<kFoldInputs>(ctx->get_saved_variables(), present);
    for (at::Tensor& t : grads) t = t.contiguous();
    const c10::DeviceGuard guard(grads[0].device());
    auto next = grads.begin();
    std::array<at::Tensor, kFoldInputs> g;
    cuda::FoldBackward work;
    work.bf16 = holds_bf16(grads[0]);
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

}  // namespace dinoxx::ops
