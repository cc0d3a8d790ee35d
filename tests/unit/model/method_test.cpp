// Method specs: what runs, and what is refused by name at start-up. And the network bundle's packing.
#include "method/method.hpp"

#include <gmock/gmock.h>

#include <map>

#include "dinoxx/base/error.hpp"
#include "dinoxx/loss/dino_loss.hpp"
#include "method/methods.hpp"
#include "method/network.hpp"
#include "method/shared/token_maps.hpp"
#include "small_vit.hpp"
#include "tiny_run.hpp"
#include "train/training_config.hpp"

namespace dinoxx {
namespace {

using testing::AllOf;
using testing::HasSubstr;

template <class Call>
std::string usage_message(const Call& call) {
  try {
    call();
  } catch (const UsageError& error) {
    return error.what();
  }
  return "no usage error";
}

MethodSpec dino(int locals = 3) {
  return make_method(testing_support::tiny_config(fmt::format("[views]\nlocal_count = {}\n", locals)));
}

NetworkConfig small_network(int head_in = 32) {
  return {small_vit(0.3), {"head", DinoHeadConfig{head_in, 24, 8, 12, 3}}, {}, {}};
}

TEST(Method, DinoRow) {
  const MethodSpec spec = dino();
  EXPECT_EQ(spec.views.views.size(), 5u);
  EXPECT_EQ(spec.views.global_count(), 2);
  EXPECT_TRUE(spec.centre);
  ASSERT_EQ(spec.terms.size(), 1u);
  EXPECT_EQ(spec.terms[0].name, "dino");
  EXPECT_EQ(dino(0).views.views.size(), 2u);

  LossInputs in;
  const at::Tensor student = golden::uniform("s", {5, 2, 16}), teacher = golden::uniform("t", {2, 2, 16});
  in.student_scores.views = student;
  in.teacher_scores.views = teacher;
  in.centre = at::zeros({16}, at::kDouble);
  in.values.teacher_temp = 0.04;
  const LossOutputs out = spec.terms[0].loss(in);
  EXPECT_DOUBLE_EQ(out.loss.item<double>(), dino_loss(student, teacher, in.centre, 0.1, 0.04).loss.item<double>());
  EXPECT_EQ(out.centre.rows, 4);
  EXPECT_EQ(out.metrics.size(), 3u);
}

TEST(Method, TheTableIsWhole) {
  std::set<std::string> names;
  for (const Method& method : methods()) {
    EXPECT_TRUE(names.insert(method.name).second) << method.name << " twice";
    EXPECT_GT(method.summary.size(), 10u) << method.name;
    EXPECT_TRUE(method.make) << method.name;
    EXPECT_GT(method.defaults.lr, 0) << method.name;
  }
}

TEST(Method, UnknownNameGetsTheNearest) {
  EXPECT_THAT(usage_message([] {
                Config config = testing_support::tiny_config();
                config.train->method = "dimo";
                make_method(config);
              }),
              AllOf(HasSubstr("\"dimo\""), HasSubstr("dino")));
}

TEST(Method, NeedsAreCheckedByName) {
  const auto refused = [](const std::function<void(MethodSpec&)>& change) {
    MethodSpec spec = dino();
    change(spec);
    return usage_message([&] { check_method(spec); });
  };
  EXPECT_THAT(refused([](MethodSpec& s) { s.views.views.resize(1); }),
              AllOf(HasSubstr("method dino, loss term dino"), HasSubstr("two views")));
  EXPECT_THAT(refused([](MethodSpec& s) { s.teacher = TeacherPolicy::kNone; }), AllOf(HasSubstr("loss term dino"), HasSubstr("teacher")));
  EXPECT_THAT(refused([](MethodSpec& s) {
                for (auto& v : s.views.views) v.global = false;
              }),
              HasSubstr("global"));
  EXPECT_THAT(refused([](MethodSpec& s) { s.terms.clear(); }), HasSubstr("loss term"));
  EXPECT_THAT(refused([](MethodSpec& s) { s.views.views.clear(); }), HasSubstr("at least one view"));
  EXPECT_THAT(refused([](MethodSpec& s) { s.views.views[1].size = 96; }), HasSubstr("global views of one size"));
  EXPECT_THAT(refused([](MethodSpec& s) { std::swap(s.views.views[1], s.views.views[2]); }), HasSubstr("global"));
  EXPECT_THAT(refused([](MethodSpec& s) { s.views.views[3].size = 64; }), HasSubstr("side by side"));
}

// DINOv3's 7B model norms the CLS token of local crops by weights of its own, in training alone.
TEST(Method, LocalCropsHaveTheirOwnNormWhereTheNetworkHasOne) {
  const std::string text = "[model]\narch = vit_7b\nstyle = dinov3\n[train]\nmethod = dinov3\n[mask]\ngroup_size = 1\n";
  const MethodSpec spec = make_method(testing_support::tiny_config(text));
  Network network(spec.network, at::kDouble);
  network.initialize(3);
  const auto parameter = [&](const std::string& name) {
    for (const NamedTensor& t : network.parameters())
      if (t.name == "backbone." + name) return t.tensor;
    return at::Tensor();
  };
  const std::vector<uint64_t> positions{0, 1, 2};
  const std::vector<at::Tensor> crops{golden::uniform("global", {6, 3, 16, 16}), golden::uniform("local", {6, 3, 8, 8})};
  const std::vector<RowOrigin> origins{{5, positions, 0, 0}, {5, positions, 2, 0}};
  const auto features = [&](bool training) {
    ForwardInput input{.crops_by_size = crops, .batch = 3};
    if (training) input.origins = origins;
    return network.forward(input).features;  // [4, 3, D]
  };
  const at::Tensor before = features(true).detach().clone(), evaluated = features(false).detach().clone();
  for (const char* name : {"norm.weight", "local_cls_norm.weight"}) parameter(name).set_requires_grad(true);
  const at::Tensor both = features(true);
  both.narrow(0, 0, 2).sum().backward({}, /*retain_graph=*/true);
  EXPECT_GT(parameter("norm.weight").grad().abs().sum().item<double>(), 0);
  EXPECT_EQ(parameter("local_cls_norm.weight").grad().abs().sum().item<double>(), 0) << "global crops";
  parameter("norm.weight").mutable_grad().zero_();
  both.narrow(0, 2, 2).sum().backward();
  EXPECT_EQ(parameter("norm.weight").grad().abs().sum().item<double>(), 0) << "local crops";
  EXPECT_GT(parameter("local_cls_norm.weight").grad().abs().sum().item<double>(), 0);
  {
    at::NoGradGuard no_grad;
    parameter("local_cls_norm.weight").mul_(2);
  }
  const at::Tensor after = features(true).detach();
  EXPECT_TRUE(at::equal(after.narrow(0, 0, 2), before.narrow(0, 0, 2)));
  EXPECT_TRUE(at::allclose(after.narrow(0, 2, 2), 2 * before.narrow(0, 2, 2), 1e-12, 1e-12));
  EXPECT_TRUE(at::equal(features(false).detach(), evaluated)) << "evaluation knows one norm";
  // without local crops it would have no gradient
  const auto has_one = [](const std::string& more) {
    return std::get<VitConfig>(make_method(testing_support::tiny_config(more)).network.backbone).untied_local_cls_norm;
  };
  EXPECT_TRUE(has_one(text));
  EXPECT_FALSE(has_one(text + "[views]\nlocal_count = 0\n"));
  EXPECT_FALSE(has_one("[model]\nstyle = dinov3\n"));
}

// A mask token that hides nothing would have no gradient.
TEST(Method, OnlyAStudentThatIsMaskedHasAMaskToken) {
  const auto masked = [](const std::string& method) {
    const Config config = testing_support::tiny_config("[train]\nmethod = " + method + "\n[mask]\ngroup_size = 1\n" +
                                                       (method == "distill" ? "[teacher]\ndistill = run\n" : ""));
    const MethodSpec spec = make_method(config);
    return std::pair(spec.masks.has_value(), std::get<VitConfig>(spec.network.backbone).mask_token);
  };
  EXPECT_EQ(masked("dino"), std::pair(false, false));
  EXPECT_EQ(masked("ibot"), std::pair(true, true));
  EXPECT_EQ(masked("dinov2"), std::pair(true, true));
  EXPECT_EQ(masked("distill"), std::pair(true, false));
}

TEST(NetworkBundle, CropsOfOneSizeTogetherEqualEachAlone) {
  const Network network(small_network(), at::kDouble);
  golden::fill_parameters(network.parameters());
  const at::Tensor globals = golden::uniform("g", {4, 3, 16, 16}), locals = golden::uniform("l", {6, 3, 8, 8});
  const std::vector<uint64_t> positions{20, 21};
  const std::vector<at::Tensor> crops{globals, locals};
  const std::vector<RowOrigin> origins{{1, positions, 0}, {1, positions, 2}};
  const at::Tensor logits = network.forward({.crops_by_size = crops, .origins = origins, .batch = 2}).logits;
  ASSERT_EQ(logits.sizes(), at::IntArrayRef({5, 2, 12}));
  for (int v = 0; v < 5; ++v) {
    const at::Tensor view = v < 2 ? globals.narrow(0, 2 * v, 2) : locals.narrow(0, 2 * (v - 2), 2);
    const RowOrigin origin{1, positions, v};
    EXPECT_TRUE(golden::near("view", network.forward({.crops_by_size = {&view, 1}, .origins = {&origin, 1}, .batch = 2}).logits[0],
                             logits[v], 1e-12))
        << v;
  }
}

TEST(NetworkBundle, NamesAndErrors) {
  Network network(small_network(), at::kFloat);
  const NamedTensors parameters = network.parameters();
  EXPECT_EQ(parameters.front().name, "backbone.cls_token");
  EXPECT_EQ(parameters.back().name, "head.last_layer.weight_v");
  network.initialize(4);
  for (const auto& [name, tensor] : parameters) EXPECT_TRUE(tensor.isfinite().all().item<bool>()) << name;
  EXPECT_THROW(Network(small_network(16), at::kFloat), Error);
  const at::Tensor crops = at::zeros({3, 3, 16, 16});
  EXPECT_THROW(network.forward({.crops_by_size = {&crops, 1}, .batch = 2}), Error);
  EXPECT_THROW(network.forward({.batch = 2}), Error);
}

// A teacher with a batch norm in its head: the batch's statistics, each group's own, and nothing else that is drawn in training.
TEST(NetworkBundle, AnAveragedNetworkTakesBatchStatisticsAlone) {
  NetworkConfig config{small_vit(0.3), {"projector", MlpHeadConfig{32, 24, 6}}, {}, {}}, still = config;
  std::get<VitConfig>(still.backbone).drop_path = 0;
  const Network drawing(config, at::kDouble), without(still, at::kDouble);
  golden::fill_parameters(drawing.parameters());
  golden::fill_parameters(without.parameters());
  const std::vector<uint64_t> positions{20, 21, 22, 23, 24, 25};
  const std::vector<at::Tensor> views{golden::uniform("g0", {6, 3, 16, 16}), golden::uniform("g1", {6, 3, 16, 16})};
  const std::vector<RowOrigin> origins{{1, positions, 0}, {1, positions, 1}};
  const auto logits = [&](const Network& network, std::span<const at::Tensor> crops, bool averaged) {
    return network.forward({.crops_by_size = crops, .origins = std::span(origins).first(crops.size()), .batch = 6, .averaged = averaged})
        .logits;
  };
  const at::Tensor both = logits(drawing, views, true);
  EXPECT_TRUE(golden::near("averaged", both, logits(without, views, false), 1e-12));
  EXPECT_GT((both - logits(drawing, views, false)).abs().max().item<double>(), 1e-3) << "stochastic depth is on in training";
  EXPECT_TRUE(golden::near("a view by itself", logits(drawing, {&views[1], 1}, true)[0], both[1], 1e-12));
}

// The heads of guides: a hidden layer without batch norm, or none.
TEST(NetworkBundle, GuidesAreHeadsOnFeatures) {
  NetworkConfig config = small_network();
  config.guides = {{"guide_0", MlpHeadConfig{.in_dim = 32, .hidden_dim = 8, .out_dim = 3, .hidden_norm = false}},
                   {"guide_1", MlpHeadConfig{.in_dim = 32, .out_dim = 1, .layers = 1}}};
  Network network(config, at::kDouble);
  network.initialize(4);
  EXPECT_TRUE(network.buffers().empty()) << "no batch norm";
  std::map<std::string, at::Tensor> p;
  for (const auto& [name, tensor] : network.parameters()) p[name] = tensor;
  const at::Tensor features = golden::uniform("features", {5, 32});
  const at::Tensor hidden = at::relu(at::linear(features, p.at("guide_0.mlp.0.weight"), p.at("guide_0.mlp.0.bias")));
  EXPECT_TRUE(golden::near("guide_0", network.guide(0, features),
                           at::linear(hidden, p.at("guide_0.mlp.3.weight"), p.at("guide_0.mlp.3.bias")), 1e-12));
  EXPECT_TRUE(golden::near("guide_1", network.guide(1, features),
                           at::linear(features, p.at("guide_1.mlp.0.weight"), p.at("guide_1.mlp.0.bias")), 1e-12));
  EXPECT_THROW(network.guide(2, features), std::out_of_range);
  EXPECT_THROW(Network({config.backbone, config.head, {}, {}, {{"guide_0", MlpHeadConfig{.in_dim = 31}}}}, at::kFloat), Error);
}

// SimCLR as released: the projection's channels have mean 0 and variance 1 over the batch; the last layer has no bias of its own.
TEST(NetworkBundle, AProjectorWithANormalisedOutput) {
  const MethodSpec spec =
      make_method(testing_support::tiny_config("[train]\nmethod = simclr\n[views]\nlocal_count = 0\n[head]\nhidden_dim = 24\nout_dim = "
                                               "6\nbottleneck_dim = 16\nnorm_output = yes\n"));
  Network network(spec.network, at::kDouble);
  network.initialize(4);
  std::vector<std::string> names;
  for (const auto& [name, tensor] : network.parameters()) {
    EXPECT_TRUE(tensor.isfinite().all().item<bool>()) << name;
    if (name.starts_with("projector.mlp.3") || name.starts_with("projector.mlp.4")) names.push_back(name);
  }
  EXPECT_EQ(names, (std::vector<std::string>{"projector.mlp.3.weight", "projector.mlp.4.weight", "projector.mlp.4.bias"}));
  const std::vector<uint64_t> positions{0, 1, 2, 3, 4, 5};
  const std::vector<at::Tensor> views{golden::uniform("g0", {6, 3, 16, 16})};
  const std::vector<RowOrigin> origins{{1, positions, 0}};
  const at::Tensor out = network.forward({.crops_by_size = views, .origins = origins, .batch = 6}).logits[0];
  EXPECT_LT(out.mean(0).abs().max().item<double>(), 1e-12);
  EXPECT_TRUE(at::allclose(out.pow(2).mean(0), at::ones({6}, at::kDouble), 1e-2));  // eps beside the variance
  network.commit_statistics();
  for (const auto& [name, tensor] : network.buffers())
    if (name.ends_with("num_batches_tracked")) {
      EXPECT_EQ(tensor.item<int64_t>(), 1) << name;
    }
}

TEST(Method, ByolsPredictorHasAWidthOfItsOwn) {
  const std::string byol = "[train]\nmethod = byol\n[views]\nlocal_count = 0\n[head]\nhidden_dim = 24\nout_dim = 6\nbottleneck_dim = 16\n";
  const auto width = [&](const std::string& more) {
    return std::get<MlpHeadConfig>(make_method(testing_support::tiny_config(byol + more)).network.predictor->config).hidden_dim;
  };
  EXPECT_EQ(width(""), 24);
  EXPECT_EQ(width("predictor_hidden_dim = 40\n"), 40);
}

TEST(NetworkBundle, MeanOfThePatchLogits) {
  for (const bool weight_norm : {true, false}) {
    NetworkConfig config = small_network();
    std::get<DinoHeadConfig>(config.head.config).weight_norm = weight_norm;
    const Network network(config, at::kDouble);
    golden::fill_parameters(network.parameters());
    const at::Tensor images = golden::uniform("g", {4, 3, 16, 16});
    const at::Tensor rows = at::arange(4 * 16, at::kLong);
    const ForwardOutput out = network.forward({.crops_by_size = {&images, 1}, .batch = 2, .masked_rows = rows, .patch_mean = true});
    ASSERT_EQ(out.patch_logits.size(0), 64);
    EXPECT_TRUE(golden::near("mean", network.patch_logits(out.patch_mean.unsqueeze(0))[0], out.patch_logits.mean(0), 1e-12));
  }
}

TEST(NetworkBundle, FirstViewsAreNarrowed) {
  const std::vector<at::Tensor> crops{at::zeros({6, 3, 8, 8}), at::zeros({2, 3, 4, 4})};
  const auto two = first_views(crops, 2, 2);
  ASSERT_EQ(two.size(), 1u);
  EXPECT_EQ(two[0].size(0), 4);
  EXPECT_EQ(two[0].data_ptr(), crops[0].data_ptr());
  EXPECT_EQ(first_views(crops, 2, 4).size(), 2u);
  EXPECT_THROW(first_views(crops, 2, 5), Error);
}

// A plane that rises along both sides stays one: away from the borders each new cell has its place's value.
TEST(TokenMaps, AreResampledByPlace) {
  const auto plane = [](int64_t side) {  // [1, side side, 2], the place of each cell's middle in [0, 1]
    const at::Tensor middle = (at::arange(side, at::kDouble) + 0.5) / static_cast<double>(side);
    return at::stack({middle.view({side, 1}).expand({side, side}).flatten(), middle.expand({side, side}).flatten()}, 1).unsqueeze(0);
  };
  for (const auto& [from, to] : {std::pair<int64_t, int64_t>{8, 4}, {4, 8}, {5, 5}}) {
    const at::Tensor map = plane(from).set_requires_grad(true), found = resampled_tokens(map, to * to);
    const at::Tensor difference = (found - plane(to)).abs().view({to, to, 2}).slice(0, 1, to - 1).slice(1, 1, to - 1);
    EXPECT_LE(difference.max().item<double>(), 1e-12) << from << " to " << to;
    found.sum().backward();
    EXPECT_NEAR(map.grad().sum().item<double>(), static_cast<double>(2 * to * to), 1e-9) << "the weights of a new cell add up to 1";
  }
  EXPECT_EQ(resampled_tokens(at::ones({2, 4, 3}, at::kBFloat16), 16).scalar_type(), at::kFloat);
  EXPECT_THROW(resampled_tokens(at::ones({2, 6, 3}), 4), Error);
  EXPECT_THROW(resampled_tokens(at::ones({2, 4, 3}), 5), Error);
}

}  // namespace
}  // namespace dinoxx
