#include "thread_communicator.hpp"

#include <ATen/ATen.h>

#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>

#include "checks.hpp"

namespace dinoxx {
namespace {

using namespace comm_detail;
using Clock = std::chrono::steady_clock;

enum class Kind { kAllReduce, kReduceScatter, kAllGather, kBroadcast, kBarrier, kSplit };
const char* kind_name(Kind kind) {
  constexpr const char* kNames[] = {"all_reduce", "reduce_scatter", "all_gather", "broadcast", "barrier", "split"};
  return kNames[static_cast<int>(kind)];
}

/// One rank's part of an operation.
struct Call {
  Kind kind = Kind::kBarrier;
  at::Tensor output, input;
  ReduceOp op = ReduceOp::kSum;
  int root = 0, color = 0, key = 0;
};

struct Group;

/// An operation on its way: filled call by call, executed by the rank that comes last.
struct Slot {
  std::vector<std::optional<Call>> calls;
  int arrived = 0;
  bool done = false;
  std::string error;
  std::vector<std::shared_ptr<Communicator>> parts;  // result of a split, by rank
};

/// What all groups of one make_thread_communicators() share. One mutex for all: this back end is for tests.
struct Shared {
  std::mutex mutex;
  std::condition_variable changed;
  bool abandoned = false;
  std::chrono::milliseconds patience;
};

struct Group {
  Group(int size, std::shared_ptr<Shared> shared) : size(size), shared(std::move(shared)), posted(size, 0) {}
  const int size;
  const std::shared_ptr<Shared> shared;
  std::vector<int64_t> posted;                     // operations per rank so far
  std::map<int64_t, std::shared_ptr<Slot>> slots;  // by sequence number; removed when executed
};

// Sum in rank order; bf16 in float32 and rounded once.
at::Tensor reduced(const std::vector<at::Tensor>& parts, ReduceOp op) {
  const at::ScalarType type = parts[0].scalar_type();
  const at::ScalarType wide = type == at::kBFloat16 ? at::kFloat : type;
  at::Tensor sum = parts[0].to(wide, false, true);
  for (size_t r = 1; r < parts.size(); ++r) {
    const at::Tensor next = parts[r].to(wide);
    if (op == ReduceOp::kSum || op == ReduceOp::kSumOnWire) {
      sum.add_(next);
    } else {
      sum = op == ReduceOp::kMax ? at::maximum(sum, next) : at::minimum(sum, next);
    }
  }
  return sum.to(type);
}

class ThreadCommunicator : public Communicator {
 public:
  ThreadCommunicator(std::shared_ptr<Group> group, int rank) : group_(std::move(group)), rank_(rank) {}
  int rank() const override { return rank_; }
  int size() const override { return group_->size; }
  std::string name() const override { return "thread"; }
  Group& group() { return *group_; }

  std::unique_ptr<Work> all_reduce(at::Tensor tensor, ReduceOp op) override {
    check_tensor(*this, "all_reduce", tensor);
    return post({Kind::kAllReduce, tensor, tensor, op});
  }
  std::unique_ptr<Work> reduce_scatter(at::Tensor output, at::Tensor input) override {
    check_pair(*this, "reduce_scatter", input, output);
    return post({Kind::kReduceScatter, output, input});
  }
  std::unique_ptr<Work> all_gather(at::Tensor output, at::Tensor input) override {
    check_pair(*this, "all_gather", output, input);
    return post({Kind::kAllGather, output, input});
  }
  std::unique_ptr<Work> broadcast(at::Tensor tensor, int root) override {
    check_tensor(*this, "broadcast", tensor);
    check_root(*this, "broadcast", root);
    return post({Kind::kBroadcast, tensor, tensor, ReduceOp::kSum, root});
  }
  void barrier() override { post({Kind::kBarrier})->wait(); }
  std::shared_ptr<Communicator> split(int color, int key) override {
    require(color >= 0, *this, "split", "a colour of 0 or more", fmt::format("{}", color));
    std::unique_ptr<Work> work = post({Kind::kSplit, {}, {}, ReduceOp::kSum, 0, color, key});
    work->wait();
    return static_cast<SlotWork&>(*work).slot().parts[rank_];
  }

 private:
  class SlotWork : public Work {
   public:
    SlotWork(std::shared_ptr<Slot> slot, std::shared_ptr<Shared> shared, std::string subject)
        : slot_(std::move(slot)), shared_(std::move(shared)), subject_(std::move(subject)) {}
    ~SlotWork() override {
      if (finished_ || std::uncaught_exceptions() > unwinding_) return;
      try {
        wait();
      } catch (const std::exception&) {  // abandoned: the rank that failed says why
      }
    }
    void wait() override {
      if (finished_) return;
      std::unique_lock lock(shared_->mutex);
      const bool in_time = shared_->changed.wait_for(lock, shared_->patience, [this] { return slot_->done || shared_->abandoned; });
      if (!in_time) {
        std::vector<int> missing;
        for (size_t r = 0; r < slot_->calls.size(); ++r) {
          if (!slot_->calls[r]) missing.push_back(static_cast<int>(r));
        }
        finished_ = true;
        fail(subject_, fmt::format("all ranks within {} ms", shared_->patience.count()),
             fmt::format("no call by rank(s) {}", fmt::join(missing, ", ")), "");
      }
      finish();
    }
    bool test() override {
      if (finished_) return true;
      std::lock_guard lock(shared_->mutex);
      if (slot_->done || shared_->abandoned) finish();
      return finished_;
    }
    Slot& slot() { return *slot_; }

