// One backbone, one call at a time: vit_peer.py asks on standard input and alternates with PyTorch.
//
//   dinoxx_bench_vit FILE fp32|bf16
//
// FILE: weights of a ViT that `dinoxx weights import` knows. Lines in: "threads N" (answer "ok"), "MODE BATCH" (answer: processor seconds
// of all threads, wall seconds), "profile" (answer: seconds in matrix products, LayerNorm, attention and row sums since the last "profile",
// of the calling thread) or "feature" (answer: the CLS feature of the first image). Modes: tokens (all tokens after the final norm), cls
// (the CLS feature alone), separate and packed (two crops of 224 and eight of 96 pixels an image, each size in a pass of its own or all in
// one); with _backward behind the name the gradients of all parameters as well.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <chrono>
#include <ctime>
#include <iostream>
#include <map>
#include <sstream>

#include "dinoxx/base/error.hpp"
#include "model/weights/import.hpp"
#include "ops/profile.hpp"

namespace dinoxx {
namespace {

/// What vit_peer.py makes by the same formula.
at::Tensor images(int64_t batch, int64_t size, at::ScalarType dtype) {
  return at::sin(at::arange(batch * 3 * size * size, at::kDouble) * 0.37).view({batch, 3, size, size}).to(dtype);
}

class Bench {
 public:
  Bench(const std::string& path, at::ScalarType dtype) : dtype_(dtype), vit_(load(path, dtype)) {
    for (const NamedTensor& p : vit_.parameters()) p.tensor.set_requires_grad(true);
  }

  at::Tensor feature() const {
    at::NoGradGuard no_grad;
    return vit_.forward(images(1, 224, dtype_)).flatten().to(at::kFloat);
  }

  /// Processor seconds of all threads and wall seconds of one call.
  std::pair<double, double> call(const std::string& mode, int64_t batch) {
    const bool backward = mode.ends_with("_backward");
    const std::string what = backward ? mode.substr(0, mode.size() - 9) : mode;
    const int64_t large = what == "separate" || what == "packed" ? 2 * batch : batch;
    const at::Tensor global = crops(large, 224);
    std::vector<Crops> groups{{global, nullptr, {}, false}};
    if (what == "separate" || what == "packed") groups.push_back({crops(8 * batch, 96), nullptr, {}, true});
    // as optimizer.zero_grad() of PyTorch: the first gradient is taken over, not added
    for (const NamedTensor& p : vit_.parameters()) p.tensor.mutable_grad() = at::Tensor();

    const std::clock_t cpu = std::clock();
    const auto wall = std::chrono::steady_clock::now();
    {
      const at::AutoGradMode grad(backward);
      const std::vector<at::Tensor> outputs = run(what, groups);
      if (backward) {
        at::Tensor loss = outputs[0].sum();
        for (size_t i = 1; i < outputs.size(); ++i) loss = loss + outputs[i].sum();
        loss.backward();
      }
    }
    return {static_cast<double>(std::clock() - cpu) / CLOCKS_PER_SEC,
            std::chrono::duration<double>(std::chrono::steady_clock::now() - wall).count()};
  }

 private:
  static VisionTransformer load(const std::string& path, at::ScalarType dtype) {
    const WeightFile file = WeightFile::open(path);
    const Recognized recognized = recognize(file);
    VisionTransformer vit(std::get<VitConfig>(recognized.config), dtype);
    import_weights(recognized, path, vit.parameters());
    return vit;
  }
  const at::Tensor& crops(int64_t count, int64_t size) {
    at::Tensor& made = made_[{count, size}];
    if (!made.defined()) made = images(count, size, dtype_);
    return made;
  }
  std::vector<at::Tensor> run(const std::string& what, const std::vector<Crops>& groups) const {
    if (what == "tokens") return {vit_.forward_tokens(groups[0].images)};
    if (what == "cls") return {vit_.forward(groups[0].images)};
    std::vector<at::Tensor> outputs;
    if (what == "separate") {
      for (const Crops& g : groups) outputs.push_back(vit_.forward_features(g).cls);
    } else if (what == "packed") {
      for (const Features& f : vit_.forward_packed(groups)) outputs.push_back(f.cls);
    } else {
      fail_usage("mode", "tokens, cls, separate or packed", what, "See vit_bench.cpp");
    }
    return outputs;
  }

  at::ScalarType dtype_;
  VisionTransformer vit_;
  std::map<std::pair<int64_t, int64_t>, at::Tensor> made_;
};

void serve(const std::string& path, const std::string& precision) {
  if (precision != "fp32" && precision != "bf16") fail_usage("dinoxx_bench_vit", "fp32 or bf16", precision, "See vit_bench.cpp");
  Bench bench(path, precision == "bf16" ? at::kBFloat16 : at::kFloat);
  ops::Profile before = ops::profile();
  std::string line;
  while (std::getline(std::cin, line)) {
    std::istringstream words(line);
    std::string word;
    int64_t number = 0;
    words >> word >> number;
    if (word == "threads") {
      at::set_num_threads(static_cast<int>(number));
      std::cout << "ok\n";
    } else if (word == "feature") {
      const at::Tensor f = bench.feature();
      for (int64_t i = 0; i < f.numel(); ++i) std::cout << f[i].item<float>() << ' ';
      std::cout << '\n';
    } else if (word == "profile") {
      const ops::Profile now = ops::profile();
      for (size_t i = 0; i < now.size(); ++i) std::cout << now[i].seconds - before[i].seconds << ' ';
      std::cout << '\n';
      before = now;
    } else {
      const auto [cpu, wall] = bench.call(word, number);
      std::cout << cpu << ' ' << wall << '\n';
    }
    std::cout.flush();
  }
}

}  // namespace
}  // namespace dinoxx

int main(int argc, char** argv) {
  try {
    if (argc != 3) dinoxx::fail_usage("dinoxx_bench_vit", "FILE fp32|bf16", "other arguments", "tests/bench/vit.sh runs it");
    dinoxx::serve(argv[1], argv[2]);
  } catch (const std::exception& error) {
    std::cerr << "dinoxx_bench_vit: " << error.what() << '\n';
    return 1;
  }
  return 0;
}
