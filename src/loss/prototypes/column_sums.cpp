#include "column_sums.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "kernels/loss/column_kernel.hpp"
#include "loss/gpu/prototype_cuda.hpp"
#include "prototype_loss.hpp"

namespace dinoxx::loss_columns {
namespace {

using loss_common::runs_in_kernel, loss_common::storage_of, loss_common::wide_type;

constexpr int64_t kTile = 1024;     // columns whose running maximum and sum stay in the first-level cache
constexpr int64_t kChunkRows = 16;  // rows that are added up before they meet the total: fixed, so that the order of all additions is

at::TensorOptions wide_options(const at::Tensor& logits) {
  return logits.options().dtype(wide_type(logits));
}

at::Tensor kernel_softmax_sums(const at::Tensor& logits, const at::Tensor& centre, double temp, const at::Tensor& is_top) {
  const int64_t rows = logits.size(0), dim = logits.size(1), padded = loss_kernel::softmax_columns_size(dim);
  const int64_t chunks = (rows + kChunkRows - 1) / kChunkRows, lanes = std::min<int64_t>(std::max(at::get_num_threads(), 1), chunks);
  at::Tensor total = at::zeros({padded}, wide_options(logits));
  const at::Tensor partial = at::empty({lanes, 2, padded}, wide_options(logits));  // sums and scratch of each thread
  // of is_top each thread writes the same value, but bytes of its own would cost K a thread: one thread then
  const bool one_thread = is_top.defined();
  const CpuLevel level = loss_kernel::level();
  for (int64_t first = 0; first < chunks; first += lanes) {
    const int64_t count = std::min(lanes, chunks - first);
    at::parallel_for(0, count, one_thread ? count : 1, [&](int64_t begin, int64_t end) {
      for (int64_t lane = begin; lane < end; ++lane) {
        float* const sums = partial.mutable_data_ptr<float>() + lane * 2 * padded;
        std::fill(sums, sums + padded, 0.0f);
        const int64_t row = (first + lane) * kChunkRows;
        loss_kernel::SoftmaxColumnSums work;
        work.logits = logits.const_data_ptr();
        work.type = storage_of(logits);
        work.centre = centre.const_data_ptr<float>();
        work.dim = dim;
        work.begin = row;
        work.end = std::min(row + kChunkRows, rows);
        work.inv_temp = static_cast<float>(1.0 / temp);
        work.sums = sums;
        work.scratch = sums + padded;
        work.is_top = is_top.defined() ? is_top.mutable_data_ptr<uint8_t>() : nullptr;
        loss_kernel::softmax_column_sums(work, level);
      }
    });
    for (int64_t lane = 0; lane < count; ++lane) total.add_(partial[lane][0]);
  }
  return total.narrow(0, 0, dim).contiguous();
}

std::pair<at::Tensor, at::Tensor> part_log_sum_exp(const at::Tensor& logits, double temp) {
  const int64_t rows = logits.size(0), dim = logits.size(1);
  if (rows > 0 && loss_cuda::takes({logits})) return loss_cuda::log_sum_exp(logits, temp);
  at::Tensor top = at::full({dim}, loss_kernel::kNoRow, wide_options(logits)), sums = at::zeros({dim}, wide_options(logits));
  if (runs_in_kernel({logits})) {
    const CpuLevel level = loss_kernel::level();
    at::parallel_for(0, (dim + kTile - 1) / kTile, 1, [&](int64_t begin, int64_t end) {
      for (int64_t tile = begin; tile < end; ++tile)
        loss_kernel::column_log_sum_exp(
            {logits.const_data_ptr(), storage_of(logits), rows, dim, tile * kTile, std::min((tile + 1) * kTile, dim),
             static_cast<float>(1.0 / temp), top.mutable_data_ptr<float>(), sums.mutable_data_ptr<float>()},
            level);
    });
    return {top, sums};
  }
  if (rows == 0) return {top, sums};
  for (const at::Tensor& block : logits.split(block_rows(dim))) {
    const at::Tensor x = block.to(top.scalar_type()) / temp, larger = at::maximum(top, x.amax(0));
    sums = sums * (top - larger).exp() + (x - larger).exp().sum(0);
    top = larger;
  }
  return {top, sums};
}

// Which rows have their largest value here and at no lower rank: [M] bool.
at::Tensor largest_is_here(const at::Tensor& x, Communicator& ranks) {
  const at::Tensor mine = x.amax(-1).contiguous();
  at::Tensor all = at::empty({ranks.size(), mine.numel()}, mine.options());
  ranks.all_gather(all, mine)->wait();
  return all.argmax(0) == ranks.rank();
}

at::Tensor part_softmax_sums(const at::Tensor& logits, const at::Tensor& centre, double temp, const at::Tensor& is_top,
                             const PrototypeShards* shards) {
  if (!shards && logits.size(0) > 0 && loss_cuda::takes({logits}, centre)) return loss_cuda::softmax_sums(logits, centre, temp, is_top);
  if (!shards && runs_in_kernel({logits}, centre)) return kernel_softmax_sums(logits, centre.contiguous(), temp, is_top);
  at::Tensor sums = at::zeros({logits.size(1)}, wide_options(logits));
  if (logits.size(0) == 0) return sums;
  for (const at::Tensor& block : logits.split(block_rows(logits.size(1)))) {
    const at::Tensor x = (block.to(sums.scalar_type()) - centre.to(sums.scalar_type())) / temp;
    if (is_top.defined()) {
      const at::Tensor top = x.argmax(-1);
      is_top.index_fill_(0, shards ? top.masked_select(largest_is_here(x, *shards->ranks)) : top, 1);
    }
    sums.add_(shards ? loss_common::log_softmax(x, shards).exp_().sum(0) : at::softmax(x, -1).sum(0));
  }
  return sums;
}

// f of each part of the rows that are there at once; of no rows once.
template <typename F>
void for_each_part(const Scores& logits, const F& f) {
  const int64_t rows = logits.size(0), step = logits.indices_at_once(0);
  for (int64_t begin = 0; begin == 0 || begin < rows; begin += step) {
    const int64_t count = std::min(step, rows - begin);
    f(logits.part(0, begin, count), begin, count);
  }
}

}  // namespace

int64_t block_rows(int64_t dim) {
  return std::max<int64_t>(1, (int64_t{1} << 22) / dim);
}

std::pair<at::Tensor, at::Tensor> log_sum_exp(const Scores& logits, double temp) {
  at::Tensor top, sums;
  for_each_part(logits, [&](const at::Tensor& part, int64_t begin, int64_t) {
    auto [part_top, part_sums] = part_log_sum_exp(part, temp);
    if (begin > 0) {
      const at::Tensor larger = at::maximum(top, part_top);
      part_sums = sums * (top - larger).exp() + part_sums * (part_top - larger).exp();
      part_top = larger;
    }
    top = part_top;
    sums = part_sums;
  });
  return {top, sums};
}

at::Tensor softmax_sums(const Scores& logits, const at::Tensor& centre, double temp, const at::Tensor& is_top) {
  at::Tensor sums;
  for_each_part(logits, [&](const at::Tensor& part, int64_t begin, int64_t) {
    const at::Tensor of_part = part_softmax_sums(part, centre, temp, is_top, logits.shards());
    sums = begin > 0 ? sums + of_part : of_part;
  });
  return sums;
}

at::Tensor weighted_sums(const Scores& logits, const at::Tensor& weight) {
  const at::ScalarType wide = wide_type(logits.rows());
  const at::Tensor& rows = logits.rows();
  if (logits.prototypes().defined()) {  // the last layer is linear
    const at::Tensor x = rows.to(wide), sum = weight.defined() ? x.t().mv(weight) : x.size(0) == 1 ? x[0] : x.sum(0);
    return logits.prototypes().to(wide).mv(sum);
  }
  if (!weight.defined()) return rows.sum(0, false, wide);
  if (loss_cuda::takes({rows})) return loss_cuda::weighted_sums(rows, weight);
  at::Tensor sums = at::zeros({rows.size(1)}, wide_options(rows));
  const int64_t block = block_rows(rows.size(1));
  for (int64_t i = 0; i < rows.size(0); i += block) {
    const int64_t count = std::min(block, rows.size(0) - i);
    sums.addmv_(rows.narrow(0, i, count).to(wide).t(), weight.narrow(0, i, count));
  }
  return sums;
}

}  // namespace dinoxx::loss_columns
