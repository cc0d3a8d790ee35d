#include "shared_teacher.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>

#include "dinoxx/base/error.hpp"
#include "ops/to_device.hpp"

namespace dinoxx {
namespace {

void check_divides(const char* what, int64_t batch, int64_t ranks) {
  if (ranks < 1 || batch % ranks != 0)
    fail_usage("train.batch_size", fmt::format("a multiple of the {} ranks of {}", ranks, what), std::to_string(batch),
               "Change it or the numbers of ranks");
}

at::Tensor index_of(const std::vector<int64_t>& values, at::Device device) {
  return to_device(at::tensor(values, at::kLong), device);
}

// Rows of all ranks, by rank.
at::Tensor gathered(const at::Tensor& rows, Communicator& job) {
  std::vector<int64_t> shape = rows.sizes().vec();
  shape.front() *= job.size();
  at::Tensor all = at::empty(shape, rows.options());
  if (all.numel() > 0) job.all_gather(all, rows.contiguous())->wait();
  return all;
}

}  // namespace

std::vector<int> teacher_ranks(int64_t batch, const std::vector<int>& ranks) {
  const int64_t world = std::accumulate(ranks.begin(), ranks.end(), int64_t{0});
  check_divides("the job", batch, world);
  for (const int of_student : ranks) check_divides("a student", batch, of_student);
  // Slots in order, each to the rank that holds it, has room left and whose own slots end first: for intervals this finds an assignment
  // where there is one (Glover 1967), and one in equal parts exists, as parts of slots in proportion to the students' ranks would be one.
  std::vector<int64_t> room(static_cast<size_t>(world), batch / world);
  std::vector<int> chosen;
  for (int64_t slot = 0; slot < batch; ++slot) {
    int best = -1, first = 0;
    int64_t best_end = 0;
    for (const int of_student : ranks) {
      const int64_t part = batch / of_student, rank = first + slot / part, end = (slot / part + 1) * part;
      if (room[static_cast<size_t>(rank)] > 0 && (best < 0 || end < best_end)) {
        best = static_cast<int>(rank);
        best_end = end;
      }
      first += of_student;
    }
    if (best < 0) fail("shared teacher", "a rank for each image", fmt::format("none for slot {}", slot), "This is a defect of the program");
    --room[static_cast<size_t>(best)];
    chosen.push_back(best);
  }
  return chosen;
}

SharedTeacher::SharedTeacher(std::shared_ptr<Communicator> job, const std::vector<int>& ranks, int64_t batch) : job_(std::move(job)) {
  const std::vector<int> chosen = teacher_ranks(batch, ranks);
  int first = 0;
  size_t student = 0;
  while (first + ranks[student] <= job_->rank()) first += ranks[student++];
  slots_ = batch / ranks[student];
  share_ = batch / job_->size();
  const int64_t begin = (job_->rank() - first) * slots_;
  std::vector<int64_t> taken(static_cast<size_t>(job_->size()), 0), mine;
  for (int64_t slot = 0; slot < batch; ++slot) {
    const int rank = chosen[static_cast<size_t>(slot)];
    const int64_t place = taken[static_cast<size_t>(rank)]++;
    if (rank == job_->rank()) mine.push_back(slot - begin);
    if (slot >= begin && slot < begin + slots_) row_.push_back(rank * share_ + place);
  }
  mine_ = at::tensor(mine, at::kLong);
}

SharedTeacher::Output SharedTeacher::forward(const Network& teacher, const Input& input) {
  const at::Device device = input.globals.device();
  const int64_t views = input.globals.size(0) / slots_, ranks = job_->size();
  // [views * slots, ...] -> [views * share, ...]
  const auto my_part = [&](const at::Tensor& rows) {
    std::vector<int64_t> apart = rows.sizes().vec();
    apart.front() = slots_;
    apart.insert(apart.begin(), views);
    return rows.view(apart).index_select(1, mine_.to(rows.device())).flatten(0, 1);
  };

  // 1. votes, and how many masked patches each crop has, while the teacher computes
  at::Tensor counts = at::zeros({1 + views * share_}, at::kLong);
  counts[0] = input.wants_stop ? 1 : 0;
  at::Tensor masked_rows;
  if (input.masked.defined()) {
    const at::Tensor masked = my_part(input.masked);
    counts.narrow(0, 1, views * share_).copy_(masked.sum(1));
    masked_rows = to_device(masked.flatten().nonzero().squeeze(1), device);
  }
  counts = to_device(counts, device);
  at::Tensor all_counts = at::empty({ranks * counts.numel()}, counts.options());
  const std::unique_ptr<Work> counting = job_->all_gather(all_counts, counts);

  // 2. the teacher on this rank's share
  const std::vector<at::Tensor> crops{my_part(input.globals)};
  ForwardInput forward{.crops_by_size = crops, .batch = share_};
  forward.masked_rows = masked_rows;
  forward.bottlenecks = true;
  const ForwardOutput out = teacher.forward(forward);
  images_ += share_;
  counting->wait();
  all_counts = all_counts.view({ranks, -1}).cpu();

  // 3. its rows to everybody; each rank picks those of its images, in the order [view][slot]
  Output result;
  result.stop = all_counts.select(1, 0).max().item<int64_t>() > 0;
  const int64_t width = out.features.size(-1);
  const at::Tensor rows = gathered(at::cat({out.features, out.logits}, 2).flatten(0, 1), *job_);
  std::vector<int64_t> picked;
  for (int64_t view = 0; view < views; ++view)
    for (const int64_t row : row_) picked.push_back((row / share_ * views + view) * share_ + row % share_);
  const at::Tensor here = rows.index_select(0, index_of(picked, device));
  result.teacher.features = here.narrow(1, 0, width).view({views, slots_, width});
  const at::Tensor logits = teacher.logits(here.narrow(1, width, here.size(1) - width));
  result.teacher.logits = logits.view({views, slots_, logits.size(1)});
  if (!input.masked.defined()) return result;

  // 4. masked patches: as many rows from each rank as the rank with most of them has
  const at::Tensor ends = at::cumsum(all_counts.narrow(1, 1, views * share_), 1);  // of each crop's rows among its rank's
  const int64_t most = ends.select(1, -1).max().item<int64_t>();
  at::Tensor patches = at::zeros({most, out.patch_logits.size(1)}, out.patch_logits.options());
  patches.narrow(0, 0, out.patch_logits.size(0)).copy_(out.patch_logits);
  patches = gathered(patches, *job_);
  const auto end = ends.accessor<int64_t, 2>();
  picked.clear();
  for (int64_t view = 0; view < views; ++view)
    for (const int64_t row : row_) {
      const int64_t rank = row / share_, crop = view * share_ + row % share_, begin = crop > 0 ? end[rank][crop - 1] : 0;
      for (int64_t i = begin; i < end[rank][crop]; ++i) picked.push_back(rank * most + i);
    }
  const int64_t wanted = input.masked.sum().item<int64_t>();
  if (static_cast<int64_t>(picked.size()) != wanted)
    fail("shared teacher", fmt::format("{} masked patches, as this student's masks have", wanted), std::to_string(picked.size()),
         "All students of a job need the same masks: this is a defect of the program");
  result.teacher.patch_logits = teacher.patch_logits(patches.index_select(0, index_of(picked, device)));
  return result;
}

}  // namespace dinoxx
