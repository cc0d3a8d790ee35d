// What the published recipes in configs/ say against what was published, value by value. The values here were read in the released code
// (facebookresearch/dino main_dino.py and README, dinov2/configs, dinov3/configs), not in the recipes.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <filesystem>

#include "base/files.hpp"
#include "checkpoint/checkpoint_config.hpp"
#include "config/config.hpp"
#include "config/config_fields.hpp"
#include "method/settings/resolve.hpp"
#include "source_dir.hpp"
#include "train/training_config.hpp"

namespace dinoxx {
namespace {

using Values = std::vector<std::pair<std::string, std::string>>;

Values operator+(Values all, const Values& more) {
  for (const auto& [key, value] : more) {
    const auto known = std::find_if(all.begin(), all.end(), [&](const auto& pair) { return pair.first == key; });
    if (known == all.end())
      all.push_back({key, value});
    else
      known->second = value;
  }
  return all;
}

const Values kCommon = {{"head.hidden_dim", "2048"},
                        {"head.layers", "3"},
                        {"head.bottleneck_dim", "256"},
                        {"head.out_dim", "65536"},
                        {"views.global_size", "224"},
                        {"views.global_scale_max", "1"},
                        {"views.local_count", "8"},
                        {"views.local_size", "96"},
                        {"views.local_scale_min", "0.05"},
                        {"views.flip", "0.5"},
                        {"optim.name", "adamw"},
                        {"optim.min_lr", "1e-6"},
                        {"optim.weight_decay", "0.04"},
                        {"optim.beta1", "0.9"},
                        {"optim.beta2", "0.999"},
                        {"optim.clip", "3"},
                        {"optim.schedule", "cosine"},
                        {"teacher.momentum_end", "1"},
                        {"teacher.warmup_temp", "0.04"},
                        {"loss.student_temp", "0.1"},
                        {"loss.local_weight", "1"},
                        {"loss.local_weight_end", "1"},
                        {"gram.weight", "0"},
                        {"loss.sinkhorn_iterations", "3"},
                        {"loss.centre_momentum", "0.9"}};

const Values kDino = kCommon + Values{{"train.method", "dino"},
                                      {"model.arch", "vit_small"},
                                      {"model.style", "dino"},
                                      {"model.patch_size", "16"},
                                      {"model.drop_path", "0.1"},
                                      {"head.norm_last_layer", "yes"},
                                      {"views.profile", "dino-v1"},
                                      {"views.global_scale_min", "0.4"},
                                      {"views.local_scale_max", "0.4"},
                                      {"mask.scheme", "none"},
                                      {"optim.lr", "5e-4"},
                                      {"optim.lr_rule", "linear_256"},
                                      {"optim.warmup", "10ep"},
                                      {"optim.weight_decay_end", "0.4"},
                                      {"optim.clip_by", "parameter"},
                                      {"optim.layer_decay", "1"},
                                      {"optim.patch_embed_lr", "1"},
                                      {"optim.freeze_last_layer", "1ep"},
                                      {"teacher.momentum", "0.996"},
                                      {"teacher.temp", "0.04"},
                                      {"teacher.warmup_temp_epochs", "0"},
                                      {"teacher.temp_changes", "epoch"},
                                      {"loss.centring", "centre"},
                                      {"loss.koleo_weight", "0"},
                                      {"train.length", "100ep"},
                                      {"train.batch_size", "512"}};

// One epoch of these is 1250 iterations.
const Values kDinov2 = kCommon + Values{{"train.method", "dinov2"},
                                        {"model.arch", "vit_large"},
                                        {"model.style", "dinov2"},
                                        {"model.patch_size", "16"},
                                        {"model.registers", "0"},
                                        {"model.drop_path", "0.3"},
                                        {"head.norm_last_layer", "no"},
                                        {"head.shared", "yes"},
                                        {"views.profile", "dinov2-as-released"},
                                        {"views.global_scale_min", "0.32"},
                                        {"views.local_scale_max", "0.32"},
                                        {"mask.scheme", "dinov2"},
                                        {"mask.probability", "0.5"},
                                        {"mask.ratio_min", "0.1"},
                                        {"mask.ratio_max", "0.5"},
                                        {"mask.group_size", "64"},
                                        {"optim.lr", "4e-3"},
                                        {"optim.lr_rule", "sqrt_1024"},
                                        {"optim.warmup", "12500it"},
                                        {"optim.weight_decay_end", "0.4"},
                                        {"optim.clip_by", "module"},
                                        {"optim.layer_decay", "0.9"},
                                        {"optim.patch_embed_lr", "0.2"},
                                        {"optim.freeze_last_layer", "1250it"},
                                        {"teacher.momentum", "0.992"},
                                        {"teacher.temp", "0.07"},
                                        {"teacher.patch_temp", "0.07"},
                                        {"teacher.patch_warmup_temp", "0.04"},
                                        {"teacher.warmup_temp_epochs", "37500it"},
                                        {"teacher.temp_changes", "step"},
                                        {"loss.centring", "centre"},
                                        {"loss.patch_centring", "centre"},
                                        {"loss.patch_weight", "1"},
                                        {"loss.koleo_weight", "0.1"},
                                        {"loss.koleo_group", "0"},
                                        {"train.length", "125000it"},
                                        {"train.batch_size", "2048"}};

const Values kDinov2Long = kDinov2 + Values{{"model.patch_size", "14"},
                                            {"model.drop_path", "0.4"},
                                            {"head.out_dim", "131072"},
                                            {"head.bottleneck_dim", "384"},
                                            {"head.shared", "no"},
                                            {"head.patch_out_dim", "131072"},
                                            {"head.patch_bottleneck_dim", "256"},
                                            {"head.patch_hidden_dim", "2048"},
                                            {"views.local_size", "98"},
                                            {"optim.lr", "2e-4"},
                                            {"optim.warmup", "100000it"},
                                            {"optim.weight_decay_end", "0.2"},
                                            {"optim.layer_decay", "1"},
                                            {"teacher.momentum", "0.994"},
                                            {"loss.centring", "sinkhorn"},
                                            {"loss.patch_centring", "sinkhorn"},
                                            {"train.length", "625000it"}};

const Values kDinov3 = kDinov2 + Values{{"train.method", "dinov3"},
                                        {"model.style", "dinov3"},
                                        {"head.weight_norm", "no"},
                                        {"head.shared", "no"},
                                        {"head.patch_out_dim", "65536"},
                                        {"head.patch_bottleneck_dim", "256"},
                                        {"head.patch_hidden_dim", "2048"},
                                        {"views.profile", "dinov3"},
                                        {"mask.scheme", "dinov3"},
                                        {"mask.shift", "no"},
                                        {"optim.lr", "1e-3"},
                                        {"optim.lr_rule", "4sqrt_1024"},
                                        {"loss.centring", "sinkhorn"},
                                        {"loss.patch_centring", "sinkhorn"}};

// Its epochs have 1000 iterations.
const Values kSevenB = kDinov3 + Values{{"model.arch", "vit_7b"},
                                        {"model.registers", "4"},
                                        {"model.drop_path", "0.4"},
                                        {"model.rope_rescale", "2"},
                                        {"model.rope_shift", "0"},
                                        {"model.rope_jitter", "0"},
                                        {"head.out_dim", "262144"},
                                        {"head.bottleneck_dim", "512"},
                                        {"head.hidden_dim", "8192"},
                                        {"head.patch_out_dim", "98304"},
                                        {"head.patch_bottleneck_dim", "384"},
                                        {"head.patch_hidden_dim", "4096"},
                                        {"views.global_size", "256"},
                                        {"views.local_size", "112"},
                                        {"views.flip", "0"},
                                        {"mask.group_size", "16"},
                                        {"optim.lr", "5e-5"},
                                        {"optim.schedule", "constant"},
                                        {"optim.warmup", "100000it"},
                                        {"optim.weight_decay_end", "0.04"},
                                        {"optim.clip", "30"},
                                        {"optim.beta2", "0.99"},
                                        {"optim.layer_decay", "0.98"},
                                        {"teacher.momentum", "0.994"},
                                        {"teacher.momentum_end", "0.994"},
                                        {"teacher.warmup_temp_epochs", "100000it"},
                                        {"train.length", "1000000it"},
                                        {"train.batch_size", "4096"}};

// A run of its own here: steps count from where the stage begins (1,000,000 there), and what had been warmed up there stays.
const Values kGramStage = kSevenB + Values{{"optim.lr", "3e-5"},
                                           {"teacher.momentum", "0.999"},
                                           {"teacher.momentum_end", "0.999"},
                                           {"teacher.warmup_temp", "0.07"},
                                           {"teacher.patch_warmup_temp", "0.07"},
                                           {"loss.local_weight_end", "0.5"},
                                           {"gram.weight", "2"},
                                           {"gram.start", "0it"},
                                           {"gram.ramp", "1000it"},
                                           {"gram.first", "10000it"},
                                           {"gram.every", "10000it"},
                                           {"gram.max_updates", "3"},
                                           {"gram.size", "512"},
                                           {"gram.group_size", "0"},
                                           {"gram.negatives", "keep"},
                                           {"gram.tokens", "all"},
                                           {"train.length", "200000it"}};

struct Recipe {
  std::string name;
  Values published;
  std::vector<std::string> others;  ///< keys that were not published, or that the file says it changed
};

const std::vector<Recipe> kRecipes = {
    {"dino_vits16", kDino, {}},
    {"dino_vits16_boosted",
     kDino + Values{{"head.norm_last_layer", "no"},
                    {"teacher.temp", "0.07"},
                    {"teacher.warmup_temp_epochs", "30"},
                    {"train.length", "300ep"},
                    {"train.batch_size", "1024"}},
     {}},
    {"dino_resnet50",
     kDino + Values{{"model.arch", "resnet50"},
                    {"model.stem", "large"},
                    {"views.global_scale_min", "0.14"},
                    {"views.local_scale_max", "0.14"},
                    {"optim.name", "sgd"},
                    {"optim.momentum", "0.9"},
                    {"optim.lr", "0.03"},
                    {"optim.weight_decay", "1e-4"},
                    {"optim.weight_decay_end", "1e-4"}},
     {}},
    {"dinov2_vitl16_short", kDinov2, {}},
    {"dinov2_vitl14",
     kDinov2Long +
         Values{{"model.arch", "vit_large_plus"}, {"model.mlp_ratio", "4"}, {"mask.group_size", "32"}, {"train.batch_size", "3072"}},
     {}},
    {"dinov2_vitg14", kDinov2Long + Values{{"model.arch", "vit_giant2"}, {"mask.group_size", "12"}}, {"train.batch_size"}},
    {"dinov3_vitl16_in1k", kDinov3, {}},
    {"dinov3_vit7b16_pretrain", kSevenB, {"optim.min_lr", "optim.freeze_last_layer"}},
    {"dinov3_vit7b16_gram", kGramStage, {"optim.min_lr", "optim.freeze_last_layer", "optim.warmup", "teacher.warmup_temp_epochs"}},
    {"dinov3_vit7b16_high_resolution",
     kGramStage + Values{{"views.sizes", "512x112x768:0.3, 768x112x1152:0.3, 768x168x1152:0.3, 768x224x1152:0.05, 768x336x1152:0.05"},
                         {"views.global_size", "512"},
                         {"gram.size", "768"},
                         {"mask.group_size", "8"},
                         {"optim.lr", "0"},
                         {"optim.min_lr", "1.25e-5"},
                         {"optim.schedule", "cosine"},
                         {"optim.warmup", "0it"},
                         {"optim.decay", "10000it"},
                         {"loss.koleo_group", "16"},
                         {"loss.local_weight", "0.5"},
                         {"gram.weight", "1.5"},
                         {"gram.ramp", "0it"},
                         {"gram.first", "0it"},
                         {"train.length", "30000it"},
                         {"train.batch_size", "2048"}},
     {"optim.freeze_last_layer", "teacher.warmup_temp_epochs", "gram.every", "gram.max_updates"}},
};

const Field& field_of(const std::string& key) {
  for (const Field& field : config_fields())
    if (field.key == key) return field;
  throw std::invalid_argument(key);
}

// As the table prints it: 5e-4 is 0.0005.
std::string printed(const std::string& key, const std::string& value) {
  Config config = default_config();
  field_of(key).set(config, value);
  return field_of(key).get(config);
}

TEST(PublishedRecipes, SayWhatWasPublished) {
  for (const Recipe& recipe : kRecipes) {
    SCOPED_TRACE(recipe.name);
    Config config = default_config();
    apply_settings(config, read_settings(fmt::format("{}/configs/{}.cfg", source_dir().string(), recipe.name)));
    config = resolve_config(config, 1'281'167, 1);
    for (const auto& [key, value] : recipe.published)
      if (!std::count(recipe.others.begin(), recipe.others.end(), key)) EXPECT_EQ(field_of(key).get(config), printed(key, value)) << key;
  }
}

// The Gram stage needs an early checkpoint of the run before it, which checkpoint.keep alone would have deleted long ago.
TEST(PublishedRecipes, OfDinov3KeepCheckpointsForAGramStage) {
  for (const char* name : {"dinov3_vit7b16_pretrain", "dinov3_32px", "dinov3_64px", "dinov3_224px"}) {
    Config config = default_config();
    apply_settings(config, read_settings(fmt::format("{}/configs/{}.cfg", source_dir().string(), name)));
    config = resolve_config(config, 100'000, 1);
    int64_t kept = 0;
    const int64_t total = config.train->length.steps(100'000, config.train->batch_size);
    for (int64_t step = 1; step <= total / 2; ++step)
      kept += config.checkpoint->keep_every.ends_with(step, 100'000, config.train->batch_size);
    EXPECT_GE(kept, 2) << name;
  }
}

TEST(Recipes, SayWhereTheyComeFromAndWhatWasChanged) {
  for (const auto& entry : std::filesystem::directory_iterator(source_dir() / "configs")) {
    if (entry.path().extension() != ".cfg") continue;
    const std::string text = read_text(entry.path()), head = text.substr(0, text.find("\n["));
    EXPECT_THAT(head, testing::AllOf(testing::HasSubstr("\n# From: "), testing::HasSubstr("\n# Changed: "))) << entry.path();
  }
}

}  // namespace
}  // namespace dinoxx
