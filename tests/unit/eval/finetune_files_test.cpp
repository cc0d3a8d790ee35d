// What fine-tuning leaves behind: weights that changed, a merged network, and the head that predict reads.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "eval/features/model_source.hpp"
#include "eval/finetune/finetuned_head.hpp"
#include "finetune_runs.hpp"
#include "formats/safetensors.hpp"
#include "model/weights/import.hpp"
#include "model/weights/weights.hpp"
#include "support/small_vit.hpp"
#include "support/temporary_folder.hpp"

namespace dinoxx::eval {
namespace {

using namespace dinoxx::testing_support;
using nlohmann::json;

TEST(Finetune, FilesHoldWhatLearned) {
  const TemporaryFolder folder;
  const MemoryDataset dataset = tinted(12, 6, 6);
  const auto network = small_backbone(1, 3);
  FinetuneOptions options = quick({"lora"});
  options.epochs = 1;
  options.save = "merged";
  options.lr = {1e-2};
  options.checkpoint = {{"crc32c", "0badcafe"}};
  const ProtocolResult result = run(dataset, options, *network);
  ASSERT_EQ(result.files.size(), 2u);
  for (const ProtocolFile& file : result.files) file.write(folder.path() / file.name);

  const SafetensorsFile changed(folder.path() / "finetune_lora.safetensors");
  const json about = json::parse(changed.metadata().at("dinoxx.finetune"));
  EXPECT_EQ(about["method"], "lora");
  EXPECT_EQ(about["checkpoint"]["crc32c"], "0badcafe");
  EXPECT_EQ(about["lora"]["rank"], 2);
  EXPECT_EQ(about["classes"], json({"red", "green", "blue"}));
  EXPECT_EQ(changed.tensors().size(), 2u * 2 + 3);
  EXPECT_EQ(to_tensor(changed.at("head.weight")).sizes(), at::IntArrayRef({kClasses, 32}));

  // the merged file is a checkpoint, and the network that the adapters make of the start
  const std::filesystem::path merged = folder.path() / "finetune_lora_merged.safetensors";
  const LoadedModel model = load_model({.checkpoint = merged, .which = {}, .step = {}, .model_settings = {}});
  const ImportedBackbone imported = import_backbone(merged, at::kFloat);
  const auto before = values(*network), after = values(*model.network), again = values(*imported.backbone);
  for (const auto& [name, tensor] : before) {
    EXPECT_TRUE(at::equal(after.at(name), again.at(name)));
    if (!changed.tensors().contains("backbone." + name + ".lora_a")) {
      EXPECT_TRUE(at::equal(after.at(name), tensor)) << name;
      continue;
    }
    const at::Tensor a = to_tensor(changed.at("backbone." + name + ".lora_a")), b = to_tensor(changed.at("backbone." + name + ".lora_b"));
    EXPECT_LT((after.at(name) - (tensor + 2.0 * at::mm(b, a))).abs().max().item<double>(), 1e-6);
  }
}

// What predict reads: features of the merged network and the head beside it give the step's answers.
TEST(Finetune, AMergedFileAnswersAsTheStepDid) {
  const TemporaryFolder folder;
  const MemoryDataset dataset = tinted(12, 6, 6);
  const auto network = small_backbone(2, 3);
  FinetuneOptions options = quick({"full"});
  options.save = "merged";
  options.lr = {1e-3};
  const ProtocolResult result = run(dataset, options, *network);
  for (const ProtocolFile& file : result.files) file.write(folder.path() / file.name);
  const std::filesystem::path merged = folder.path() / "finetune_full_merged.safetensors";
  const LoadedModel model = load_model({.checkpoint = merged, .which = {}, .step = {}, .model_settings = {}});
  for (const char* name : {"finetune_full.safetensors", "finetune_full_merged.safetensors"})
    EXPECT_EQ(parse_normalization(SafetensorsFile(folder.path() / name).metadata().at(kNormalizationKey), name), kInput);
  const Normalization& input = model.normalization.value().values;  // of the file
  const FinetunedHead head = read_finetuned_head(merged, dataset, kClasses);
  EXPECT_EQ(head.temperature, result.predictions.at(0).details["temperature"]);
  const EvalData data = choose_eval_data(dataset, std::nullopt, 0);
  const at::NoGradGuard no_grad;
  const at::Tensor features = model.network->forward(read_images(dataset, data.queries, {{0, kSize}, input, 1}));
  const at::Tensor p = at::softmax(head.model.logits(normalize_rows(features)), -1);
  for (int64_t q = 0; q < p.size(0); ++q)
    for (int64_t c = 0; c < kClasses; ++c)
      EXPECT_NEAR(p[q][c].item<double>(), result.predictions.at(0).probabilities[static_cast<size_t>(q * kClasses + c)], 1e-5);

  MemoryDataset renamed = tinted(12, 6, 6);
  renamed.set_class_names({"red", "green", "violet"});
  EXPECT_THROW(read_finetuned_head(merged, renamed, kClasses), UsageError);
  EXPECT_THROW(read_finetuned_head(folder.path() / "finetune_full.safetensors", dataset, kClasses), UsageError);
}

}  // namespace
}  // namespace dinoxx::eval
