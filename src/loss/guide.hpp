#pragma once
#include <ATen/core/Tensor.h>

#include <functional>

#include "dinoxx/comm/communicator.hpp"

namespace dinoxx {

/// What the head of a guide gives for rows [M, D]: [M, outputs].
using GuideHead = std::function<at::Tensor(const at::Tensor& rows)>;

/// Loss of the head of a guide, and a figure that says how well it tells.
struct GuideLoss {
  at::Tensor loss;    ///< scalar, differentiable
  at::Tensor figure;  ///< scalar on the same device: the share of right answers of classes, the share of the variance that is explained of
                      ///< numbers. Its mean over all ranks is that of the whole batch
};

/// Cross-entropy of a head that tells classes from features, over the images of all ranks whose class is known: the mean over ranks is the
/// mean over those images, however they are spread. The head sees rows of length sqrt(D). It learns by the loss; what made the features
/// gets the gradient times `factor`. Below 0 (gradient reversal, Ganin and Lempitsky 2015) that holds for the rows whose class the head
/// finds more likely than its frequency in the batch, the others get none: what cannot be told is left alone, and nothing is gained by
/// features that make the head err.
///
/// features [V, B, D] of any float type; classes [B] int64 on the same device, -1: not known. Computed in float32 (float64 for float64); 0
/// where no class is known. Error for other shapes. Collective.
GuideLoss guide_classes(const at::Tensor& features, const at::Tensor& classes, const GuideHead& head, double factor, Communicator& comm);

/// The same of numbers, scaled to a mean of 0 and a variance of 1 over the training images: half the squared error, so that 0.5 is what the
/// mean gives. With a factor below 0 the rows count whose number the head finds better than 0 does. numbers [B] float32 or float64, NaN:
/// not known. Collective.
GuideLoss guide_numbers(const at::Tensor& features, const at::Tensor& numbers, const GuideHead& head, double factor, Communicator& comm);

/// How much features and a column have to do with each other: the squared distance correlation (Szekely, Rizzo and Bakirov 2007), of the
/// U-centred distances, which is 0 in the mean where they are independent (Szekely and Rizzo 2014, eq. 3.1 to 3.4); the mean over views. Of
/// the features the distances are those of the normalised rows, of classes 0 or 1, of numbers their difference. Over the images of all
/// ranks whose class or number is known; 0 where these are fewer than four or all alike. Needs no head: nothing learns but what made the
/// features.
///
/// features [V, B, D] of any float type, B equal on all ranks; targets [B], classes int64 or numbers of a floating type as above. In
/// float32 (float64 for float64). With the differentiable gather (gather.hpp) the mean over ranks and its gradient are the whole batch's.
/// Memory: [V, N, N] six times. Error for other shapes. Collective.
at::Tensor distance_correlation(const at::Tensor& features, const at::Tensor& targets, Communicator& comm);

}  // namespace dinoxx
