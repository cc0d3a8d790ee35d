#include "loader.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "base/rng.hpp"
#include "dinoxx/base/error.hpp"
#include "loader_slab.hpp"
#include "loader_source.hpp"

namespace dinoxx {
namespace {

using Clock = std::chrono::steady_clock;
int64_t nanoseconds(Clock::duration d) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(d).count();
}

constexpr int kMaxWorkers = 1024, kMaxRing = 64;

void check(const Dataset* dataset, const std::vector<uint64_t>& ids, const std::vector<ViewPlan>& plans, const LoaderConfig& c) {
  if (dataset == nullptr) fail("loader", "a data set", "none", "Open one first.");
  if (ids.empty())
    fail_usage("loader", "at least one sample", "an empty split", "Check which split is trained on and how the data was packed.");
  const auto bad_id = std::find_if(ids.begin(), ids.end(), [&](uint64_t id) { return id >= dataset->size(); });
  if (bad_id != ids.end()) {
    fail("loader", fmt::format("sample ids below {}", dataset->size()), fmt::format("{}", *bad_id), "Take ids from this data set.");
  }
  if (c.global_batch < 1) fail_usage("batch size", "at least 1", fmt::format("{}", c.global_batch), "Give a positive batch size.");
  if (c.world_size < 1 || c.rank < 0 || c.rank >= c.world_size) {
    fail("loader", "0 <= rank < world size", fmt::format("rank {} of {}", c.rank, c.world_size), "Pass the communicator's rank and size.");
  }
  if (c.global_batch % c.world_size != 0) {
    fail_usage("batch size", fmt::format("a multiple of the {} ranks", c.world_size), fmt::format("{}", c.global_batch),
               fmt::format("Use a batch of {} or {}, or another number of ranks.",
                           std::max(1, c.global_batch / c.world_size) * c.world_size, (c.global_batch / c.world_size + 1) * c.world_size));
  }
  if (static_cast<uint64_t>(c.global_batch) > ids.size()) {
    fail_usage("batch size", fmt::format("at most the {} samples of the data set", ids.size()), fmt::format("{}", c.global_batch),
               "Use a smaller batch or more data.");
  }
  if (c.workers < 1 || c.workers > kMaxWorkers) {
    fail_usage("loader workers", fmt::format("1 to {}", kMaxWorkers), fmt::format("{}", c.workers),
               "One worker per free core is a good start.");
  }
  if (c.ring < 2 || c.ring > kMaxRing) {
    fail_usage("loader ring", fmt::format("2 to {} batches", kMaxRing), fmt::format("{}", c.ring), "3 is a good start.");
  }
  if (!(c.max_bad_fraction >= 0.0 && c.max_bad_fraction <= 1.0)) {
    fail_usage("bad fraction", "a share from 0 to 1", fmt::format("{}", c.max_bad_fraction), "0.001 is the default.");
  }
  if (plans.empty()) fail("loader", "at least one view plan", "none", "Give it one.");
  for (const ViewPlan& plan : plans) check_view_plan(plan);
}

}  // namespace

size_t plan_at(std::span<const ViewPlan> plans, const LoaderConfig& config, uint64_t position) {
  if (plans.size() == 1) return 0;
  double sum = 0, edge = 0;
  for (const ViewPlan& plan : plans) sum += plan.share;
  const double place = config.in_turn_until > 0 ? static_cast<double>(position) / static_cast<double>(config.in_turn_until)
                                                : CounterRng(config.seed, position, 0, Purpose::kSizes).uniform();
  for (size_t i = 0; i + 1 < plans.size(); ++i) {
    edge += plans[i].share;
    if (place * sum < edge) return i;
  }
  return plans.size() - 1;
}

