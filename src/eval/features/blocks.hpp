#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>

#include "dinoxx/comm/communicator.hpp"

/// How evaluation work is cut so that its results do not depend on the number of ranks or threads.
///
/// Items (images, queries) are cut into blocks of kEvalBlock consecutive items, a grid that depends on the number of items alone. A block
/// is the unit of computation: it is always computed whole, by one thread, with single-threaded kernels. A matrix product therefore has the
/// same shape, the same alignment and the same order of summation wherever the block is computed. Ranks own contiguous ranges of blocks.
namespace dinoxx::eval {

inline constexpr int64_t kEvalBlock = 64;

struct ItemRange {
  int64_t begin = 0, end = 0;  ///< [begin, end)
  int64_t size() const { return end - begin; }
};

int64_t block_count(int64_t items);
/// Items of block `block`; the last block may be shorter.
ItemRange block_items(int64_t items, int64_t block);
/// Items that `rank` of `size` owns: whole blocks, in rank order, counts that differ by at most one block. May be empty.
ItemRange rank_items(int64_t items, int rank, int size);

/// Calls `work(block)` for every block of `range` (as from rank_items) from `threads` threads, inside which ATen runs single-threaded and
/// without autograd. Rethrows the first error after all threads have ended. The caller's own ATen thread settings are untouched.
void for_each_block(int64_t items, ItemRange range, int threads, const std::function<void(int64_t block, ItemRange items)>& work);

/// Work that is one piece and not a list of images (a fit, a resample): calls work(task, row) for each task of [0, count), each wholly in
/// one thread of one rank, as above. `row` [width] is zero at first. Returns the rows of all tasks [count, width] float64 on every rank.
/// Tasks are dealt to the ranks in turn; what they need must be on every rank. An error on one rank is thrown on all. Collective.
at::Tensor run_tasks(Communicator& comm, int64_t count, int64_t width, int threads,
                     const std::function<void(int64_t task, double* row)>& work);

/// What `answer` makes of each block of the rows of `input` [N, ...], which is equal on every rank: [N, width] of `type`, on every rank.
/// Each block is answered by one thread of one rank, as above. An error on one rank is thrown on all. Collective.
at::Tensor map_rows(Communicator& comm, const at::Tensor& input, int64_t width, at::ScalarType type, int threads,
                    const std::function<at::Tensor(const at::Tensor& rows)>& answer);

/// Mean of the rows of `input` [N, D]: [D] float64, the same at any number of ranks and threads. Collective.
at::Tensor mean_of_rows(Communicator& comm, const at::Tensor& input);

/// Rows of all ranks in order: `local` [rank_items(total).size(), ...] contiguous -> [total, ...] on every rank.
at::Tensor gather_blocks(Communicator& comm, const at::Tensor& local, int64_t total);

}  // namespace dinoxx::eval
