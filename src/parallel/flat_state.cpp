#include "flat_state.hpp"

#include <ATen/ATen.h>

#include <set>
#include <unordered_map>

#include "dinoxx/base/error.hpp"

namespace dinoxx {
namespace {

std::unordered_map<std::string, at::Tensor> matched(const ParamLayout& layout, const NamedTensors& parameters) {
  if (parameters.size() != layout.segments.size())
    fail("flat state", fmt::format("the layout's {} parameters", layout.segments.size()), fmt::format("{}", parameters.size()), "");
  std::unordered_map<std::string, at::Tensor> by_name;
  for (const NamedTensor& parameter : parameters) by_name[parameter.name] = parameter.tensor;
  const at::Device device = parameters[0].tensor.device();
  for (const Segment& segment : layout.segments) {
    const auto found = by_name.find(segment.name);
    if (found == by_name.end())
      fail("flat state", fmt::format("a parameter named {}", segment.name), "none", "The layout belongs to another network");
    const at::Tensor& tensor = found->second;
    if (tensor.sizes() != at::IntArrayRef(segment.shape) || tensor.device() != device)
      fail(segment.name, fmt::format("shape [{}] on {}", fmt::join(segment.shape, ", "), device.str()),
           fmt::format("[{}] on {}", fmt::join(tensor.sizes(), ", "), tensor.device().str()), "The layout belongs to another network");
  }
  return by_name;
}

at::Tensor slice(const at::Tensor& flat, const Segment& segment) {
  return flat.narrow(0, segment.offset, segment.numel);
}

// The memory behind a tensor and all its views, taken away and given again. What was in it is lost.
void drop_memory(const at::Tensor& tensor) {
  c10::StorageImpl* const storage = tensor.storage().unsafeGetStorageImpl();
  storage->set_data_ptr_noswap(at::DataPtr(nullptr, tensor.device()));
  storage->set_nbytes(0);
}
void give_memory(const at::Tensor& tensor) {
  c10::StorageImpl* const storage = tensor.storage().unsafeGetStorageImpl();
  const size_t bytes = tensor.nbytes();
  storage->set_data_ptr_noswap(storage->allocator()->allocate(bytes));
  storage->set_nbytes(bytes);
}

}  // namespace

struct FlatState::Block {
  std::vector<size_t> messages;
  std::vector<std::unique_ptr<Work>> works;
  int held = 0;
  bool here = false;  // has memory, perhaps not its values yet
};

FlatState::FlatState(FlatState&&) noexcept = default;
FlatState::~FlatState() = default;

FlatState::FlatState(const ParamLayout& layout, const NamedTensors& parameters, bool with_grad, at::ScalarType master_dtype,
                     std::optional<at::ScalarType> compute_dtype, std::shared_ptr<const Shards> of_shards)
    : shards(std::move(of_shards)) {
  at::NoGradGuard no_grad;
  std::unordered_map<std::string, at::Tensor> by_name = matched(layout, parameters);
  const at::TensorOptions options = at::TensorOptions(master_dtype).device(parameters[0].tensor.device());
  const at::ScalarType compute_type = compute_dtype.value_or(parameters[0].tensor.scalar_type());
  const ParamLayout& mine = shards ? shards->owned : layout;

  master = at::zeros({mine.numel}, options);
  compute = compute_type == master_dtype ? master : at::zeros({mine.numel}, options.dtype(compute_type));
  if (shards && (shards->blocks > 0 || shards->any_columns())) {
    blocks_.resize(static_cast<size_t>(shards->blocks));
    for (size_t m = 0; m < shards->messages.size(); ++m) {
      if (shards->by_columns(m))
        by_message_.emplace_back();
      else
        by_message_.push_back(at::zeros({shards->messages[m].end - shards->messages[m].begin}, options.dtype(compute_type)));
      if (shards->comes_and_goes(m)) blocks_[static_cast<size_t>(shards->messages[m].block)].messages.push_back(m);
    }
  } else {
    values = shards ? at::zeros({layout.numel}, options.dtype(compute_type)) : compute;
  }
  if (with_grad) {
    grad = at::zeros({mine.numel}, options);
    if (!shards)
      whole_grad = grad;
    else if (shards->sharing == Sharing::kState)
      whole_grad = at::zeros({layout.numel}, options);
  }
  size_t m = 0;  // the message of the segment
  for (size_t s = 0; s < layout.segments.size(); ++s) {
    const Segment &segment = layout.segments[s], &own = mine.segments[s];
    at::Tensor tensor = by_name.at(segment.name);  // a handle: the model's own copies see what set_data does
    while (shards && shards->messages[m].end <= segment.offset) ++m;
    slice(master, own).copy_(tensor.flatten().narrow(0, own.first, own.numel));
    at::Tensor place;
    std::vector<int64_t> shape = segment.shape;
    if (shards && shards->by_columns(m)) {
      shape.front() = own.numel / (segment.numel / shape.front());
      place = slice(compute, own);  // gets its values with the cast
    } else {
      place = by_message_.empty() ? slice(values, segment)
                                  : by_message_[m].narrow(0, segment.offset - shards->messages[m].begin, segment.numel);
      place.copy_(tensor.flatten());
    }
    tensor.set_requires_grad(false);
    tensor.mutable_grad() = at::Tensor();
    tensor.set_data(place.view(shape));
    if (with_grad && segment.trainable) {
      tensor.set_requires_grad(true);
      if (whole_grad.defined()) tensor.mutable_grad() = slice(whole_grad, segment).view(segment.shape);
    }
  }
  cast();
  for (const Block& block : blocks_)
    for (const size_t message : block.messages) drop_memory(by_message_[message]);
}

void FlatState::cast() {
  if (compute.is_same(master)) return;
  at::NoGradGuard no_grad;
  compute.copy_(master);
}

at::Tensor FlatState::message_values(size_t m) const {
  return by_message_.empty() ? shards->message(values, m) : by_message_[m];
}

void FlatState::post_values() {
  if (!shards) return;
  wait_for_values();
  for (size_t m = 0; m < shards->messages.size(); ++m)
    if (!shards->comes_and_goes(m) && !shards->by_columns(m))
      on_their_way_.push_back(shards->ranks->all_gather(message_values(m), shards->part(compute, m)));
}

void FlatState::bring(Block& block) {
  if (block.here) return;
  block.here = true;
  for (const size_t m : block.messages) {
    give_memory(by_message_[m]);
    block.works.push_back(shards->weights->all_gather(by_message_[m], shards->part(compute, m)));
  }
}

std::shared_ptr<void> FlatState::hold_block(size_t number, bool backward) {
  if (number >= blocks_.size()) return nullptr;
  Block& block = blocks_[number];
  const at::NoGradGuard no_grad;
  bring(block);
  const size_t next = backward ? number - 1 : number + 1;  // of block 0 the one before is none
  if (next < blocks_.size()) bring(blocks_[next]);
  for (size_t i = 0; i < block.works.size(); ++i) {
    const auto bytes = static_cast<int64_t>(by_message_[block.messages[i]].nbytes());
    brought_ += bytes;
    if (block.works[i]->test()) in_time_ += bytes;
    block.works[i]->wait();
  }
  block.works.clear();
  ++block.held;
  return {this, [number](FlatState* state) { state->let_go(number); }};
}

double FlatState::share_in_time() {
  const int64_t all = std::exchange(brought_, 0), in_time = std::exchange(in_time_, 0);
  return all > 0 ? static_cast<double>(in_time) / static_cast<double>(all) : 1;
}

std::vector<std::shared_ptr<void>> FlatState::hold_all() {
  std::vector<std::shared_ptr<void>> all;
  for (size_t b = 0; b < blocks_.size(); ++b) all.push_back(hold_block(b, /*backward=*/false));
  return all;
}

void FlatState::let_go(size_t number) {
  Block& block = blocks_[number];
  if (--block.held > 0) return;
  block.here = false;
  for (const size_t m : block.messages) drop_memory(by_message_[m]);
}

void FlatState::wait_for_values() {
  for (const auto& work : on_their_way_) work->wait();
  on_their_way_.clear();
}

void FlatState::publish() {
  cast();
  post_values();
  wait_for_values();
}

size_t FlatState::bytes() const {
  std::set<const c10::StorageImpl*> storages;  // one may stand for several
  const auto add = [&](const at::Tensor& buffer) {
    if (buffer.defined()) storages.insert(buffer.storage().unsafeGetStorageImpl());
  };
  for (const at::Tensor* buffer : {&master, &compute, &grad, &values, &whole_grad}) add(*buffer);
  for (const at::Tensor& buffer : by_message_) add(buffer);
  size_t all = 0;
  for (const c10::StorageImpl* storage : storages) all += storage->nbytes();
  return all;
}

void FlatState::zero_grad() {
  if (whole_grad.defined()) whole_grad.zero_();
}

void FlatState::sum_over_shards(const at::Tensor& parts) const {
  if (shards) shards->ranks->all_reduce(parts, ReduceOp::kSum)->wait();
}

at::Tensor FlatState::whole_segment(const ParamLayout& layout, const at::Tensor& buffer, size_t segment, bool wanted) const {
  at::NoGradGuard no_grad;
  const Segment& whole = layout.segments[segment];
  if (!shards) return wanted ? slice(buffer, whole).view(whole.shape).cpu() : at::Tensor();
  // The owners' bits, added up as integers: every one has a zero but where it owns, and -0.0 keeps its sign.
  const at::ScalarType bits = buffer.element_size() == 8 ? at::kLong : at::kInt;
  const at::Tensor all = at::zeros({whole.numel}, buffer.options().dtype(bits));
  const Segment& own = shards->owned.segments[segment];
  all.narrow(0, own.first, own.numel).copy_(slice(buffer, own).view(bits));
  shards->ranks->all_reduce(all, ReduceOp::kSum)->wait();
  return wanted ? all.view(buffer.scalar_type()).view(whole.shape).cpu() : at::Tensor();
}

}  // namespace dinoxx
