#include "gather.hpp"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "dinoxx/base/error.hpp"

namespace dinoxx {
namespace {

std::vector<int64_t> with_rows(at::IntArrayRef shape, int64_t rows) {
  std::vector<int64_t> sizes = shape.vec();
  sizes[0] = rows;
  return sizes;
}

class GatherRows : public torch::autograd::Function<GatherRows> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& tensor, Communicator* comm) {
    at::AutoDispatchBelowADInplaceOrView below_autograd;
    ctx->saved_data["comm"] = static_cast<int64_t>(reinterpret_cast<intptr_t>(comm));
    const at::Tensor rows = tensor.contiguous();
    at::Tensor all = at::empty(with_rows(rows.sizes(), rows.size(0) * comm->size()), rows.options());
    comm->all_gather(all, rows)->wait();
    return all;
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx, torch::autograd::variable_list grads) {
    auto* comm = reinterpret_cast<Communicator*>(static_cast<intptr_t>(ctx->saved_data["comm"].toInt()));
    const at::Tensor all = grads[0].contiguous();
    at::Tensor mine = at::empty(with_rows(all.sizes(), all.size(0) / comm->size()), all.options());
    comm->reduce_scatter(mine, all)->wait();
    return {mine, {}};
  }
};

}  // namespace

at::Tensor gather_rows(const at::Tensor& tensor, Communicator& comm) {
  if (tensor.dim() < 1) fail("gather of rows", "a tensor with rows", "a scalar", "This is a defect of the program");
  return GatherRows::apply(tensor, &comm);
}

std::vector<std::string> gather_texts(Communicator& comm, const std::string& text) {
  const int ranks = comm.size();
  at::Tensor lengths = at::empty({ranks}, at::kLong);
  comm.all_gather(lengths, at::full({1}, static_cast<int64_t>(text.size()), at::kLong))->wait();
  const int64_t longest = lengths.max().item<int64_t>();
  if (longest == 0) return std::vector<std::string>(static_cast<size_t>(ranks));
  at::Tensor mine = at::zeros({longest}, at::kByte), all = at::empty({ranks * longest}, at::kByte);
  std::copy(text.begin(), text.end(), mine.data_ptr<uint8_t>());
  comm.all_gather(all, mine)->wait();
  std::vector<std::string> texts;
  for (int rank = 0; rank < ranks; ++rank) {
    const uint8_t* begin = all.data_ptr<uint8_t>() + rank * longest;
    texts.emplace_back(begin, begin + lengths[rank].item<int64_t>());
  }
  return texts;
}

}  // namespace dinoxx
