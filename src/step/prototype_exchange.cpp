#include "prototype_exchange.hpp"

#include <ATen/ATen.h>

#include <algorithm>

#include "comm/gather.hpp"
#include "dinoxx/base/error.hpp"
#include "ops/to_device.hpp"

namespace dinoxx {

PrototypeExchange::PrototypeExchange(const SyncGroups& groups)
    : ranks_(groups.shards->split(0, groups.shards->rank())),
      fellows_(groups.fellows->split(0, groups.fellows->rank())),
      shards_{ranks_.get(), fellows_.get()} {}

at::Tensor PrototypeExchange::views(const at::Tensor& rows) const {
  const int64_t views = rows.size(0), batch = rows.size(1), ranks = ranks_->size();
  const at::Tensor all = gather_rows(rows.flatten(0, 1), *ranks_);
  return all.view({ranks, views, batch, -1}).transpose(0, 1).reshape({views, ranks * batch, rows.size(2)});
}

void PrototypeExchange::gather_masks(MaskInputs& masks, int64_t batch) {
  const at::NoGradGuard no_grad;
  const at::Device device = masks.weights.device();
  const int64_t ranks = ranks_->size(), mine = masks.weights.size(0);
  at::Tensor counts = at::empty({ranks}, at::TensorOptions(at::kLong).device(device));
  ranks_->all_gather(counts, to_device(at::full({1}, mine, at::kLong), device))->wait();
  counts = counts.cpu();
  counts_.assign(counts.const_data_ptr<int64_t>(), counts.const_data_ptr<int64_t>() + ranks);
  // a weight and a slot of the whole group's batch for each row
  const at::Tensor slots = masks.slots.to(at::kDouble) + static_cast<double>(ranks_->rank() * batch);
  const at::Tensor all = patches(at::stack({masks.weights, to_device(slots, device)}, 1));
  masks.weights = all.select(1, 0).contiguous();
  masks.slots = all.select(1, 1).to(at::kCPU, at::kLong).contiguous();
  masks.crops *= ranks;
}

at::Tensor PrototypeExchange::patches(const at::Tensor& rows) const {
  const int64_t most = *std::max_element(counts_.begin(), counts_.end());
  if (rows.size(0) != counts_[static_cast<size_t>(ranks_->rank())])
    fail("prototype exchange", fmt::format("{} masked patches", counts_[static_cast<size_t>(ranks_->rank())]), std::to_string(rows.size(0)),
         "This is a defect of the program");
  const at::Tensor padded = at::constant_pad_nd(rows, {0, 0, 0, most - rows.size(0)});
  const at::Tensor all = gather_rows(padded, *ranks_);
  std::vector<at::Tensor> parts;
  for (size_t rank = 0; rank < counts_.size(); ++rank) parts.push_back(all.narrow(0, static_cast<int64_t>(rank) * most, counts_[rank]));
  return at::cat(parts);
}

at::Tensor PrototypeExchange::own(const at::Tensor& of_prototypes, int64_t prototypes) const {
  const ColumnRange range = column_range(prototypes, ranks_->size(), ranks_->rank());
  return of_prototypes.size(0) == range.count ? of_prototypes : of_prototypes.narrow(0, range.first, range.count);
}

CentreSum PrototypeExchange::spread(const CentreSum& own, int64_t prototypes) const {
  const ColumnRange range = column_range(prototypes, ranks_->size(), ranks_->rank());
  CentreSum all{at::zeros({prototypes}, own.sum.options()), ranks_->rank() == 0 ? own.rows : 0};
  all.sum.narrow(0, range.first, range.count).copy_(own.sum);
  return all;
}

}  // namespace dinoxx
