#pragma once
#include <ATen/core/Tensor.h>

#include "dinoxx/comm/communicator.hpp"

namespace dinoxx {

/// How much room the features of a batch take: SimDINO's expansion term (Wu et al. 2025, arXiv 2502.10385), the mean over views of
/// gamma / 2 * log det(I + D / (N eps) X^T X) with gamma = (D + N) / (D N), X the [N, D] features of one view of the N images of all ranks.
/// Factor and `eps` are those of its released code. Larger is better: a loss takes it with a minus.
///
/// z [V, B, D] of L2-normalised rows, or of means of such (they are taken as they are), B equal on all ranks; in float32 (float64 for
/// float64). With the differentiable gather (gather.hpp) the mean over ranks and its gradient are the whole batch's. Memory: [V, N, D]
/// three times and [V, M, M] four times, M the smaller of N and D. Error for other shapes and for an eps that is not positive.
at::Tensor coding_rate(const at::Tensor& z, double eps, Communicator& comm);

/// Mean cosine similarity of each student view with each teacher view that is another one, SimDINO's compression term: student [V, B, D],
/// teacher [G, B, D] of the first G views, V at least 2 (teacher without gradient). A pair never spans ranks.
at::Tensor view_agreement(const at::Tensor& student, const at::Tensor& teacher);

/// Mean over views and images of the cosine similarity of a view with the mean of all views' directions, EMP-SSL's invariance (Tong et al.
/// 2023, arXiv 2304.03977): z [V, B, D], V at least 2. The mean has its gradient, too, as released. As the views have length 1, it is the
/// length of their mean.
at::Tensor agreement_with_mean(const at::Tensor& z);

/// Sum over masked patches of weight * (1 - cosine similarity of the two) over the number of crops, SimDINOv2's loss at masked patches:
/// student and teacher [M, D] (teacher without gradient), weights [M] of 1 / (masked patches in the same crop), `crops` the global crops of
/// a rank, masked or not. 0 where none is masked. In float32 (float64 for float64). Error for other shapes.
at::Tensor patch_agreement(const at::Tensor& student, const at::Tensor& teacher, const at::Tensor& weights, int64_t crops);

}  // namespace dinoxx
