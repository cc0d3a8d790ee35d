// What evaluation costs beside the least that can be done.
//
//   dinoxx_bench_eval knn [QUERIES MEMORY DIM THREADS]  nearest_neighbors (k = 200) beside a plain product with top-k, in turns; medians of
//   the ratio dinoxx_bench_eval linear FILE                       a path over C on "features" [n, D] float32 and "labels" [n] int64 of a
//   safetensors file (linear_peer.py writes it) dinoxx_bench_eval extract DATA [IMAGES THREADS SIZE PATCH DIM DEPTH]   feature extraction
//   from a packed set beside the forward pass alone
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <functional>
#include <string>
#include <vector>

#include "dinoxx/comm/self_communicator.hpp"
#include "dinoxx/data_pipeline/dataset.hpp"
#include "eval/classify/knn.hpp"
#include "eval/classify/logistic.hpp"
#include "eval/features/blocks.hpp"
#include "eval/features/features.hpp"
#include "formats/safetensors.hpp"
#include "model/weights/weights.hpp"

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

struct Cost {
  double cpu = 0, wall = 0;
  void operator+=(const Cost& other) { cpu += other.cpu, wall += other.wall; }
};

// Processor seconds of all threads, and wall seconds.
Cost cost(const std::function<void()>& work) {
  const std::clock_t cpu = std::clock();
  const double wall = seconds(work);
  return {static_cast<double>(std::clock() - cpu) / CLOCKS_PER_SEC, wall};
}

// In parts of 1,000 queries, both sides in turns on each, so that they see the same machine.
void knn(int64_t queries, int64_t memory, int64_t dim, int threads) {
  constexpr int64_t k = 200, part_size = 1000;
  const at::Tensor q = normalize_rows(at::randn({queries, dim})), m = normalize_rows(at::randn({memory, dim}));
  at::set_num_threads(threads);
  Cost ours, product, topk;
  std::vector<double> cpu, wall, of_product;
  for (int64_t first = 0; first < queries; first += part_size) {
    const at::Tensor part = q.narrow(0, first, std::min(part_size, queries - first));
    const int64_t count = part.size(0);
    const Cost a = cost([&] {
      for_each_block(count, {0, count}, threads,
                     [&](int64_t, ItemRange items) { nearest_neighbors(part.narrow(0, items.begin, items.size()), m, k); });
    });
    at::Tensor similarity;
    const Cost b = cost([&] { similarity = at::mm(part, m.t()); });
    const Cost c = cost([&] { similarity.topk(k, 1, true, true); });
    ours += a, product += b, topk += c;
    cpu.push_back(a.cpu / (b.cpu + c.cpu));
    wall.push_back(a.wall / (b.wall + c.wall));
    of_product.push_back(a.cpu / b.cpu);
  }
  fmt::print(
      "{} x {} x {}, {} threads, {} parts; processor (wall) seconds: nearest_neighbors {:.2f} ({:.2f}), product {:.2f} ({:.2f}), top-k "
      "{:.2f} ({:.2f})\n",
      queries, memory, dim, threads, cpu.size(), ours.cpu, ours.wall, product.cpu, product.wall, topk.cpu, topk.wall);
  fmt::print("medians over the parts: {:.2f} ({:.2f}) of product and top-k, {:.2f} of the product alone\n", median(cpu), median(wall),
             median(of_product));
}

