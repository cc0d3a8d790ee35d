#pragma once
#include <atomic>
#include <exception>
#include <span>
#include <vector>

#include "loader.hpp"

namespace dinoxx {

/// One batch in flight: memory for all crops of this rank and a countdown of the samples still missing.
class Slab {
 public:
  /// Memory for the largest of the plans.
  Slab(std::span<const ViewPlan> plans, int local_batch);
  ~Slab();
  Slab(const Slab&) = delete;
  Slab& operator=(const Slab&) = delete;

  /// The next batch has this plan, one of those given before; `plan` must outlive it.
  void lay_out(const ViewPlan& plan);
  const ViewPlan& plan() const { return *plan_; }
  /// Where view `view` of slot `slot` goes: [3, size, size] floats.
  float* view(size_t view, int slot) { return base_ + view_offset_[view] + static_cast<size_t>(slot) * view_floats_[view]; }

  Batch batch;
  std::atomic<int> missing{0};
  std::exception_ptr error;  ///< first failure of a sample; guarded by the loader's mutex

 private:
  float* base_ = nullptr;
  size_t bytes_ = 0;
  const ViewPlan* plan_ = nullptr;
  std::vector<size_t> view_offset_, view_floats_;
};

}  // namespace dinoxx
