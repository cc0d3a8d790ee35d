// The commands normalise by what the network's file says. Two files hold one function: the second has ImageNet's normalisation, and a first
// layer that undoes the difference. All that a command says of them agrees; of the first network under ImageNet's it does not.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <cmath>
#include <sstream>

#include "base/files.hpp"
#include "data_pipeline/pack/pack.hpp"
#include "data_pipeline/toy/toy_video.hpp"
#include "dinoxx/base/error.hpp"
#include "dinoxx/comm/self_communicator.hpp"
#include "eval/correspondence/match.hpp"
#include "eval/correspondence/propagate.hpp"
#include "eval/dense/attend.hpp"
#include "eval/features/model_source.hpp"
#include "eval/predict/predict.hpp"
#include "model/weights/backbone_json.hpp"
#include "model/weights/weights.hpp"
#include "support/small_vit.hpp"
#include "support/temporary_folder.hpp"

namespace dinoxx::eval {
namespace {

using namespace dinoxx::testing_support;
namespace fs = std::filesystem;
using nlohmann::json;

class NormalizationOfCommands : public testing::Test {
 protected:
  NormalizationOfCommands() {
    const auto network = small_backbone(2, 3);
    const at::NoGradGuard none;
    // an untrained network attends alike everywhere and says nearly the same of each image: larger weights tell pixels apart
    for (const auto& [name, tensor] : network->parameters())
      if (tensor.dim() > 1) tensor.mul_(10);
    write(*network, "own", kOwn);
    write(*network, "wrong", std::nullopt);
    at::Tensor weight, bias;
    for (const auto& [name, tensor] : network->parameters()) {
      if (name == "patch_embed.proj.weight") weight = tensor;
      if (name == "patch_embed.proj.bias") bias = tensor;
    }
    const Normalization other = imagenet_normalization();
    // (x - m) / s = (x - m') / s' * s' / s + (m' - m) / s
    const at::Tensor before = weight.clone();
    for (int64_t c = 0; c < 3; ++c) {
      bias += before.select(1, c).sum({1, 2}) * ((other.mean[c] - kOwn.mean[c]) / kOwn.std[c]);
      weight.select(1, c).mul_(other.std[c] / kOwn.std[c]);
    }
    write(*network, "same", std::nullopt);
    write_toy_videos(folder_.path(), 1, {.width = 64, .height = 48, .frames = 6});
  }

  ModelRequest model(const std::string& name) const {
    ModelRequest request;
    request.checkpoint = folder_ / (name + ".safetensors");
    return request;
  }
  fs::path frame(int number) const { return folder_ / "frames" / "toy_00" / fmt::format("{:05}.png", number); }

  // The largest relative difference of the numbers that `say` gives for two of the files.
  template <class Say>
  void expect_same_as_adapted(const Say& say) {
    const std::vector<double> own = say("own"), same = say("same"), wrong = say("wrong");
    ASSERT_FALSE(own.empty());
    EXPECT_LT(difference(own, same), 1e-4);
    EXPECT_GT(difference(own, wrong), 1e-2);
  }

  const Normalization kOwn{{0.8f, 0.1f, 0.5f}, {0.1f, 0.4f, 0.9f}};
  const TemporaryFolder folder_;

