#include "whitening.hpp"

#include <ATen/ATen.h>

#include <algorithm>

#include "dinoxx/base/error.hpp"
#include "eval/classify/knn.hpp"
#include "eval/features/blocks.hpp"
#include "readout.hpp"

namespace dinoxx::eval {
namespace {

constexpr int64_t kRowsAtOnce = 2048, kColumnsAtOnce = 128;

// [D, D] float64. A task is some of its rows, from the diagonal on; what is below is copied.
at::Tensor covariance_of(const at::Tensor& features, const at::Tensor& mean, int threads, Communicator& comm) {
  const int64_t n = features.size(0), dim = features.size(1), panels = (dim + kColumnsAtOnce - 1) / kColumnsAtOnce;
  const at::Tensor tasks = run_tasks(comm, panels, kColumnsAtOnce * dim, threads, [&](int64_t panel, double* out) {
    const int64_t begin = panel * kColumnsAtOnce, width = std::min(kColumnsAtOnce, dim - begin);
    const at::Tensor sums = at::zeros({width, dim - begin}, at::kDouble);
    for (int64_t first = 0; first < n; first += kRowsAtOnce) {
      const at::Tensor some = features.narrow(0, first, std::min(kRowsAtOnce, n - first)).narrow(1, begin, dim - begin).to(at::kDouble) -
                              mean.narrow(0, begin, dim - begin);
      sums.addmm_(some.narrow(1, 0, width).t(), some);
    }
    at::from_blob(out, {width, dim}, at::kDouble).narrow(1, begin, dim - begin).copy_(sums);
  });
  const at::Tensor upper = tasks.reshape({panels * kColumnsAtOnce, dim}).narrow(0, 0, dim).triu() / static_cast<double>(n);
  return upper + upper.triu(1).t();
}

}  // namespace

at::Tensor Whitening::rows(const at::Tensor& features) const {
  return normalize_rows(at::matmul(features - mean, matrix));
}

at::Tensor Whitening::rows(const at::Tensor& features, int threads, Communicator& comm) const {
  return map_rows(comm, features, features.size(1), at::kFloat, threads, [&](const at::Tensor& some) { return rows(some); });
}

Whitening fit_whitening(const at::Tensor& features, double share, int threads, Communicator& comm) {
  const int64_t dim = features.size(1);
  if (dim > kWidestWhitened)
    fail("whitening", fmt::format("features of at most {} numbers", kWidestWhitened), std::to_string(dim),
         "This is a defect of the caller.");
  const at::Tensor mean = mean_of_rows(comm, features), covariance = covariance_of(features, mean, threads, comm);
  const double level = covariance.diagonal().mean().item<double>();
  if (!(level > 0)) return {mean.to(at::kFloat), at::eye(dim, at::kFloat)};
  const at::Tensor matrix = run_tasks(comm, 1, dim * dim, 1, [&](int64_t, double* out) {
    const at::Tensor target = covariance * ((1 - share) / level);
    target.diagonal().add_(share);
    const at::Tensor factor = at::linalg_cholesky(target);
    at::from_blob(out, {dim, dim}, at::kDouble).copy_(at::linalg_solve_triangular(factor, at::eye(dim, at::kDouble), /*upper=*/false).t());
  });
  return {mean.to(at::kFloat), matrix.reshape({dim, dim}).to(at::kFloat)};
}

Whitening whiten(const std::vector<at::Tensor*>& splits, double share, int threads, Communicator& comm) {
  Whitening whitening = fit_whitening(*splits.front(), share, threads, comm);
  for (at::Tensor* features : splits)
    if (features->defined()) *features = whitening.rows(*features, threads, comm);
  return whitening;
}

Embedder whitened(Embedder embedder, const Whitening& whitening) {
  embedder.embed = [whitening, embed = std::move(embedder.embed)](const at::Tensor& images) {
    return whitening.rows(normalize_rows(embed(images).to(at::kCPU, at::kFloat)));
  };
  return embedder;
}

}  // namespace dinoxx::eval