struct Loader::Impl {
  Impl(std::shared_ptr<const Dataset> dataset, std::vector<uint64_t> ids, std::vector<ViewPlan> view_plans, LoaderConfig loader_config)
      : plans(std::move(view_plans)),
        config(loader_config),
        local(config.global_batch / config.world_size),
        source(std::move(dataset), std::move(ids), config) {
    for (int i = 0; i < config.ring; ++i) slabs.push_back(std::make_unique<Slab>(plans, local, config));
  }
  ~Impl() { stop(); }

  void start(uint64_t position);
  void stop();
  const Batch& next();
  void work();
  void process(uint64_t item, SampleSource::Scratch& sample_scratch, ViewScratch& view_scratch);
  Slab& slab(uint64_t batch) { return *slabs[batch % slabs.size()]; }
  void prepare(uint64_t batch);
  void release_current();

  const std::vector<ViewPlan> plans;
  const LoaderConfig config;
  const int local;  ///< samples per batch of this rank
  SampleSource source;
  std::vector<std::unique_ptr<Slab>> slabs;
  std::vector<std::thread> threads;

  // Item i is slot i % local of batch i / local, counted from start(). Workers claim items in order and may work on items below `limit`:
  // those whose slab is free.
  uint64_t first_position = 0;
  std::atomic<uint64_t> claim{0}, limit{0};
  std::atomic<bool> stopping{false};
  std::mutex mutex;
  std::condition_variable slab_free, batch_ready;
  uint64_t taken = 0;  ///< batches handed out since start(); the last of them is still in the consumer's hands
  bool holding = false;
  bool started = false;

  double wait_seconds = 0;  ///< consumer thread only
  std::atomic<int64_t> decode_ns{0}, augment_ns{0};
};

void Loader::Impl::prepare(uint64_t batch) {
  Slab& s = slab(batch);
  const uint64_t begin = first_position + batch * static_cast<uint64_t>(config.global_batch);
  s.batch.first_position = begin + static_cast<uint64_t>(config.rank) * static_cast<uint64_t>(local);
  s.lay_out(plans[plan_at(plans, config, begin)]);
  s.error = nullptr;
  s.missing.store(local, std::memory_order_relaxed);
}

void Loader::Impl::start(uint64_t position) {
  stop();
  first_position = position;
  claim = 0;
  taken = 0;
  holding = false;
  for (uint64_t batch = 0; batch < slabs.size(); ++batch) prepare(batch);
  limit = slabs.size() * static_cast<uint64_t>(local);
  stopping = false;
  started = true;
  for (int i = 0; i < config.workers; ++i) threads.emplace_back([this] { work(); });
}

void Loader::Impl::stop() {
  {
    const std::lock_guard lock(mutex);
    stopping = true;
  }
  slab_free.notify_all();
  for (std::thread& thread : threads) thread.join();
  threads.clear();
}

void Loader::Impl::work() {
  SampleSource::Scratch sample_scratch;
  ViewScratch view_scratch;
  for (;;) {
    const uint64_t item = claim.fetch_add(1, std::memory_order_relaxed);
    if (item >= limit.load(std::memory_order_acquire)) {
      std::unique_lock lock(mutex);
      slab_free.wait(lock, [&] { return stopping || item < limit.load(std::memory_order_acquire); });
    }
    if (stopping) return;
    Slab& s = slab(item / static_cast<uint64_t>(local));
    try {
      process(item, sample_scratch, view_scratch);
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!s.error) s.error = std::current_exception();
    }
    if (s.missing.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      const std::lock_guard lock(mutex);  // pairs with the consumer's check, else the wake-up could be lost
      batch_ready.notify_one();
    }
  }
}

