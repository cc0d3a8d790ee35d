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

}  // namespace

struct GradientSync::Impl {
  Impl(std::shared_ptr<Communicator> comm, const ParamLayout& layout, FlatState& state, GradientPath path)
      : comm(std::move(comm)),
        layout(layout),
        state(state),
        shards(state.shards.get()),
        whole(state.whole_grad.defined()),
        gathered(path.gathered || !whole),
        world(this->comm->size() * (shards ? shards->ranks->size() : 1)),
        narrow(path.bf16 && world > 1),
        buckets(shards ? shards->messages : messages_of(layout.buckets, path.message_bytes, state.grad.element_size())) {}

  // What becomes of a bucket between its last gradient and its average.
  struct Message {
    at::Tensor buffer;  // without a whole gradient: the bucket's
    at::Tensor sent;    // what travels
    at::Tensor part;    // sharded: what comes back of it
    std::unique_ptr<Work> work;
    bool scattered = false, settled = false;
  };

  std::shared_ptr<Communicator> comm;
  const ParamLayout layout;
  FlatState& state;
  const Shards* const shards;  // null: not sharded
  const bool whole, gathered;  // each rank holds the whole gradient
  const int world;             // ranks whose gradients are averaged
  const bool narrow;
  const std::vector<Bucket> buckets;   // that travel together
  std::vector<at::Tensor> parameters;  // by segment; undefined where not trainable
  std::vector<int> bucket_of;          // by segment
  std::vector<int> trainable;          // segments, by bucket

  bool armed = false;
  bool first_step = true, all = true;
  int accumulations = 1, pass = 0;
  std::vector<int> arrived;       // gradients added, by segment
  std::vector<int> pending;       // segments that wait for a gradient, by bucket
  std::vector<Message> messages;  // by bucket
  size_t next_bucket = 0;         // the first bucket not posted
  size_t next_summed = 0;         // sharded: the first whose part is not on its way to the other owners
  size_t oldest = 0;              // the first not known to be done
  std::vector<BucketEvent> events;
  // gathered:
  std::vector<at::Tensor> held;  // by segment: a gradient that is not in the buffer yet
  std::vector<int> held_count;   // by bucket
  std::vector<bool> written;     // by segment: the buffer has a gradient of this step

  at::Tensor bucket_grad(size_t b) {
    if (whole) return state.whole_grad.narrow(0, buckets[b].begin, buckets[b].end - buckets[b].begin);
    const int64_t length = buckets[b].end - buckets[b].begin, parts = buckets[b].columns ? shards->ranks->size() : 1;
    if (!messages[b].buffer.defined()) messages[b].buffer = at::zeros({length / parts}, state.grad.options());
    return messages[b].buffer;
  }
  at::Tensor segment_grad(size_t s) const {
    return state.whole_grad.narrow(0, layout.segments[s].offset, layout.segments[s].numel).view(layout.segments[s].shape);
  }
  void log(BucketEvent::Kind kind, int bucket) {
    const int64_t element = narrow ? 2 : state.grad.element_size();
    const int64_t bytes = bucket < 0 || buckets[bucket].columns ? 0 : (buckets[bucket].end - buckets[bucket].begin) * element;
    events.push_back({kind, bucket, bytes, static_cast<int>(events.size())});
  }

  void begin_pass() {
    messages.clear();  // waits for those of a step that was given up
    messages.resize(buckets.size());
    oldest = next_bucket = next_summed = 0;
    pending = trainable;
    if (!gathered) return;
    held.assign(layout.segments.size(), at::Tensor());
    held_count.assign(buckets.size(), 0);
    written.assign(layout.segments.size(), false);
  }
  void end_pass() {
    while (next_bucket < buckets.size()) post_next();
    for (size_t b = 0; b < buckets.size(); ++b) {
      while (messages[b].work) {
        messages[b].work->wait();
        advance(b);
      }
    }
  }