void linear(const std::string& path) {
  const SafetensorsFile file(path);
  const at::Tensor x = to_tensor(file.at("features")), y = to_tensor(file.at("labels")).to(at::kInt), cs = to_tensor(file.at("C")).to(at::kDouble);
  const std::vector<int32_t> labels(y.data_ptr<int32_t>(), y.data_ptr<int32_t>() + y.numel());
  std::vector<LogisticFit> fits;
  const Cost total = cost([&] {
    LogisticRegression regression(x, labels, y.max().item<int>() + 1);
    for (int64_t i = 0; i < cs.numel(); ++i) {
      double of_fit = 0;
      of_fit = seconds([&] { fits.push_back(regression.fit(cs[i].item<double>(), {.tolerance = 1e-8})); });
      fmt::print("  C {:.0e}: objective {:.12f}, {} iterations{}, {:.2f} s\n", cs[i].item<double>(), fits.back().objective, fits.back().iterations,
                 fits.back().converged ? "" : " (not converged)", of_fit);
    }
  });
  fmt::print("path_seconds {:.2f}, processor {:.2f}\n", total.wall, total.cpu);
}

// Images/s of extract_features (read, decode, fit, forward, normalise) beside the forward pass alone on the same images, in turns for each
// part.
void extract(const std::string& folder, int64_t images, int threads, const VitConfig& config) {
  const auto dataset = Dataset::open(folder);
  std::vector<uint64_t> ids;
  for (uint64_t id = 0; id < dataset->size() && static_cast<int64_t>(ids.size()) < images; ++id) ids.push_back(id);
  VisionTransformer network(config, at::kFloat);
  network.initialize(0);
  const Embedder embedder = backbone_embedder("network", "", network);
  const ExtractOptions options{choose_transform(*dataset, ids, config.image_size), imagenet_normalization(), threads};
  const auto comm = make_self_communicator();
  Cost whole, forward;
  std::vector<double> cpu, wall;
  const size_t part_size = static_cast<size_t>(kEvalBlock * threads);
  for (size_t first = 0; first + part_size <= ids.size(); first += part_size) {
    const auto part = std::span(ids).subspan(first, part_size);
    const at::Tensor pixels = read_images(*dataset, part, options);
    const Cost a = cost([&] { extract_features(*dataset, part, {&embedder, 1}, options, *comm); });
    const auto count = static_cast<int64_t>(part.size());
    const Cost b = cost([&] {
      for_each_block(count, {0, count}, threads,
                     [&](int64_t, ItemRange items) { embedder.embed(pixels.narrow(0, items.begin, items.size())); });
    });
    whole += a, forward += b;
    cpu.push_back(a.cpu / b.cpu);
    wall.push_back(a.wall / b.wall);
  }
  const double done = static_cast<double>(cpu.size() * part_size);
  fmt::print(
      "{} images, {}, {} threads: extraction {:.1f} images/s, forward alone {:.1f} images/s (wall); medians of {} parts: {:.3f} of its "
      "processor time ({:.3f} of its wall time)\n",
      done, describe(options.transform), threads, done / whole.wall, done / forward.wall, cpu.size(), median(cpu), median(wall));
}

}  // namespace

int main(int argc, char** argv) {
  const at::NoGradGuard no_grad;
  at::set_num_threads(1);
  const std::string what = argc > 1 ? argv[1] : "";
  const auto number = [&](int i, int64_t otherwise) { return argc > i ? std::stoll(argv[i]) : otherwise; };
  if (what == "knn") {
    knn(number(2, 10000), number(3, 50000), number(4, 384), static_cast<int>(number(5, 1)));
  } else if (what == "linear" && argc == 3) {
    linear(argv[2]);
  } else if (what == "extract" && argc > 2) {
    VitConfig config;
    config.image_size = static_cast<int>(number(5, 224));
    config.patch_size = static_cast<int>(number(6, 16));
    config.dim = static_cast<int>(number(7, 384));
    config.depth = static_cast<int>(number(8, 12));
    config.heads = config.dim / 64;
    extract(argv[2], number(3, 256), static_cast<int>(number(4, 1)), config);
  } else {
    fmt::print(
        "usage: dinoxx_bench_eval knn [QUERIES MEMORY DIM THREADS] | linear FILE | extract DATA [IMAGES THREADS SIZE PATCH DIM DEPTH]\n");
    return 2;
  }
  return 0;
}
