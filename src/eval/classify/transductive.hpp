#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

/// Few-shot methods that look at all queries of a task together before they answer one. They are told more than a classifier that sees one
/// image at a time, and they are right about how frequent the classes are among the queries only if that is what they assume: their
/// numbers stand in a table of their own.
namespace dinoxx::eval {

/// Squared distances are multiplied by this before the softmax of soft_kmeans_scores: on features of length 1 they lie in [0, 4], where the
/// softmax of the paper's unscaled features would be nearly uniform. It is what the published program of TIM (Boudiaf et al. 2020,
/// github.com/mboudiaf/TIM) takes for such features: logits 15 (x m - |x|^2 / 2 - |m|^2 / 2).
inline constexpr double kSoftKmeansScale = 7.5;

/// One refinement of class means by soft k-means (Ren et al. 2018, "Prototypical Networks with Soft k-Means") with the queries as the
/// unlabelled images: query j belongs to class c by z_jc = softmax_c(-scale |x_j - m_c|^2), m_c the mean of the class's labelled images;
/// the new mean of c weighs labelled images by 1 and query j by z_jc. Returns minus the squared distances to the new means. support [n, D],
/// labels [n] in [0, classes), each class with an image; queries [N, D], of one type -> [N, classes] float64, from products in that type.
at::Tensor soft_kmeans_scores(const at::Tensor& support, std::span<const int32_t> labels, int classes, const at::Tensor& queries,
                              double scale = kSoftKmeansScale);

/// Numbers of the published program (github.com/imtiazziko/LaplacianShot): 3 neighbours, where it counts the query itself as the first, so
/// that there are two others; here there are three. At most 20 rounds; here all are made, so that the outcome hangs on no threshold.
/// lambda 1 is its default, beside which it can choose one of 0.1 to 1.5 on classes held out for that; here it is fixed.
struct LaplacianOptions {
  double lambda = 1.0;
  int neighbours = 3;
  int rounds = 20;
};
/// Laplacian-regularised assignment (Ziko et al. 2020, LaplacianShot): a_qc = |x_q - m_c|^2, w_qp = 1 for the `neighbours`
/// queries p nearest to q (fewer where there are fewer; equal: the lower row), else 0; y_q = softmax(-a_q) at first, then in each round for
/// all q at once y_q = softmax(-a_q + lambda sum_p w_qp y_p). Without the paper's shift of the means, which is another method on top.
/// Shapes as above; returns y [N, classes] float64, rows of sum 1.
at::Tensor laplacian_assignment(const at::Tensor& support, std::span<const int32_t> labels, int classes, const at::Tensor& queries,
                                const LaplacianOptions& options = {});

}  // namespace dinoxx::eval
