// Gradient averaging overlapped with backward. The one file that touches LibTorch's hook interface, which is not a stable one.
#include <ATen/ATen.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <unordered_map>

#include "dinoxx/base/error.hpp"
#include "gradient_gather.hpp"
#include "gradient_sync.hpp"

namespace dinoxx {
namespace {

constexpr int64_t kGpuMessage = 25'000'000;  // bytes

struct Hook : torch::autograd::PostAccumulateGradHook {
  explicit Hook(std::function<void()> call) : call(std::move(call)) {}
  void operator()(const at::Tensor&) override { call(); }
  std::function<void()> call;
};

// Neighbours together until they have `bytes`; the layout, and so checkpoints, stay as they are.
std::vector<Bucket> together(const std::vector<Bucket>& buckets, int64_t bytes, int64_t element_size) {
  std::vector<Bucket> messages;
  for (const Bucket& bucket : buckets) {
    if (messages.empty() || (messages.back().end - messages.back().begin) * element_size >= bytes) {
      messages.push_back(bucket);
    } else {
      messages.back().end = bucket.end;
      messages.back().last_segment = bucket.last_segment;
    }
  }
  return messages;
}

}  // namespace

struct GradientSync::Impl {
  Impl(std::shared_ptr<Communicator> comm, const ParamLayout& layout, FlatState& state, GradientPath path)
      : comm(std::move(comm)),
        layout(layout),
        state(state),
        gathered(path.gathered),
        narrow(path.bf16 && this->comm->size() > 1),
        buckets(together(layout.buckets, path.message_bytes, state.grad.element_size())) {}

  std::shared_ptr<Communicator> comm;
  const ParamLayout layout;
  FlatState& state;
  const bool gathered, narrow;
  const std::vector<Bucket> buckets;   // that travel together
  std::vector<at::Tensor> parameters;  // by segment; undefined where not trainable
  std::vector<int> bucket_of;          // by segment
  std::vector<int> trainable;          // segments, by bucket

  bool armed = false;
  bool first_step = true;
  int accumulations = 1;
  std::vector<int> arrived;  // gradients added, by segment
  std::vector<int> pending;  // segments that wait for a gradient, by bucket
  size_t next_bucket = 0;    // the first bucket not posted
  std::vector<std::unique_ptr<Work>> works;
  std::vector<at::Tensor> sent;  // narrow: what travels, by bucket
  size_t oldest = 0;             // the first work not known to be done
  std::vector<BucketEvent> events;
  // gathered:
  std::vector<at::Tensor> held;  // by segment: a gradient that is not in the buffer yet
  std::vector<int> held_count;   // by bucket
  std::vector<bool> written;     // by segment: the buffer has a gradient of this step

  at::Tensor bucket_grad(size_t b) const { return state.grad.narrow(0, buckets[b].begin, buckets[b].end - buckets[b].begin); }
  at::Tensor segment_grad(size_t s) const {
    return state.grad.narrow(0, layout.segments[s].offset, layout.segments[s].numel).view(layout.segments[s].shape);
  }
  void log(BucketEvent::Kind kind, int bucket) {
    const int64_t element = narrow ? 2 : state.grad.element_size();
    const int64_t bytes = bucket < 0 ? 0 : (buckets[bucket].end - buckets[bucket].begin) * element;
    events.push_back({kind, bucket, bytes, static_cast<int>(events.size())});
  }

  void on_gradient(size_t segment) {
    if (!armed) return;  // a backward that is not part of a step, as in a probe
    if (++arrived[segment] > accumulations) {
      fail(layout.segments[segment].name, fmt::format("{} gradient(s) in this step", accumulations), "one more",
           "Its bucket has left already; tell GradientSync::begin() how many backward passes there are");
    }
    if (gathered) take(segment);
    if (arrived[segment] == accumulations) --pending[bucket_of[segment]];
    post_ready();
    progress();
  }