   private:
    void finish() {
      finished_ = true;
      if (!slot_->done) fail(subject_, "all ranks", "a group that was abandoned", "See the error of the rank that failed");
      if (!slot_->error.empty()) throw Error(slot_->error);
    }
    std::shared_ptr<Slot> slot_;
    std::shared_ptr<Shared> shared_;
    std::string subject_;
    bool finished_ = false;
    const int unwinding_ = std::uncaught_exceptions();
  };

  std::unique_ptr<Work> post(Call call) {
    const std::string what = subject(*this, kind_name(call.kind));
    std::lock_guard lock(group_->shared->mutex);
    if (group_->shared->abandoned) fail(what, "all ranks", "a group that was abandoned", "See the error of the rank that failed");
    const int64_t sequence = group_->posted[rank_]++;
    std::shared_ptr<Slot>& entry = group_->slots[sequence];
    if (!entry) {
      entry = std::make_shared<Slot>();
      entry->calls.resize(group_->size);
    }
    const std::shared_ptr<Slot> slot = entry;
    slot->calls[rank_] = std::move(call);
    if (++slot->arrived == group_->size) {
      group_->slots.erase(sequence);
      try {
        execute(*slot);
      } catch (const std::exception& error) {
        slot->error = error.what();
      }
      slot->calls.assign(slot->calls.size(), std::nullopt);  // let the tensors go
      slot->done = true;
      group_->shared->changed.notify_all();
    }
    return std::make_unique<SlotWork>(slot, group_->shared, what);
  }

  // Runs on the last rank's thread; the other ranks may not touch their tensors before wait() or a true test().
  void execute(Slot& slot) {
    at::NoGradGuard no_grad;
    const Call& mine = *slot.calls[0];  // compared with rank 0's, whoever came last
    std::vector<at::Tensor> inputs, outputs;
    for (int r = 0; r < size(); ++r) {
      const Call& call = *slot.calls[r];
      require_same(r, "operation", kind_name(mine.kind), kind_name(call.kind));
      if (mine.input.defined()) {
        require_same(r, "count", std::to_string(mine.input.numel()), std::to_string(call.input.numel()));
        require_same(r, "type", c10::toString(mine.input.scalar_type()), c10::toString(call.input.scalar_type()));
        require_same(r, "reduction", std::to_string(static_cast<int>(mine.op)), std::to_string(static_cast<int>(call.op)));
        require_same(r, "root", std::to_string(mine.root), std::to_string(call.root));
        inputs.push_back(call.input.view({-1}));
        outputs.push_back(call.output.view({-1}));
      }
    }
    switch (mine.kind) {
      case Kind::kAllReduce: {
        const at::Tensor sum = reduced(inputs, mine.op);
        for (at::Tensor& output : outputs) output.copy_(sum);
        break;
      }
      case Kind::kReduceScatter: {
        const at::Tensor sum = reduced(inputs, ReduceOp::kSum).view({size(), -1});
        for (int r = 0; r < size(); ++r) outputs[r].copy_(sum[r]);
        break;
      }
      case Kind::kAllGather: {
        const at::Tensor all = at::cat(inputs);
        for (at::Tensor& output : outputs) output.copy_(all);
        break;
      }
      case Kind::kBroadcast: {
        const at::Tensor source = inputs[mine.root].clone();
        for (at::Tensor& output : outputs) output.copy_(source);
        break;
      }
      case Kind::kBarrier:
        break;
      case Kind::kSplit:
        split_group(slot);
        break;
    }
  }

  void require_same(int other, const char* what, const std::string& mine, const std::string& theirs) {
    if (mine == theirs) return;
    fail(fmt::format("thread group, operation {}", group_->posted[rank_] - 1), "the same call on all ranks",
         fmt::format("{} {} on rank 0 and {} on rank {}", what, mine, theirs, other), "");
  }

  void split_group(Slot& slot) {
    slot.parts.resize(size());
    std::map<int, std::vector<std::pair<int, int>>> members;  // colour -> (key, rank)
    for (int r = 0; r < size(); ++r) members[slot.calls[r]->color].emplace_back(slot.calls[r]->key, r);
    for (auto& [color, ranks] : members) {
      std::sort(ranks.begin(), ranks.end());
      auto part = std::make_shared<Group>(static_cast<int>(ranks.size()), group_->shared);
      for (size_t i = 0; i < ranks.size(); ++i)
        slot.parts[ranks[i].second] = std::make_shared<ThreadCommunicator>(part, static_cast<int>(i));
    }
  }

  std::shared_ptr<Group> group_;
  int rank_;
};

}  // namespace

std::vector<std::shared_ptr<Communicator>> make_thread_communicators(int size, std::chrono::milliseconds patience) {
  if (size < 1) fail("thread communicators", "at least one rank", std::to_string(size), "");
  auto shared = std::make_shared<Shared>();
  shared->patience = patience;
  auto group = std::make_shared<Group>(size, shared);
  std::vector<std::shared_ptr<Communicator>> all;
  all.reserve(static_cast<size_t>(size));
  for (int r = 0; r < size; ++r) all.push_back(std::make_shared<ThreadCommunicator>(group, r));
  return all;
}

void abandon_thread_group(Communicator& communicator) {
  auto* mine = dynamic_cast<ThreadCommunicator*>(&communicator);
  if (mine == nullptr) fail("abandon_thread_group", "a thread communicator", communicator.name(), "");
  std::lock_guard lock(mine->group().shared->mutex);
  mine->group().shared->abandoned = true;
  mine->group().shared->changed.notify_all();
}

}  // namespace dinoxx
