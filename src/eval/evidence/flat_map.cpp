#include "flat_map.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

namespace dinoxx::eval {
namespace {

constexpr int kExaggerated = 250, kSteps = 750;
constexpr double kExaggeration = 12;

at::Tensor squared_distances(const at::Tensor& points) {
  const at::Tensor x = points.to(at::kDouble), norms = x.square().sum(1);
  return (norms.unsqueeze(1) + norms.unsqueeze(0) - 2 * x.matmul(x.t())).clamp_min_(0).contiguous();
}

// Shares of the other points for one: exp(-beta d^2) with the beta at which the entropy is log(perplexity).
void fill_shares(const double* distances, int64_t n, int64_t self, double entropy, double* shares) {
  double beta = 1, low = 0, high = INFINITY;
  double nearest = INFINITY;
  for (int64_t j = 0; j < n; ++j)
    if (j != self) nearest = std::min(nearest, distances[j]);
  for (int step = 0; step < 100; ++step) {
    double sum = 0, weighted = 0;
    for (int64_t j = 0; j < n; ++j) {
      const double apart = distances[j] - nearest;
      shares[j] = j == self ? 0 : std::exp(-beta * apart);
      sum += shares[j];
      weighted += shares[j] * apart;
    }
    const double found = std::log(sum) + beta * weighted / sum;
    for (int64_t j = 0; j < n; ++j) shares[j] /= sum;
    if (std::abs(found - entropy) < 1e-6) return;
    (found > entropy ? low : high) = beta;
    beta = std::isinf(high) ? 2 * beta : (low + high) / 2;
    if (!std::isfinite(beta)) return;  // copies: no beta parts them
  }
}

}  // namespace

Principal principal_places(const at::Tensor& x) {
  const at::Tensor centred = x.to(at::kDouble) - x.to(at::kDouble).mean(0, /*keepdim=*/true);
  const auto [u, s, v] = at::linalg_svd(centred, /*full_matrices=*/false);
  Principal out{at::zeros({x.size(0), 2}, at::kDouble), {0, 0}};
  const double total = s.square().sum().item<double>();
  for (int64_t c = 0; c < std::min<int64_t>(2, s.size(0)); ++c) {
    const at::Tensor loading = v[c], largest = loading[loading.abs().argmax()];
    const double sign = largest.item<double>() < 0 ? -1 : 1;
    out.places.select(1, c).copy_(u.select(1, c) * s[c] * sign);
    out.explained[static_cast<size_t>(c)] = total > 0 ? s[c].item<double>() * s[c].item<double>() / total : 0;
  }
  return out;
}

double tsne_perplexity(int64_t points) {
  return std::min(30.0, static_cast<double>(points - 1) / 3);
}

at::Tensor tsne_places(const at::Tensor& x, double perplexity) {
  const int64_t n = x.size(0);
  const at::Tensor distances = squared_distances(x);
  at::Tensor shares = at::zeros({n, n}, at::kDouble);
  for (int64_t i = 0; i < n; ++i)
    fill_shares(distances.data_ptr<double>() + i * n, n, i, std::log(perplexity), shares.data_ptr<double>() + i * n);
  shares = ((shares + shares.t()) / (2.0 * static_cast<double>(n))).contiguous();
  const double* p = shares.data_ptr<double>();

  const at::Tensor begin = principal_places(x).places, deviation = begin.select(1, 0).std();
  const double scale = deviation.item<double>() > 0 ? 1e-4 / deviation.item<double>() : 0;
  const at::Tensor places = (begin * scale).contiguous();
  double* y = places.data_ptr<double>();
  const auto coordinates = static_cast<size_t>(2 * n);
  std::vector<double> speed(coordinates), gain(coordinates, 1.0), pull(coordinates), push(coordinates);
  const double rate = std::max(static_cast<double>(n) / (4 * kExaggeration), 50.0);
  for (int step = 0; step < kSteps; ++step) {
    const double attraction = step < kExaggerated ? kExaggeration : 1, momentum = step < kExaggerated ? 0.5 : 0.8;
    std::fill(pull.begin(), pull.end(), 0.0);
    std::fill(push.begin(), push.end(), 0.0);
    double sum = 0;
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j < i; ++j) {
        const double dx = y[2 * i] - y[2 * j], dy = y[2 * i + 1] - y[2 * j + 1], q = 1 / (1 + dx * dx + dy * dy);
        const double together = p[i * n + j] * q, apart = q * q;
        sum += 2 * q;
        pull[2 * i] += together * dx, pull[2 * i + 1] += together * dy;
        pull[2 * j] -= together * dx, pull[2 * j + 1] -= together * dy;
        push[2 * i] += apart * dx, push[2 * i + 1] += apart * dy;
        push[2 * j] -= apart * dx, push[2 * j + 1] -= apart * dy;
      }
    }
    for (size_t c = 0; c < coordinates; ++c) {
      const double slope = 4 * (attraction * pull[c] - push[c] / sum);
      gain[c] = std::max(0.01, (slope > 0) != (speed[c] > 0) ? gain[c] + 0.2 : gain[c] * 0.8);
      speed[c] = momentum * speed[c] - rate * gain[c] * slope;
      y[c] += speed[c];
    }
  }
  return places - places.mean(0, /*keepdim=*/true);
}

double kept_neighbours(const at::Tensor& x, const at::Tensor& places, int64_t k) {
  const int64_t n = x.size(0);
  const auto nearest = [&](const at::Tensor& points) {
    at::Tensor distances = squared_distances(points);
    distances.fill_diagonal_(INFINITY);
    return std::get<1>(distances.topk(k, 1, /*largest=*/false, /*sorted=*/false));
  };
  const at::Tensor first = nearest(x), second = nearest(places);
  const at::Tensor same = first.unsqueeze(2) == second.unsqueeze(1);  // [N, k, k]
  return same.sum().item<double>() / static_cast<double>(n * k);
}

}  // namespace dinoxx::eval
