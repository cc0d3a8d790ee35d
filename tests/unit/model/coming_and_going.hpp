#pragma once
#include <c10/core/CPUAllocator.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <numeric>

#include "model/backbones/vit.hpp"

namespace dinoxx {

/// Tensors in groups, whose memory has their values while a group is held, each time in another place, and else is no number. As FlatState
/// does it, through the storage, so that autograd's counts of changes do not see it.
class ComingAndGoing {
 public:
  explicit ComingAndGoing(std::vector<std::vector<at::Tensor>> groups) : groups_(std::move(groups)), held_(groups_.size(), 0) {
    for (const std::vector<at::Tensor>& group : groups_) {
      std::vector<at::Tensor>& copies = values_.emplace_back();
      for (const at::Tensor& t : group) copies.push_back(t.detach().clone());
      fill(group, nullptr);
    }
  }
  std::shared_ptr<void> hold(size_t group, bool backward) {
    if (group >= groups_.size()) return nullptr;
    calls.emplace_back(group, backward);
    if (held_[group]++ == 0) fill(groups_[group], &values_[group]);
    most = std::max(most, std::accumulate(held_.begin(), held_.end(), 0));
    return {this, [group](ComingAndGoing* all) {
              if (--all->held_[group] == 0) fill(all->groups_[group], nullptr);
            }};
  }
  int held_now() const { return std::accumulate(held_.begin(), held_.end(), 0); }

  std::vector<std::pair<size_t, bool>> calls;
  int most = 0;

 private:
  static void fill(const std::vector<at::Tensor>& tensors, const std::vector<at::Tensor>* values) {
    for (size_t i = 0; i < tensors.size(); ++i) {
      at::DataPtr memory = c10::GetCPUAllocator()->allocate(tensors[i].nbytes());
      if (values)
        std::memcpy(memory.get(), (*values)[i].const_data_ptr(), tensors[i].nbytes());
      else
        std::memset(memory.get(), 0xFF, tensors[i].nbytes());  // no number in any floating type
      tensors[i].storage().unsafeGetStorageImpl()->set_data_ptr_noswap(std::move(memory));
    }
  }
  std::vector<std::vector<at::Tensor>> groups_, values_;
  std::vector<int> held_;
};

inline std::vector<std::vector<at::Tensor>> blocks_but_the_last(const VisionTransformer& vit) {
  std::vector<std::vector<at::Tensor>> blocks(static_cast<size_t>(vit.config().depth - 1));
  for (const auto& [name, tensor] : vit.parameters())
    for (size_t i = 0; i < blocks.size(); ++i)
      if (name.starts_with(fmt::format("blocks.{}.", i))) blocks[i].push_back(tensor);
  return blocks;
}

}  // namespace dinoxx