  void take(size_t segment) {
    const auto b = static_cast<size_t>(bucket_of[segment]);
    if (held[segment].defined()) write_held(b);  // of the pass before, in which another segment got none
    std::swap(held[segment], parameters[segment].mutable_grad());
    if (++held_count[b] == trainable[b]) write_held(b);
  }
  void write_held(size_t b) {
    std::vector<parallel_detail::FreshGradient> fresh;
    for (int i = buckets[b].first_segment; i < buckets[b].last_segment; ++i) {
      const auto s = static_cast<size_t>(i);
      if (!held[s].defined()) continue;
      fresh.push_back({std::move(held[s]), layout.segments[s].offset, written[s]});
      held[s] = at::Tensor();
      written[s] = true;
    }
    held_count[b] = 0;
    if (!fresh.empty()) parallel_detail::gather_gradients(fresh, state.grad);
  }

  // In index order whatever the order of arrival: the ranks must post the same sequence.
  void post_ready() {
    while (next_bucket < pending.size() && pending[next_bucket] == 0) post_next();
  }
  void post_next() {
    const int b = static_cast<int>(next_bucket++);
    if (gathered) write_held(static_cast<size_t>(b));
    log(BucketEvent::Kind::kPosted, b);
    if (!narrow) {
      works.push_back(comm->all_reduce(bucket_grad(b), ReduceOp::kSum));
      return;
    }
    const at::NoGradGuard no_grad;
    sent.push_back(bucket_grad(b).to(at::kBFloat16));
    works.push_back(comm->all_reduce(sent.back(), ReduceOp::kSumOnWire));
  }

  void progress() {
    for (size_t b = oldest; b < works.size(); ++b) {
      if (works[b] && works[b]->test()) completed(b);
    }
    while (oldest < works.size() && !works[oldest]) ++oldest;
  }
  void completed(size_t b) {
    works[b].reset();
    if (narrow) {
      const at::NoGradGuard no_grad;
      bucket_grad(b).copy_(sent[b]);
      sent[b] = at::Tensor();
    }
    log(BucketEvent::Kind::kCompleted, static_cast<int>(b));
  }

