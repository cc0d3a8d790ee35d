// Which keys change the network's shape, held against the networks themselves: the table's mark (Field::shapes_network) decides whether a
// resume is refused in the words of the configuration.
#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <map>
#include <optional>
#include <set>
#include <span>

#include "checkpoint/checkpoint.hpp"
#include "checkpoint/train_state_io.hpp"
#include "config/config_fields.hpp"
#include "data_pipeline/augment/views_config.hpp"
#include "dinoxx/base/error.hpp"
#include "dinoxx/comm/self_communicator.hpp"
#include "method/methods.hpp"
#include "method/settings/resolve.hpp"
#include "method/shared/configure_views.hpp"
#include "model/weights/backbone_json.hpp"
#include "support/temporary_folder.hpp"

namespace dinoxx {
namespace {

using testing::HasSubstr;

Config resolved(const std::string& settings) {
  Config config = default_config();
  apply_settings(config, parse_settings(settings, "test"));
  return resolve_config(config, 64, 1);
}

const std::string kSmallHead = "[head]\nout_dim = 24\nhidden_dim = 20\nbottleneck_dim = 12\n";
const std::string kSmallViews = "[views]\nglobal_size = 32\nlocal_size = 16\nlocal_count = 1\n";
std::string small_vit(const std::string& method, const std::string& model = "") {
  return "[model]\ndim = 24\ndepth = 1\nheads = 2\npatch_size = 8\n" + model + kSmallHead + kSmallViews +
         "[train]\nlength = 20it\nbatch_size = 8\nmethod = " + method + "\n";
}

// BYOL's and SimCLR's heads have no bottleneck, and their profiles no local crops.
std::string two_views(const std::string& method) {
  return "[model]\ndim = 24\ndepth = 1\nheads = 2\npatch_size = 8\n[head]\nout_dim = 24\nhidden_dim = 20\n[views]\nglobal_size = 32\n"
         "[train]\nlength = 20it\nbatch_size = 8\nmethod = " +
         method + "\n";
}

std::string text_of(const HeadPlan& plan) {
  const auto* dino = std::get_if<DinoHeadConfig>(&plan.config);
  if (!dino) {
    const auto& mlp = std::get<MlpHeadConfig>(plan.config);
    return fmt::format("{} {} {} {} {} {} {} {}\n", plan.name, mlp.in_dim, mlp.hidden_dim, mlp.out_dim, mlp.norm_output, mlp.layers,
                       mlp.output_bias, mlp.hidden_norm);
  }
  return fmt::format("{} {} {} {} {} {} {} {}\n", plan.name, dino->in_dim, dino->hidden_dim, dino->bottleneck_dim, dino->out_dim,
                     dino->layers, dino->weight_norm, dino->batch_norm);
}

// All that the network is built from: most keys leave it as it is, and then no network has to be built to know so.
std::string text_of(const NetworkConfig& network) {
  std::string text = to_json(network.backbone).dump() + "\n" + text_of(network.head);
  if (const auto* vit = std::get_if<VitConfig>(&network.backbone))
    text += fmt::format("{} {} {}\n", vit->fit, vit->recompute.part, vit->recompute.every);
  if (network.patch_head) text += "patch " + text_of(*network.patch_head);
  if (network.predictor) text += "predictor " + text_of(*network.predictor);
  for (const HeadPlan& guide : network.guides) text += text_of(guide);
  return text;
}

// Names and shapes of what student and teacher hold.
using Shapes = std::map<std::string, std::vector<int64_t>>;
Shapes tensors(const Config& config) {
  static std::map<std::string, Shapes> known;
  const NetworkConfig plan = make_method(config).network;
  const std::string text = text_of(plan);
  if (const auto found = known.find(text); found != known.end()) return found->second;
  const Network network(plan, at::kFloat);
  Shapes shapes;
  for (const auto& list : {network.parameters(), network.buffers()})
    for (const NamedTensor& tensor : list) shapes[tensor.name] = tensor.tensor.sizes().vec();
  return known[text] = shapes;
}

// Other values that a key could have had, valid or not.
std::vector<std::string> other_values(const Field& field, const Config& config) {
  const std::string now = field.get(config);
  std::set<std::string> values{"yes", "no", "0",  "1",    "2",   "3",           "4",    "8",        "16",
                               "32",  "48", "64", "auto", "0.5", "0.5,0.4,0.3", "10it", "32x32x0:1"};
  for (const Method& method : methods()) values.insert(method.name);
  for (size_t begin = 0; begin <= field.type.size();) {
    const size_t bar = std::min(field.type.find('|', begin), field.type.size());
    values.insert(field.type.substr(begin, bar - begin));
    begin = bar + 1;
  }
  values.erase(now);
  for (const char* large : {"base", "large", "huge", "giant", "7b", "101", "152"})
    std::erase_if(values, [&](const std::string& value) { return value.find(large) != std::string::npos; });
  return {values.begin(), values.end()};
}

TEST(NetworkKeys, TheTableMarksThoseThatChangeTheNetworksTensorsAndNoOther) {
  std::set<std::string> changing;
  for (const std::string& text :
       {small_vit("dino"), small_vit("ibot"), small_vit("dinov2", "style = dinov2\n"), small_vit("dinov3", "style = dinov3\n"),
        small_vit("dinov3", "arch = vit_7b\nstyle = dinov3\n"), two_views("byol"), two_views("simclr"), two_views("vicreg"),
        small_vit("dino") + "[guide]\nlearn = kind\nforget = site\noutputs = 3,2\n",
        small_vit("dino") + "[guide]\nlearn = kind\nforget_by = reversal\noutputs = 3\n", small_vit("swav"),
        "[model]\narch = resnet18\n" + kSmallHead + kSmallViews + "[train]\nlength = 20it\nbatch_size = 8\n"}) {
    const Config base = resolved(text);
    const auto before = tensors(base);
    for (const Field& field : config_fields()) {
      if (!field.training || changing.contains(field.key)) continue;
      for (const std::string& value : other_values(field, base)) {
        if (changing.contains(field.key)) break;
        Config other = base;
        try {
          field.set(other, value);
          if (tensors(settled(other)) != before) changing.insert(field.key);
        } catch (const std::exception&) {  // no value of this key, or none beside the others
        }
      }
    }
  }
  std::set<std::string> marked;
  for (const Field& field : config_fields())
    if (field.shapes_network) marked.insert(field.key);
  EXPECT_EQ(marked, changing);
}

// The features of a picture of each size, by a network whose values are of one size whatever the configuration begins with (a branch that
// begins at 1e-5 would hide what it does); nothing where the tensors are others.
std::optional<at::Tensor> features(const Config& config, const Shapes& wanted) {
  if (tensors(config) != wanted) return std::nullopt;
  static std::map<std::string, at::Tensor> known;
  const NetworkConfig plan = make_method(config).network;
  const Normalization input = normalization_of(config);
  at::Tensor& result = known[text_of(plan) + describe(input) + std::to_string(config.views->global_size)];
  if (result.defined()) return result;
  Network network(plan, at::kFloat);
  network.initialize(3);
  const at::NoGradGuard no_grad;
  int64_t number = 0;
  for (const NamedTensor& parameter : network.parameters())
    parameter.tensor.copy_(
        (at::arange(parameter.tensor.numel(), at::kFloat) * 0.7 + static_cast<double>(++number)).sin().view_as(parameter.tensor) * 0.4);
  const int64_t size = config.views->global_size;
  const auto channels = [](std::span<const float> values) {
    return at::tensor(at::ArrayRef<float>(values.data(), values.size())).view({3, 1, 1});
  };
  const auto of = [&](int64_t side) {
    const at::Tensor picture = at::linspace(-1, 1, 3 * side * side).sin().view({1, 3, side, side}).abs();
    return network.backbone().forward((picture - channels(input.mean)) / channels(input.std));
  };
  return result = at::cat({of(size), of(size / 2)});
}

TEST(NetworkKeys, KeysThatMakeAnotherFunctionOfTheSameTensorsAreMarked) {
  std::set<std::string> changing;
  for (const std::string& text : {small_vit("dino"), small_vit("dinov2", "style = dinov2\n"), small_vit("dinov3", "style = dinov3\n"),
                                  "[model]\narch = resnet18\n" + kSmallHead + kSmallViews + "[train]\nlength = 20it\nbatch_size = 8\n"}) {
    const Config base = resolved(text);
    const auto shapes = tensors(base);
    const at::Tensor before = *features(base, shapes);
    for (const Field& field : config_fields()) {
      if (!field.training || field.shapes_network || !field.key.starts_with("model.") || changing.contains(field.key)) continue;
      for (const std::string& value : other_values(field, base)) {
        if (changing.contains(field.key)) break;
        Config other = base;
        try {
          field.set(other, value);
          const auto now = features(settled(other), shapes);
          if (now && !at::equal(before, *now)) changing.insert(field.key);
        } catch (const std::exception&) {  // no value of this key, or none beside the others
        }
      }
    }
  }
  std::set<std::string> marked;
  for (const Field& field : config_fields())
    if (field.other_function && field.key != "teacher.facts") marked.insert(field.key);  // which is of another network
  EXPECT_EQ(marked, changing);
}

// A save, then a resume with another value: refused before anything is loaded, with the key.
std::string refusal(const std::string& text, const std::string& key, const std::string& value) {
  const testing_support::TemporaryFolder folder;
  const auto comm = make_self_communicator();
  const auto facts = [](const Config& config) {
    RunFacts facts;
    facts.config_text = print_config(config);
    return facts;
  };
  const Config before = resolved(text);
  Config now = before;
  apply_settings(now, {{key, value, "test"}});
  TrainState saved(before, make_method(before), at::kFloat), loaded(now, make_method(now), at::kFloat);
  const auto checkpoint = save_state(*comm, folder.path(), saved, facts(before));
  try {
    load_state(*comm, checkpoint, loaded, facts(now));
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kUsage) << error.what();
    return error.what();
  }
  return "accepted";
}

TEST(NetworkKeys, AKeyThatShapesNothingHereIsNoOtherNetwork) {
  EXPECT_EQ(refusal(small_vit("ibot"), "head.patch_out_dim", "40"), "accepted") << "the head is shared: there is no patch head";
}

TEST(NetworkKeys, AResumeWithAnotherPatchHeadIsRefusedByKey) {
  EXPECT_THAT(refusal(small_vit("ibot"), "head.shared", "no"), HasSubstr("head.shared was yes and is no"));
  const std::string two_heads = small_vit("dinov3", "style = dinov3\n");
  EXPECT_THAT(refusal(two_heads, "head.patch_out_dim", "40"), HasSubstr("head.patch_out_dim was 24 and is 40"));
  EXPECT_THAT(refusal(two_heads, "head.patch_hidden_dim", "40"), HasSubstr("head.patch_hidden_dim was 20 and is 40"));
  EXPECT_THAT(refusal(two_heads, "head.patch_bottleneck_dim", "40"), HasSubstr("head.patch_bottleneck_dim was 12 and is 40"));
  EXPECT_THAT(refusal(two_heads, "optim.lr", "0.5"), testing::StrEq("accepted")) << "another rate is another run, and loads";
}

}  // namespace
}  // namespace dinoxx
