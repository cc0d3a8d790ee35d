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
  Slab(std::span<const ViewPlan> plans, int local_batch, const LoaderConfig& config);
  Slab(const Slab&) = delete;
  Slab& operator=(const Slab&) = delete;

  /// The next batch has this plan, one of those given before; `plan` must outlive it.
  void lay_out(const ViewPlan& plan);
  const ViewPlan& plan() const { return *plan_; }
  /// Where view `view` of slot `slot` goes: [3, size, size] floats, or bytes.
  float* view(size_t view, int slot) { return static_cast<float*>(static_cast<void*>(place(view, slot))); }
  uint8_t* view_bytes(size_t view, int slot) { return place(view, slot); }

  Batch batch;
  std::atomic<int> missing{0};
  std::exception_ptr error;  ///< first failure of a sample; guarded by the loader's mutex

 private:
  uint8_t* place(size_t view, int slot) { return base_ + view_offset_[view] + static_cast<size_t>(slot) * view_size_[view]; }

  const bool as_bytes_;
  std::shared_ptr<void> memory_;
  uint8_t* base_ = nullptr;
  const ViewPlan* plan_ = nullptr;
  std::vector<size_t> view_offset_, view_size_;  // bytes
};

}  // namespace dinoxx