  // An optimizer's or a module's zero_grad() would drop the views, and the gradients would silently no longer arrive in the buffer.
  // Gathered ones are taken by the hooks: one that is still there had none.
  void check_views() const {
    for (size_t s = 0; s < parameters.size(); ++s) {
      if (!parameters[s].defined()) continue;
      if (gathered) {
        if (parameters[s].grad().defined())
          fail(layout.segments[s].name, "a gradient that the hook has taken", "one in .grad",
               "Leave .grad and the hook of a parameter to GradientSync");
        continue;
      }
      const char* expected = static_cast<char*>(state.grad.data_ptr()) + layout.segments[s].offset * state.grad.element_size();
      const at::Tensor& grad = parameters[s].grad();
      if (!grad.defined() || grad.data_ptr() != expected) {
        fail(layout.segments[s].name, "a gradient inside the flat buffer", grad.defined() ? "another tensor" : "none",
             "Use FlatState::zero_grad() and nothing else to clear gradients");
      }
    }
  }
};

GradientPath gradient_path(at::Device device) {
  return device.is_cpu() ? GradientPath{} : GradientPath{.gathered = true, .message_bytes = kGpuMessage};
}

GradientSync::GradientSync(std::shared_ptr<Communicator> comm, const ParamLayout& layout, const NamedTensors& parameters, FlatState& state,
                           std::optional<GradientPath> path) {
  if (!state.grad.defined()) fail("GradientSync", "a FlatState with gradients", "one without", "Construct it with with_grad = true");
  impl_ = std::make_unique<Impl>(std::move(comm), layout, state, path.value_or(gradient_path(state.grad.device())));
  Impl& impl = *impl_;
  std::unordered_map<std::string, at::Tensor> by_name;
  for (const NamedTensor& parameter : parameters) by_name[parameter.name] = parameter.tensor;
  impl.parameters.resize(layout.segments.size());
  impl.bucket_of.resize(layout.segments.size());
  for (size_t b = 0; b < impl.buckets.size(); ++b) {
    for (int s = impl.buckets[b].first_segment; s < impl.buckets[b].last_segment; ++s) impl.bucket_of[s] = static_cast<int>(b);
  }
  impl.trainable.assign(impl.buckets.size(), 0);
  impl.held.resize(layout.segments.size());
  for (size_t s = 0; s < layout.segments.size(); ++s) {
    if (!layout.segments[s].trainable) continue;
    const auto found = by_name.find(layout.segments[s].name);
    if (found == by_name.end()) fail("GradientSync", fmt::format("a parameter named {}", layout.segments[s].name), "none", "");
    impl.parameters[s] = found->second;
    ++impl.trainable[static_cast<size_t>(impl.bucket_of[s])];
    if (impl.gathered) impl.parameters[s].mutable_grad() = at::Tensor();
  }
  impl.check_views();
  for (size_t s = 0; s < layout.segments.size(); ++s) {
    if (!impl.parameters[s].defined()) continue;
    torch::autograd::impl::set_post_acc_grad_hooks(impl.parameters[s], std::make_unique<Hook>([&impl, s] { impl.on_gradient(s); }));
  }
}

GradientSync::~GradientSync() {
  for (size_t s = 0; s < impl_->parameters.size(); ++s) {
    const at::Tensor& parameter = impl_->parameters[s];
    if (!parameter.defined()) continue;
    torch::autograd::impl::set_post_acc_grad_hooks(parameter, nullptr);
    if (impl_->gathered) parameter.mutable_grad() = impl_->segment_grad(s);
  }
}

void GradientSync::begin(int accumulations) {
  Impl& impl = *impl_;
  if (accumulations < 1) fail("GradientSync::begin", "one backward pass or more", fmt::format("{}", accumulations), "");
  impl.works.clear();  // waits for those of a step that was given up
  impl.sent.clear();
  impl.oldest = impl.next_bucket = 0;
  impl.events.clear();
  impl.accumulations = accumulations;
  impl.arrived.assign(impl.layout.segments.size(), 0);
  impl.pending = impl.trainable;
  if (impl.gathered) {
    impl.held.assign(impl.layout.segments.size(), at::Tensor());
    impl.held_count.assign(impl.buckets.size(), 0);
    impl.written.assign(impl.layout.segments.size(), false);
    for (const at::Tensor& parameter : impl.parameters)  // of a backward between the steps
      if (parameter.defined()) parameter.mutable_grad() = at::Tensor();
  }
  impl.armed = true;
}

void GradientSync::progress() {
  impl_->progress();
}

void GradientSync::finish() {
  Impl& impl = *impl_;
  if (!impl.armed) fail("GradientSync::finish", "begin() before it", "none", "");
  impl.log(BucketEvent::Kind::kBackwardEnded, -1);
  impl.armed = false;
  while (impl.next_bucket < impl.pending.size()) impl.post_next();
  for (size_t b = 0; b < impl.works.size(); ++b) {
    if (!impl.works[b]) continue;
    impl.works[b]->wait();
    impl.completed(b);
  }
  impl.works.clear();
  impl.sent.clear();
  impl.oldest = 0;
  impl.check_views();
  if (impl.first_step) {
    // after the collectives, so that no other rank is left waiting in them
    std::vector<std::string> missing;
    for (size_t s = 0; s < impl.parameters.size(); ++s) {
      if (impl.parameters[s].defined() && impl.arrived[s] < impl.accumulations) missing.push_back(impl.layout.segments[s].name);
    }
    if (!missing.empty()) {
      fail("gradients of the first step", "one for every trainable parameter", fmt::format("none for {}", fmt::join(missing, ", ")),
           "Take the parameter into the loss, or do not make it trainable: it holds back the averaging of all that follow it");
    }
    impl.first_step = false;
  }
  if (impl.comm->size() > 1) {
    at::NoGradGuard no_grad;
    impl.state.grad.div_(impl.comm->size());
  }
}

const std::vector<BucketEvent>& GradientSync::events() const {
  return impl_->events;
}

double GradientSync::overlapped_share() const {
  int64_t all = 0, during = 0;
  bool ended = false;
  for (const BucketEvent& event : impl_->events) {
    ended |= event.kind == BucketEvent::Kind::kBackwardEnded;
    if (event.kind != BucketEvent::Kind::kCompleted) continue;
    all += event.bytes;
    if (!ended) during += event.bytes;
  }
  return all > 0 ? static_cast<double>(during) / static_cast<double>(all) : 0.0;
}

void broadcast_parameters(Communicator& comm, FlatState& state) {
  comm.broadcast(state.master, 0)->wait();
  state.publish();
}

}  // namespace dinoxx
