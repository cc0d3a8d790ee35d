#include "memory.hpp"

#include <algorithm>
#include <map>

#include "optim/optim_config.hpp"
#include "parallel/gradient_sync.hpp"
#include "parallel/shards.hpp"
#include "train/training_config.hpp"

namespace dinoxx::plan {
namespace {

constexpr double kMessage = 25e6;              // bytes of gradients that travel at once, as gradient_path() has it on a GPU
constexpr double kWorkspace = 32 * 1048576.0;  // of cuBLAS, as LibTorch takes it on GPUs since Hopper
constexpr double kContext = 1.2e9;             // of the driver and of NCCL: not counted, an allowance
constexpr double kUnusedShare = 0.08;          // of what the caching allocator holds and no tensor uses at the peak; see docs/plan.md

// A bucket of columns has no more than this rank's.
double largest_bucket(const ParamLayout& layout, double shards) {
  double most = 0;
  for (const Bucket& bucket : layout.buckets)
    most = std::max(most, 4.0 * static_cast<double>(bucket.end - bucket.begin) / (bucket.columns ? shards : 1));
  return most;
}

struct Shares {
  double copies = 1, masters = 1, gradients = 1, moments = 1;  // of P elements
  bool sharded = false;
};
// stay: of the elements, those whose weights do not come and go.
Shares shares_of(Policy policy, double shards, double stay) {
  switch (policy) {
    case Policy::kDdp:
      return {};
    case Policy::kZero1:
      return {1, 1 / shards, 1 + 1 / shards, 1 / shards, true};
    case Policy::kZero2:
      return {1, 1 / shards, 1 / shards, 1 / shards, true};
    case Policy::kZero3:
      return {stay, 1 / shards, 1 / shards, 1 / shards, true};
  }
  return {};
}

std::vector<MemoryPart> states(const Model& model, const Spread& spread) {
  const Policy policy = spread.policy;
  const SharedElements elements = shared_elements(model, spread);
  const double p = elements.all();
  const auto s = static_cast<double>(spread.shards()), c = static_cast<double>(model.compute_bytes());
  const bool bf16 = model.compute_bytes() == 2;
  const BlockElements blocks = block_elements(model.layout);
  const Shares share = shares_of(policy, s, 1 - static_cast<double>(blocks.come_and_go) / static_cast<double>(model.parameters));
  // float32 networks of ddp compute in the masters themselves; a shard cannot
  const double copy = bf16 || share.sharded ? c * (p * share.copies - elements.columns) : 0;
  const double send = bf16 && share.sharded ? 2 * p / s : 0;
  const double moments = model.config.optim->name == "adamw" ? 8 : 4;
  std::vector<MemoryPart> parts{
      {"student compute copy", copy},
      {"student masters", 4 * p * share.masters},
      {"student send range", send},
      {"gradients", 4 * p * share.gradients},
      {"moments", moments * p * share.moments},
      {"average compute copy", copy},
      {"average masters", 4 * p * share.masters},
      {"average send range", send},
  };
  if (policy == Policy::kZero2 || policy == Policy::kZero3)
    parts.push_back(
        {"gradient messages", std::max(2 * kMessage, largest_bucket(elements.columns > 0 ? *model.by_columns : model.layout, s))});
  // one in use and the next on its way; student and teacher do not compute at once
  if (policy == Policy::kZero3) parts.push_back({"gathered blocks", 2 * c * static_cast<double>(blocks.largest)});
  // the Gram teacher's own network is held as the average is
  if (model.own_gram_teacher())
    parts.push_back({model.spec.anchor ? "original of the anchor" : "Gram teacher", copy + 4 * p * share.masters + send});
  // its blocks' share is taken to be the student's
  if (model.frozen)
    parts.push_back(
        {"frozen teacher", c * static_cast<double>(model.frozen_elements) * (policy == Policy::kZero3 ? share.copies + 1 / s : 1)});
  return parts;
}

}  // namespace

BlockElements block_elements(const ParamLayout& layout) {
  std::map<int, int64_t> blocks;
  for (const Segment& segment : layout.segments)
    if (const int block = transformer_block(segment.name); block >= 0) blocks[block] += segment.numel;
  BlockElements found;
  if (blocks.empty()) return found;
  blocks.erase(std::prev(blocks.end()));
  for (const auto& [block, numel] : blocks) {
    found.come_and_go += numel;
    found.largest = std::max(found.largest, numel);
  }
  return found;
}

SharedElements shared_elements(const Model& model, const Spread& spread) {
  const int64_t shards = spread.shards();
  const bool by_columns = model.by_columns && spread.shares_prototypes();
  const ParamLayout& layout = by_columns ? *model.by_columns : model.layout;
  SharedElements found;
  for (const Bucket& bucket : layout.buckets) {
    if (!bucket.columns) {
      found.travelling += static_cast<double>(padded(layout, bucket, shards));
      continue;
    }
    const std::vector<int64_t>& shape = layout.segments[static_cast<size_t>(bucket.first_segment)].shape;
    const auto ranks = static_cast<int>(shards);
    found.columns += static_cast<double>(shards * column_range(shape.front(), ranks, 0).count * (shape.size() > 1 ? shape[1] : 1));
  }
  for (const Bucket& message : messages_of(layout.buckets, gradient_path(at::Device(at::kCUDA)).message_bytes, 4))
    if (!message.columns) ++found.messages;
  return found;
}

double Memory::total() const {
  double sum = 0;
  for (const MemoryPart& part : parts) sum += part.bytes;
  return sum;
}

double Memory::of(std::string_view name) const {
  double sum = 0;
  for (const MemoryPart& part : parts)
    if (part.part == name) sum += part.bytes;
  return sum;
}

double state_bytes(const Model& model, const Spread& spread) {
  double sum = 0;
  for (const MemoryPart& part : states(model, spread)) sum += part.bytes;
  return sum;
}

Memory memory_of(const Model& model, const Spread& spread, const Work& work) {
  Memory memory{states(model, spread)};
  memory.parts.push_back({"activations", work.saved});
  memory.parts.push_back({"prototypes", work.prototypes});
  memory.parts.push_back({"pixels", work.pixels});
  // fresh gradients of one message wait for its last one, in the networks' type; where they travel in bfloat16, two messages of copies
  const double rounded = model.config.train->gradients == "bf16" && spread.ranks.size() > 1 ? kMessage : 0;
  const double fresh = std::min(kMessage / 4, static_cast<double>(model.layout.numel)) * static_cast<double>(model.compute_bytes());
  memory.parts.push_back({"communication", fresh + rounded});
  if (shared_elements(model, spread).columns > 0)  // the rows of all ranks that share, and the gradient of the student's
    memory.parts.push_back({"rows of other ranks", 2 * static_cast<double>(spread.shards()) * work.in_front});
  memory.parts.push_back({"workspace", kWorkspace});
  memory.parts.push_back({"unused by the allocator", kUnusedShare * memory.total()});
  memory.parts.push_back({"context", kContext});
  return memory;
}

}  // namespace dinoxx::plan
