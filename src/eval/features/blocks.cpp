#include "blocks.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <atomic>
#include <cstring>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "base/stop_scope.hpp"
#include "comm/agree.hpp"
#include "eval/run/progress.hpp"

namespace dinoxx::eval {
namespace {

// work(i) for i in [first, last) from `threads` threads, single-threaded inside.
void run_pool(int64_t first, int64_t last, int threads, const std::function<void(int64_t)>& work) {
  if (first >= last) return;
  const int count = static_cast<int>(std::clamp<int64_t>(threads, 1, last - first));
  const int outer_threads = at::get_num_threads();
  ProgressState* progress = current_progress();
  const StopScope* scope = StopScope::current();
  expect_parts(progress, last - first);
  std::atomic<int64_t> next{first};
  std::mutex mutex;
  std::exception_ptr error;
  const auto loop = [&] {
    // The thread's own OpenMP and MKL setting. ATen also keeps a process-wide value for threads to come, which is put back below.
    at::set_num_threads(1);
    const at::NoGradGuard no_grad;
    const StopScope shared(scope);
    try {
      for (int64_t i = next++; i < last; i = next++) {
        StopScope::check();
        work(i);
        part_is_done(progress);
      }
    } catch (...) {
      next = last;
      const std::lock_guard lock(mutex);
      if (!error) error = std::current_exception();
    }
  };
  std::vector<std::thread> pool;
  pool.reserve(static_cast<size_t>(count));
  for (int i = 0; i < count; ++i) pool.emplace_back(loop);
  for (std::thread& thread : pool) thread.join();
  // From a thread of its own, so that the caller's thread-local settings are not touched at all.
  std::thread([&] { at::set_num_threads(outer_threads); }).join();
  if (error) std::rethrow_exception(error);
}

}  // namespace

int64_t block_count(int64_t items) {
  return (items + kEvalBlock - 1) / kEvalBlock;
}

ItemRange block_items(int64_t items, int64_t block) {
  return {block * kEvalBlock, std::min(items, (block + 1) * kEvalBlock)};
}

ItemRange rank_items(int64_t items, int rank, int size) {
  const int64_t blocks = block_count(items);
  const int64_t first = blocks * rank / size, last = blocks * (rank + 1) / size;
  return {std::min(items, first * kEvalBlock), std::min(items, last * kEvalBlock)};
}

void for_each_block(int64_t items, ItemRange range, int threads, const std::function<void(int64_t, ItemRange)>& work) {
  if (range.size() == 0) return;
  run_pool(range.begin / kEvalBlock, block_count(range.end), threads, [&](int64_t block) { work(block, block_items(items, block)); });
}

at::Tensor run_tasks(Communicator& comm, int64_t count, int64_t width, int threads, const std::function<void(int64_t, double*)>& work) {
  at::Tensor rows = at::zeros({count, width}, at::kDouble);
  const int rank = comm.rank(), size = comm.size();
  on_all_ranks(comm, [&] {
    run_pool(0, (count - rank + size - 1) / size, threads, [&](int64_t i) {
      const int64_t task = i * size + rank;
      work(task, rows.data_ptr<double>() + task * width);
    });
  });
  // one rank has each row and the others zeros, so that the sum is exact; adding 0 turns -0 into 0, which the sum over several ranks does
  // too
  rows.add_(0.0);
  if (rows.numel() > 0) comm.all_reduce(rows, ReduceOp::kSum)->wait();
  return rows;
}

at::Tensor map_rows(Communicator& comm, const at::Tensor& input, int64_t width, at::ScalarType type, int threads,
                    const std::function<at::Tensor(const at::Tensor&)>& answer) {
  const int64_t total = input.size(0);
  const ItemRange mine = rank_items(total, comm.rank(), comm.size());
  const at::Tensor local = at::empty({mine.size(), width}, type);
  on_all_ranks(comm, [&] {
    for_each_block(total, mine, threads, [&](int64_t, ItemRange items) {
      local.narrow(0, items.begin - mine.begin, items.size()).copy_(answer(input.narrow(0, items.begin, items.size())));
    });
  });
  return gather_blocks(comm, local, total).contiguous();
}

at::Tensor mean_of_rows(Communicator& comm, const at::Tensor& input) {
  return run_tasks(comm, 1, input.size(1), 1, [&](int64_t, double* row) {
    at::from_blob(row, {input.size(1)}, at::kDouble).copy_(at::mean(input, {0}, /*keepdim=*/false, at::kDouble));
  })[0];
}

at::Tensor gather_blocks(Communicator& comm, const at::Tensor& local, int64_t total) {
  if (total == 0) return local;
  const int size = comm.size();
  int64_t longest = 0;
  for (int rank = 0; rank < size; ++rank) longest = std::max(longest, rank_items(total, rank, size).size());
  std::vector<int64_t> shape = local.sizes().vec();
  shape[0] = longest;
  at::Tensor padded = local;
  if (local.size(0) != longest) {
    padded = at::zeros(shape, local.options());
    padded.narrow(0, 0, local.size(0)).copy_(local);
  }
  shape[0] = longest * size;
  at::Tensor all = at::empty(shape, local.options());
  comm.all_gather(all, padded.contiguous())->wait();
  // Close the gaps in place: every range moves towards the front, so nothing is overwritten before it has been read.
  const size_t row_bytes = static_cast<size_t>(all.nbytes() / all.size(0));
  char* data = static_cast<char*>(all.data_ptr());
  for (int rank = 0; rank < size; ++rank) {
    const ItemRange range = rank_items(total, rank, size);
    std::memmove(data + range.begin * row_bytes, data + rank * longest * row_bytes, range.size() * row_bytes);
  }
  return all.narrow(0, 0, total);
}

}  // namespace dinoxx::eval
