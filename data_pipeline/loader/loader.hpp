#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "data_pipeline/augment/views.hpp"
#include "dinoxx/data_pipeline/dataset.hpp"

namespace dinoxx {

/// Sample order as a pure function: global position g belongs to epoch g / n and is row Perm(seed, epoch)(g % n) of the id list. Each epoch
/// visits each id once; batches may straddle epochs. O(1) memory (keyed Feistel permutation with cycle walking).
class Sampler {
 public:
  Sampler(uint64_t n, uint64_t seed);
  uint64_t row(uint64_t position) const;
  uint64_t size() const { return n_; }

 private:
  uint64_t n_, seed_;
};

/// Crops of one size for the local batch, [views, batch, 3, size, size]: normalised float32, or bytes before normalisation.
struct CropGroup {
  int size = 0;
  int first_view = 0;  ///< index of its first view in the plan
  int views = 0;
  std::span<float> pixels;   ///< empty where the loader gives bytes
  std::span<uint8_t> bytes;  ///< empty where it gives float32
};

/// Views into a slab of the loader's ring, valid until the next call of next().
struct Batch {
  uint64_t first_position = 0;       ///< global position of slot 0 of this rank
  std::vector<uint64_t> positions;   ///< global position per local slot
  std::vector<uint64_t> sample_ids;  ///< dataset id per local slot
  std::vector<CropGroup> groups;
};

struct LoaderConfig {
  uint64_t seed = 0;
  int global_batch = 64;  ///< rank r takes slots [r * B / W, (r + 1) * B / W); W must divide B
  int rank = 0, world_size = 1;
  int workers = 1;  ///< decode and augmentation threads, >= 1
  int ring = 3;     ///< batches in flight, >= 2
  double max_bad_fraction =
      0.001;  ///< of samples that cannot be read or decoded; each is replaced by a neighbour chosen by its position, counted and logged
  double balance = 0;          ///< BalancedSampler's, of the images' labels (meta().label); 0: each image once an epoch
  uint64_t in_turn_until = 0;  ///< of several plans: see plan_at(); 0: drawn
  bool cache_decoded = false;  ///< keep decoded images in memory (small data sets)
  bool bytes = false;          ///< give crops as bytes: a quarter of the memory, and whoever takes them normalises them (by the plan)
  /// Memory of the ring, for who copies from page-locked memory; alignment of 64 bytes. Absent: the system's.
  std::function<std::shared_ptr<void>(size_t bytes)> allocate;
};

/// A sample that could not be used, and why.
struct BadSample {
  uint64_t id = 0, position = 0;
  std::string key, reason;
};

struct LoaderStats {
  double wait_seconds = 0;         ///< consumer blocked in next() since the last stats() call
  uint64_t bad_samples = 0;        ///< samples replaced so far, repeats counted
  std::vector<BadSample> new_bad;  ///< samples found bad for the first time since the last call: to be logged
  uint64_t bytes_read = 0;
  double decode_seconds = 0, augment_seconds = 0;  ///< worker time since the last call, summed over threads
};

/// Memory that one rank's batch of this plan takes (the ring holds `ring` of them), of float32 or of bytes.
uint64_t batch_bytes(const ViewPlan& plan, int local_batch, bool bytes);

/// Which plan the batch that begins at global position `position` (over all ranks) has, as a function of these arguments, so that all
/// ranks and a resumed run take the same: drawn by the plans' shares, each batch by itself, or with config.in_turn_until one plan after the
/// other, each for its share of that length, and the last behind it. 0 where there is one plan.
size_t plan_at(std::span<const ViewPlan> plans, const LoaderConfig& config, uint64_t position);

/// Prefetching multi-crop loader. Contents of batch t depend on (dataset, ids, plans, seed, t) alone: not on threads, ranks or restarts.
class Loader {
 public:
  /// UsageError: no ids, batch larger than the ids, ranks that do not divide the batch, workers or ring out of range, an impossible view.
  Loader(std::shared_ptr<const Dataset> dataset, std::vector<uint64_t> ids, ViewPlan plan, LoaderConfig config);
  /// Of several plans each batch has one (plan_at); the ring takes `ring` times the largest.
  Loader(std::shared_ptr<const Dataset> dataset, std::vector<uint64_t> ids, std::vector<ViewPlan> plans, LoaderConfig config);
  ~Loader();  ///< joins the workers within a second
  /// Begins at the batch whose first global position (over all ranks) is `position`. May be called again to begin elsewhere.
  void start(uint64_t position);
  /// Next batch in order; blocks. Worker exceptions for that batch are rethrown here.
  const Batch& next();
  /// The batch that next() will give, where it is there already: for who copies it ahead. Valid until the call of next() after that one.
  const Batch* ahead() const;
  LoaderStats stats();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dinoxx
