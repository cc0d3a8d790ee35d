#include "loader_slab.hpp"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "dinoxx/base/error.hpp"

namespace dinoxx {
namespace {

constexpr size_t kAlignFloats = 16;  // 64 bytes

size_t floats_of(const ViewSpec& view) {
  return 3 * static_cast<size_t>(view.size) * static_cast<size_t>(view.size);
}

// Calls fn(first view, number of views, offset in floats) for each run of views of one size and one use; returns the total.
template <typename Fn>
size_t for_each_group(const ViewPlan& plan, int local_batch, Fn&& fn) {
  size_t offset = 0;
  for (size_t first = 0; first < plan.views.size();) {
    size_t end = first + 1;
    const auto together = [](const ViewSpec& a, const ViewSpec& b) {
      return a.size == b.size && (a.geometry_of < 0) == (b.geometry_of < 0);
    };
    while (end < plan.views.size() && together(plan.views[end], plan.views[first])) ++end;
    fn(first, end - first, offset);
    const size_t floats = (end - first) * static_cast<size_t>(local_batch) * floats_of(plan.views[first]);
    offset += (floats + kAlignFloats - 1) / kAlignFloats * kAlignFloats;
    first = end;
  }
  return offset;
}

}  // namespace

uint64_t batch_floats(const ViewPlan& plan, int local_batch) {
  return for_each_group(plan, local_batch, [](size_t, size_t, size_t) {});
}

Slab::Slab(std::span<const ViewPlan> plans, int local_batch) {
  for (const ViewPlan& plan : plans) bytes_ = std::max<size_t>(bytes_, batch_floats(plan, local_batch) * sizeof(float));
  void* memory = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    fail("loader memory", fmt::format("{} MiB for one batch", bytes_ >> 20), std::strerror(errno),
         "Use a smaller batch, fewer crops or a smaller ring.");
  }
  madvise(memory, bytes_, MADV_HUGEPAGE);  // a wish: hundreds of megabytes are written once per batch
  base_ = static_cast<float*>(memory);
  batch.positions.resize(static_cast<size_t>(local_batch));
  batch.sample_ids.resize(static_cast<size_t>(local_batch));
}

void Slab::lay_out(const ViewPlan& plan) {
  if (plan_ == &plan) return;
  plan_ = &plan;
  const size_t local = batch.positions.size();
  batch.groups.clear();
  view_offset_.resize(plan.views.size());
  view_floats_.resize(plan.views.size());
  for_each_group(plan, static_cast<int>(local), [&](size_t first, size_t views, size_t offset) {
    const size_t floats = floats_of(plan.views[first]);
    batch.groups.push_back(
        {plan.views[first].size, static_cast<int>(first), static_cast<int>(views), {base_ + offset, views * local * floats}});
    for (size_t v = 0; v < views; ++v) {
      view_offset_[first + v] = offset + v * local * floats;
      view_floats_[first + v] = floats;
    }
  });
}

Slab::~Slab() {
  munmap(base_, bytes_);
}

}  // namespace dinoxx