  void on_gradient(size_t segment) {
    if (!armed) return;  // a backward that is not part of a step, as in a probe
    const int due = whole ? accumulations : pass + 1;
    if (++arrived[segment] > due) {
      fail(layout.segments[segment].name, fmt::format("{} gradient(s) in this step", due), "one more",
           "Its bucket has left already; tell GradientSync::begin() how many backward passes there are");
    }
    if (gathered) take(segment);
    if (arrived[segment] == due) --pending[bucket_of[segment]];
    while (next_bucket < buckets.size() && pending[next_bucket] == 0) post_next();
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
      fresh.push_back({std::move(held[s]), layout.segments[s].offset - buckets[b].begin, written[s]});
      held[s] = at::Tensor();
      written[s] = true;
    }
    held_count[b] = 0;
    const at::NoGradGuard no_grad;
    if (!fresh.empty()) parallel_detail::gather_gradients(fresh, bucket_grad(b));
  }

  // In index order whatever the order of arrival: the ranks must post the same sequence.
  void post_next() {
    const size_t b = next_bucket++;
    if (gathered) write_held(b);
    log(BucketEvent::Kind::kPosted, static_cast<int>(b));
    const at::NoGradGuard no_grad;
    Message& message = messages[b];
    const bool alone = shards && shards->by_columns(b) && comm->size() == 1;  // nothing travels
    message.sent = narrow && !alone ? bucket_grad(b).to(at::kBFloat16) : bucket_grad(b);
    if (!shards) {
      message.work = comm->all_reduce(message.sent, narrow ? ReduceOp::kSumOnWire : ReduceOp::kSum);
      return;
    }
    if (shards->by_columns(b)) {
      message.part = std::exchange(message.sent, {});
      return advance(b);
    }
    const at::Tensor own = shards->part(state.grad, b);
    message.part = narrow || pass > 0 ? at::empty_like(own, message.sent.options()) : own;
    message.work = shards->ranks->reduce_scatter(message.part, message.sent);
  }

  void progress() {
    for (size_t b = oldest; b < next_bucket; ++b) {
      if (messages[b].work && messages[b].work->test()) advance(b);
    }
    while (oldest < next_bucket && messages[oldest].settled) ++oldest;
  }
  // A collective of this bucket is over.
  void advance(size_t b) {
    Message& message = messages[b];
    message.work.reset();
    if (!shards || message.scattered) return settle(b);
    message.scattered = true;
    message.sent = message.buffer = at::Tensor();
    for (; next_summed < next_bucket && messages[next_summed].scattered; ++next_summed)
      messages[next_summed].work = comm->all_reduce(messages[next_summed].part, narrow ? ReduceOp::kSumOnWire : ReduceOp::kSum);
  }
  void settle(size_t b) {
    const at::NoGradGuard no_grad;
    Message& message = messages[b];
    if (!shards && narrow) bucket_grad(b).copy_(message.sent);
    if (shards && pass > 0) shards->part(state.grad, b).add_(message.part);
    if (shards && pass == 0 && (narrow || shards->by_columns(b))) shards->part(state.grad, b).copy_(message.part);
    message.sent = message.part = at::Tensor();
    message.settled = true;
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
      const char* expected = static_cast<char*>(state.whole_grad.data_ptr()) + layout.segments[s].offset * state.grad.element_size();
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
    if (impl_->gathered && impl_->whole) parameter.mutable_grad() = impl_->segment_grad(s);
  }
}

void GradientSync::begin(int accumulations, bool all) {
  Impl& impl = *impl_;
  if (accumulations < 1) fail("GradientSync::begin", "one backward pass or more", fmt::format("{}", accumulations), "");
  impl.events.clear();
  impl.accumulations = accumulations;
  impl.all = all;
  impl.pass = 0;
  impl.arrived.assign(impl.layout.segments.size(), 0);
  impl.begin_pass();
  if (impl.gathered) {
    for (const at::Tensor& parameter : impl.parameters)  // of a backward between the steps
      if (parameter.defined()) parameter.mutable_grad() = at::Tensor();
  }
  impl.armed = true;
}

void GradientSync::end_pass() {
  Impl& impl = *impl_;
  if (impl.whole) return;  // gradients add up where they lie
  impl.end_pass();
  ++impl.pass;
  impl.begin_pass();
}

void GradientSync::progress() {
  impl_->progress();
}

void GradientSync::finish() {
  Impl& impl = *impl_;
  if (!impl.armed) fail("GradientSync::finish", "begin() before it", "none", "");
  impl.log(BucketEvent::Kind::kBackwardEnded, -1);
  impl.armed = false;
  impl.end_pass();
  impl.messages.clear();
  impl.oldest = impl.next_bucket = impl.next_summed = 0;
  impl.check_views();
  if (impl.first_step && impl.all) {
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
  if (impl.world > 1) {
    at::NoGradGuard no_grad;
    impl.state.grad.div_(impl.world);
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
