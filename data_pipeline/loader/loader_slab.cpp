#include "loader_slab.hpp"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "dinoxx/base/error.hpp"

namespace dinoxx {
namespace {

constexpr size_t kAlignment = 64;

// Of one crop, in memory.
size_t size_of(const ViewSpec& view, bool as_bytes) {
  return 3 * static_cast<size_t>(view.size) * static_cast<size_t>(view.size) * (as_bytes ? 1 : sizeof(float));
}

// Calls fn(first view, number of views, offset in bytes) for each run of views of one size and one use; returns the total.
template <typename Fn>
size_t for_each_group(const ViewPlan& plan, int local_batch, bool as_bytes, Fn&& fn) {
  size_t offset = 0;
  for (size_t first = 0; first < plan.views.size();) {
    size_t end = first + 1;
    const auto together = [](const ViewSpec& a, const ViewSpec& b) {
      return a.size == b.size && (a.geometry_of < 0) == (b.geometry_of < 0);
    };
    while (end < plan.views.size() && together(plan.views[end], plan.views[first])) ++end;
    fn(first, end - first, offset);
    const size_t bytes = (end - first) * static_cast<size_t>(local_batch) * size_of(plan.views[first], as_bytes);
    offset += (bytes + kAlignment - 1) / kAlignment * kAlignment;
    first = end;
  }
  return offset;
}

std::shared_ptr<void> pages(size_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    fail("loader memory", fmt::format("{} MiB for one batch", bytes >> 20), std::strerror(errno),
         "Use a smaller batch, fewer crops or a smaller ring.");
  }
  madvise(memory, bytes, MADV_HUGEPAGE);  // a wish: hundreds of megabytes are written once per batch
  return {memory, [bytes](void* p) { munmap(p, bytes); }};
}

}  // namespace

uint64_t batch_bytes(const ViewPlan& plan, int local_batch, bool bytes) {
  return for_each_group(plan, local_batch, bytes, [](size_t, size_t, size_t) {});
}

Slab::Slab(std::span<const ViewPlan> plans, int local_batch, const LoaderConfig& config) : as_bytes_(config.bytes) {
  size_t bytes = 0;
  for (const ViewPlan& plan : plans) bytes = std::max<size_t>(bytes, batch_bytes(plan, local_batch, as_bytes_));
  memory_ = config.allocate ? config.allocate(bytes) : pages(bytes);
  base_ = static_cast<uint8_t*>(memory_.get());
  batch.positions.resize(static_cast<size_t>(local_batch));
  batch.sample_ids.resize(static_cast<size_t>(local_batch));
}

void Slab::lay_out(const ViewPlan& plan) {
  if (plan_ == &plan) return;
  plan_ = &plan;
  const size_t local = batch.positions.size();
  batch.groups.clear();
  view_offset_.resize(plan.views.size());
  view_size_.resize(plan.views.size());
  for_each_group(plan, static_cast<int>(local), as_bytes_, [&](size_t first, size_t views, size_t offset) {
    const size_t size = size_of(plan.views[first], as_bytes_), all = views * local * size;
    CropGroup group{plan.views[first].size, static_cast<int>(first), static_cast<int>(views), {}, {}};
    if (as_bytes_)
      group.bytes = {base_ + offset, all};
    else
      group.pixels = {static_cast<float*>(static_cast<void*>(base_ + offset)), all / sizeof(float)};
    batch.groups.push_back(group);
    for (size_t v = 0; v < views; ++v) {
      view_offset_[first + v] = offset + v * local * size;
      view_size_[first + v] = size;
    }
  });
}

}  // namespace dinoxx
