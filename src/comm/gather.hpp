#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "dinoxx/comm/communicator.hpp"

namespace dinoxx {

/// Rows of all ranks, by rank: [N, ...] -> [size N, ...], N and the rest of the shape equal on all ranks. Differentiable: the gradient of
/// this rank's rows is the sum over ranks of the gradients that their losses send to them (reduce_scatter). With losses of ranks whose mean
/// is the loss of the whole batch, and gradients of parameters averaged over ranks, that is the whole batch's gradient.
///
/// Threads and order as batch_norm.hpp: backward of CPU tensors runs on the thread that called backward(). Forward and backward are
/// collectives of `comm`, which must outlive backward: all ranks build the same graph, with a communicator that carries no gradient
/// buckets.
at::Tensor gather_rows(const at::Tensor& tensor, Communicator& comm);

/// Each rank's text, by rank, on all ranks. Collective.
std::vector<std::string> gather_texts(Communicator& comm, const std::string& text);

}  // namespace dinoxx
