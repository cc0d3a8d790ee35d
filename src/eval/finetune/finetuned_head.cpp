#include "finetuned_head.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>

#include "dinoxx/base/error.hpp"
#include "eval/run/protocols.hpp"
#include "formats/safetensors.hpp"
#include "model/weights/weights.hpp"

namespace dinoxx::eval {

using nlohmann::json;

FinetunedHead read_finetuned_head(const std::filesystem::path& path, const Dataset& dataset, int classes) {
  constexpr const char* kExpected = "a merged file of fine-tuning (\"dinoxx eval --protocol finetune --finetune.save merged\")";
  const auto refuse = [&](const std::string& found, const char* advice) { fail_usage("--checkpoint", kExpected, found, advice); };
  constexpr const char* kOther = "Use it as --checkpoint, or another --method.";
  if (path.extension() != ".safetensors") refuse(path.string(), kOther);
  const SafetensorsFile file(path);
  const auto text = file.metadata().find("dinoxx.finetune");
  const json about = text == file.metadata().end() ? json() : json::parse(text->second, nullptr, /*allow_exceptions=*/false);
  if (!about.is_object() || !about.contains("merged") || !file.tensors().contains("head.weight"))
    refuse(path.string() + " without a head", kOther);
  const at::Tensor weight = to_tensor(file.at("head.weight")).to(at::kDouble), bias = to_tensor(file.at("head.bias")).to(at::kDouble);
  const json& names = about.at("classes");
  if (weight.dim() != 2 || bias.numel() != weight.size(0) || static_cast<int64_t>(names.size()) != weight.size(0))
    refuse(path.string() + " with a head of another number of classes than names", "The file is damaged; tune again.");
  FinetunedHead head{
      {at::zeros({classes, weight.size(1)}, at::kDouble), at::full({classes}, -std::numeric_limits<double>::infinity(), at::kDouble)},
      about.value("temperature", json()),
      about};
  for (int64_t row = 0; row < weight.size(0); ++row) {
    int32_t c = 0;
    while (c < classes && class_name(dataset, c) != names[static_cast<size_t>(row)]) ++c;
    if (c == classes)
      refuse(fmt::format("a class \"{}\" that --data does not have", names[static_cast<size_t>(row)].get<std::string>()),
             "Name the data that it was tuned on.");
    head.model.weight[c].copy_(weight[row]);
    head.model.bias[c] = bias[row];
  }
  return head;
}

}  // namespace dinoxx::eval
