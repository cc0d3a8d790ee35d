#pragma once
#include <ATen/core/Tensor.h>

#include "dinoxx/comm/communicator.hpp"
#include "dinoxx/loss/scores.hpp"

namespace dinoxx {

/// Sinkhorn-Knopp assignment (dino_family.md 2.2, 3.2; SwAV) as a centre. Its result is
///   Q_ij = r_i exp(l_ij / T) c_j,   rows (samples) summing to one,   hence   Q_i = softmax((l_i - centre) / T),   centre_j = -T log c_j,
/// so that the losses take it where they take a running centre, and Q never exists. Unlike one it belongs to this batch: nothing is kept.
///
/// logits [M, K]: this rank's rows; M may differ between ranks and be 0. Returns [K], float32 (float64 for float64), equal on all ranks, up
/// to a constant that softmax does not see; 0 when no rank has a row. Order of the published code: divide by the total (cancels);
/// `iterations` times: prototypes to mass 1/K by sums over all ranks, then samples to mass 1/B; so the last normalisation, the softmax, is
/// the sample's.
///
/// Unbounded logits are safe (DINOv3's last layer has no weight norm): the first iteration is a log-sum-exp over rows; later ones sum
/// softmax rows, whose column sums cannot fall below 1/K. A NaN shows as NaN in the centre of all ranks.
///
/// Collectives on `comm`: a maximum of K, then `iterations` sums of K. Memory: no [M, K] tensor; [K] floats: 5, and 2 a thread (elsewhere
/// than on a CPU in float32 or bfloat16: blocks of rows of 16 MB, a few at a time). One pass over the logits for each iteration; the sums
/// do not depend on the number of threads. Of columns [K] are this rank's: sums go over the fellows, and each iteration but the first
/// brings the log-sum-exp of each row together. Scores of rows and prototypes: logits are made anew in each pass.
at::Tensor sinkhorn_centre(const Scores& logits, double temp, int iterations, Communicator& comm);

}  // namespace dinoxx