 private:
  void write(const Backbone& network, const std::string& name, const std::optional<Normalization>& normalization) {
    std::map<std::string, std::string> metadata{{"dinoxx.backbone", to_json(network.config()).dump()}};
    if (normalization) metadata[kNormalizationKey] = to_text(*normalization);
    write_safetensors(folder_ / (name + ".safetensors"), tensor_views(stored_state(network)), metadata);
  }
  static double difference(const std::vector<double>& a, const std::vector<double>& b) {
    EXPECT_EQ(a.size(), b.size());
    double largest = 0;
    for (size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(a[i] - b[i]) / std::max(1e-3, std::abs(a[i])));
    return largest;
  }
};

TEST_F(NormalizationOfCommands, Attend) {
  expect_same_as_adapted([&](const std::string& name) {
    AttendOptions options{model(name), frame(0), folder_ / ("attend_" + name), {}, {}, ""};
    const json result = attend(options);
    std::vector<double> numbers;
    for (const char* norm : {"mean", "min", "max"}) numbers.push_back(result["patches"]["norm"][norm]);
    for (const json& head : result["attention"]["heads"]) numbers.push_back(head["entropy"]);
    EXPECT_EQ(result["checkpoint"]["input"]["mean"], json(decimals((name == "own" ? kOwn : imagenet_normalization()).mean)));
    return numbers;
  });
}

TEST_F(NormalizationOfCommands, Match) {
  json points = json::array();
  for (int x = 2; x < 64; x += 4)
    for (int y = 2; y < 48; y += 4) points.push_back({x, y, x, y});
  write_file_atomically(folder_ / "pairs.json", json{{{"first", "00000.png"}, {"second", "00005.png"}, {"points", points}}}.dump());
  expect_same_as_adapted([&](const std::string& name) {
    MatchOptions options;
    options.model = model(name);
    options.pairs = folder_ / "pairs.json";
    options.images = folder_ / "frames" / "toy_00";
    options.out = folder_ / ("match_" + name);
    options.image_size = 48;
    options.baselines = {};
    const json results = match_pairs(options, *make_self_communicator());
    std::vector<double> numbers{results["results"][0]["mutual"]["share"]};
    for (const char* share : {"0.05", "0.1", "0.2"}) numbers.push_back(results["results"][0]["pck"][share]);
    return numbers;
  });
}

TEST_F(NormalizationOfCommands, Propagate) {
  expect_same_as_adapted([&](const std::string& name) {
    PropagateOptions options;
    options.model = model(name);
    options.frames = folder_ / "frames";
    options.masks = folder_ / "masks";
    options.out = folder_ / ("propagate_" + name);
    options.baselines = {};
    const json results = propagate(options, *make_self_communicator());
    std::vector<double> numbers;
    for (const json& object : results["results"][0]["films"][0]["objects"])
      for (const char* figure : {"j_frames", "f_frames"})
        for (const json& value : object[figure]) numbers.push_back(value);
    return numbers;
  });
}

TEST_F(NormalizationOfCommands, Predict) {
  PackOptions packing;
  packing.source = PackOptions::Source::kToy;
  packing.toy.count = 120;
  packing.toy.size = 16;
  packing.out = folder_ / "data";
  pack(packing);
  expect_same_as_adapted([&](const std::string& name) {
    PredictOptions options;
    options.model = model(name);
    options.data = folder_ / "data";
    options.images = folder_ / "frames";
    options.out = folder_ / (name + ".csv");
    predict_folder(options, *make_self_communicator());
    std::vector<double> numbers;
    std::istringstream table(read_text(options.out));
    std::string line, field;
    std::vector<bool> is_probability;  // by column
    std::getline(table, line);
    for (std::istringstream head(line); std::getline(head, field, ',');) is_probability.push_back(field.starts_with("p:"));
    while (std::getline(table, line)) {
      std::istringstream fields(line);
      for (const bool wanted : is_probability)
        if (std::getline(fields, field, ','); wanted) numbers.push_back(std::stod(field));
    }
    EXPECT_GT(numbers.size(), 1U);
    return numbers;
  });
}

// A file of a few numbers that says it came from the training of the largest network is refused before that network is built.
TEST(ForgedConfiguration, CostsNoMemory) {
  const TemporaryFolder folder;
  write_safetensors(folder / "teacher.safetensors", tensor_views({{"backbone.cls_token", at::zeros({1, 1, 8})}}),
                    {{"dinoxx.config", "model.arch = vit_7b\n"}});
  ModelRequest request;
  request.checkpoint = folder / "teacher.safetensors";
  EXPECT_THAT([&] { load_model(request); },
              testing::ThrowsMessage<UsageError>(testing::HasSubstr("numbers for a vision transformer, width 4096")));
}

}  // namespace
}  // namespace dinoxx::eval
