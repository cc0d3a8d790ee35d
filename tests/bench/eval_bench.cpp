// What evaluation costs beside the least that can be done.
//
//   dinoxx_bench_eval knn [QUERIES MEMORY DIM ROUNDS]   nearest_neighbors (k = 200) beside a plain product with top-k, alternating; medians and their ratio
//   dinoxx_bench_eval linear FILE                       a path over C on "features" [n, D] float32 and "labels" [n] int64 of a safetensors file (linear_peer.py writes it)
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "dinoxx/core/safetensors.hpp"
#include "dinoxx/eval/blocks.hpp"
#include "dinoxx/eval/knn.hpp"
#include "dinoxx/eval/logistic.hpp"
#include "dinoxx/model/weights.hpp"

using namespace dinoxx;
using namespace dinoxx::eval;

namespace {

double seconds(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void knn(int64_t queries, int64_t memory, int64_t dim, int rounds) {
  constexpr int64_t k = 200;
  const at::Tensor q = normalize_rows(at::randn({queries, dim})), m = normalize_rows(at::randn({memory, dim}));
  std::vector<double> ours, product, with_topk;
  for (int round = 0; round < rounds; ++round) {
    ours.push_back(seconds([&] {
      for_each_block(queries, {0, queries}, 1, [&](int64_t, ItemRange items) { nearest_neighbors(q.narrow(0, items.begin, items.size()), m, k); });
    }));
    // in pieces that fit into memory
    double of_product = 0, of_both = 0;
    for (int64_t first = 0; first < queries; first += 1000) {
      const at::Tensor part = q.narrow(0, first, std::min<int64_t>(1000, queries - first));
      at::Tensor similarity;
      const double once = seconds([&] { similarity = at::mm(part, m.t()); });
      of_product += once;
      of_both += once + seconds([&] { similarity.topk(k, 1, true, true); });
    }
    product.push_back(of_product);
    with_topk.push_back(of_both);
    fmt::print("round {}: nearest_neighbors {:.2f} s, product {:.2f} s, product and top-k {:.2f} s\n", round + 1, ours.back(), product.back(), with_topk.back());
  }
  fmt::print("{} x {} x {}, one thread, medians of {}: {:.2f} of product and top-k, {:.2f} of the product alone\n", queries, memory, dim, rounds,
             median(ours) / median(with_topk), median(ours) / median(product));
}

void linear(const std::string& path) {
  const SafetensorsFile file(path);
  const at::Tensor x = to_tensor(file.at("features")), y = to_tensor(file.at("labels")).to(at::kInt), cs = to_tensor(file.at("C")).to(at::kDouble);
  const std::vector<int32_t> labels(y.data_ptr<int32_t>(), y.data_ptr<int32_t>() + y.numel());
  double total = 0;
  std::vector<LogisticFit> fits;
  total += seconds([&] {
    LogisticRegression regression(x, labels, y.max().item<int>() + 1);
    for (int64_t i = 0; i < cs.numel(); ++i) {
      double of_fit = 0;
      of_fit = seconds([&] { fits.push_back(regression.fit(cs[i].item<double>(), {.tolerance = 1e-8})); });
      fmt::print("  C {:.0e}: objective {:.12f}, {} iterations{}, {:.2f} s\n", cs[i].item<double>(), fits.back().objective, fits.back().iterations,
                 fits.back().converged ? "" : " (not converged)", of_fit);
    }
  });
  fmt::print("path_seconds {:.2f}\n", total);
}

}  // namespace

int main(int argc, char** argv) {
  const at::NoGradGuard no_grad;
  at::set_num_threads(1);
  const std::string what = argc > 1 ? argv[1] : "";
  const auto number = [&](int i, int64_t otherwise) { return argc > i ? std::stoll(argv[i]) : otherwise; };
  if (what == "knn") {
    knn(number(2, 10000), number(3, 50000), number(4, 384), static_cast<int>(number(5, 3)));
  } else if (what == "linear" && argc == 3) {
    linear(argv[2]);
  } else {
    fmt::print("usage: dinoxx_bench_eval knn [QUERIES MEMORY DIM ROUNDS] | linear FILE\n");
    return 2;
  }
  return 0;
}