void Loader::Impl::process(uint64_t item, SampleSource::Scratch& sample_scratch, ViewScratch& view_scratch) {
  Slab& s = slab(item / static_cast<uint64_t>(local));
  const int slot = static_cast<int>(item % static_cast<uint64_t>(local));
  const uint64_t position = s.batch.first_position + static_cast<uint64_t>(slot);
  const Clock::time_point begin = Clock::now();
  const SampleSource::Sample sample = source.load(position, sample_scratch);
  const Clock::time_point decoded = Clock::now();
  s.batch.positions[static_cast<size_t>(slot)] = position;
  s.batch.sample_ids[static_cast<size_t>(slot)] = sample.id;
  const ViewPlan& plan = s.plan();
  for (size_t v = 0; v < plan.views.size() && !stopping.load(std::memory_order_relaxed); ++v) {
    const ViewDraw draw =
        draw_view(sample.image->width(), sample.image->height(), plan.views[v], config.seed, position, static_cast<uint32_t>(v));
    if (config.bytes)
      render_view_bytes(*sample.image, draw, plan.views[v], view_scratch, s.view_bytes(v, slot));
    else
      render_view(*sample.image, draw, plan.views[v], plan.normalization.value(), view_scratch, s.view(v, slot));
  }
  decode_ns.fetch_add(nanoseconds(decoded - begin), std::memory_order_relaxed);
  augment_ns.fetch_add(nanoseconds(Clock::now() - decoded), std::memory_order_relaxed);
}

void Loader::Impl::release_current() {
  if (!holding) return;
  holding = false;
  const uint64_t reused = taken - 1 + slabs.size();  // the batch that gets the slab of the one just consumed
  {
    const std::lock_guard lock(mutex);
    prepare(reused);
    limit.store((reused + 1) * static_cast<uint64_t>(local), std::memory_order_release);
  }
  slab_free.notify_all();
}

const Batch& Loader::Impl::next() {
  if (!started) fail("loader", "start() before next()", "no start", "Call start(position).");
  release_current();
  Slab& s = slab(taken);
  std::exception_ptr error;
  {
    std::unique_lock lock(mutex);
    if (s.missing.load(std::memory_order_acquire) != 0) {
      const Clock::time_point begin = Clock::now();
      batch_ready.wait(lock, [&] { return s.missing.load(std::memory_order_acquire) == 0; });
      wait_seconds += 1e-9 * static_cast<double>(nanoseconds(Clock::now() - begin));
    }
    error = s.error;
  }
  ++taken;
  holding = true;
  if (error) std::rethrow_exception(error);
  return s.batch;
}

Loader::Loader(std::shared_ptr<const Dataset> dataset, std::vector<uint64_t> ids, ViewPlan plan, LoaderConfig config)
    : Loader(std::move(dataset), std::move(ids), std::vector<ViewPlan>{std::move(plan)}, config) {}
Loader::Loader(std::shared_ptr<const Dataset> dataset, std::vector<uint64_t> ids, std::vector<ViewPlan> plans, LoaderConfig config) {
  check(dataset.get(), ids, plans, config);
  impl_ = std::make_unique<Impl>(std::move(dataset), std::move(ids), std::move(plans), config);
}
Loader::~Loader() = default;
void Loader::start(uint64_t position) {
  impl_->start(position);
}
const Batch& Loader::next() {
  return impl_->next();
}

const Batch* Loader::ahead() const {
  if (!impl_->started) return nullptr;
  Slab& s = impl_->slab(impl_->taken);
  if (s.missing.load(std::memory_order_acquire) != 0) return nullptr;
  const std::lock_guard lock(impl_->mutex);
  return s.error ? nullptr : &s.batch;
}

LoaderStats Loader::stats() {
  LoaderStats stats;
  stats.wait_seconds = std::exchange(impl_->wait_seconds, 0.0);
  stats.bad_samples = impl_->source.replaced();
  stats.new_bad = impl_->source.take_new_bad();
  stats.bytes_read = impl_->source.bytes_read();
  stats.decode_seconds = 1e-9 * static_cast<double>(impl_->decode_ns.exchange(0));
  stats.augment_seconds = 1e-9 * static_cast<double>(impl_->augment_ns.exchange(0));
  return stats;
}

}  // namespace dinoxx
