#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

/// Few-shot methods that look at all queries of a task together before they answer one. They are told more than a classifier that sees one
/// picture at a time, and they are right about how frequent the classes are among the queries only if that is what they assume: their
/// numbers stand in a table of their own.
namespace dinoxx::eval {

/// Squared distances are multiplied by this before the softmax of soft_kmeans_scores: on features of length 1 they lie in [0, 4], where the
/// softmax of the paper's unscaled features would be nearly uniform. The value is that of Boudiaf et al. 2020 (TIM) for such features, 15
/// / 2.
inline constexpr double kSoftKmeansScale = 7.5;

/// One refinement of class means by soft k-means (Ren et al. 2018, section 3.1.1) with the queries as the unlabelled images: query j
/// belongs to class c by z_jc = softmax_c(-scale |x_j - m_c|^2), m_c the mean of the class's labelled images; the new mean of c weighs
/// labelled images by 1 and query j by z_jc. Returns minus the squared distances to the new means. support [n, D], labels [n] in [0,
/// classes), each class with an image; queries [N, D], all float64 -> [N, classes] float64.
at::Tensor soft_kmeans_scores(const at::Tensor& support, std::span<const int32_t> labels, int classes, const at::Tensor& queries,
                              double scale = kSoftKmeansScale);

/// 3 neighbours and 20 rounds as published; all rounds are made, so that the outcome hangs on no threshold. The paper chooses lambda on
/// classes held out for it; here it is fixed.
struct LaplacianOptions {
  double lambda = 1.0;
  int neighbours = 3;
  int rounds = 20;
};
/// Laplacian-regularised assignment (Ziko et al. 2020, LaplacianShot, section 2): a_qc = |x_q - m_c|^2, w_qp = 1 for the `neighbours`
/// queries p nearest to q (fewer where there are fewer; equal: the lower row), else 0; y_q = softmax(-a_q) at first, then in each round for
/// all q at once y_q = softmax(-a_q + lambda sum_p w_qp y_p). Without the paper's shift of the means, which is another method on top.
/// Shapes as above; returns y [N, classes] float64, rows of sum 1.
at::Tensor laplacian_assignment(const at::Tensor& support, std::span<const int32_t> labels, int classes, const at::Tensor& queries,
                                const LaplacianOptions& options = {});

}  // namespace dinoxx::eval
