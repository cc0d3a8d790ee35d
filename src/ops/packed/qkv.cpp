#include "node.hpp"
#include "ops/fused.hpp"
#include "ops/to_device.hpp"
#include "residual.hpp"

namespace dinoxx::ops {
namespace {

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
      check_launch(cuda::launch_rotate(holds_bf16(qkv), qkv.data_ptr(), groups_of(plan->rows), plan->tables(dim), current_stream()),
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
    cpu::refuse_second_derivative();
    const auto saved = ctx->get_saved_variables();
    const auto plan = c10::static_intrusive_pointer_cast<QkvPlan>(ctx->saved_data["plan"].toCapsule());
    const int64_t present = ctx->saved_data["present"].toInt();
    const at::Tensor &h = saved[0], &weight = saved[1];
    const c10::DeviceGuard guard(h.device());
    const int64_t dim = h.size(1), rows = h.size(0);
    cuda::QkvGrad work;
    work.bf16 = holds_bf16(h);
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

}  // namespace

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
