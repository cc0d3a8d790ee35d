#include "stored_head.hpp"

#include <ATen/ATen.h>

#include <algorithm>

#include "base/json_text.hpp"
#include "checks.hpp"
#include "comm/agree.hpp"
#include "data_pipeline/format/content_hash.hpp"
#include "dinoxx/base/error.hpp"
#include "eval/classify/nearest_mean.hpp"
#include "eval/classify/units.hpp"
#include "eval/features/blocks.hpp"
#include "eval/features/lanes.hpp"
#include "eval/features/sample_rows.hpp"
#include "eval/statistics/resampling.hpp"
#include "formats/safetensors.hpp"
#include "model/weights/backbone_json.hpp"
#include "model/weights/weights.hpp"

namespace dinoxx::eval {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kKey = "dinoxx.head.key";
constexpr const char* kAbout = "dinoxx.head";
// Nearest references that are looked at for one of another group.
constexpr int kNeighbours = 20;

template <typename T>
std::string hash_of(const std::vector<T>& values) {
  return detail::hash_text(detail::hash128(values.data(), values.size() * sizeof(T)));
}

StoredHead parse_head(const SafetensorsFile& file, const json& key) {
  if (json::parse(file.metadata().at(kKey)) != key) fail("head", "the key of this call", "another", "It is fitted anew.");
  const json text = json::parse(file.metadata().at(kAbout));
  StoredHead head{{to_tensor(file.at("weight")), to_tensor(file.at("bias"))},
                  text.at("about"),
                  to_tensor(file.at("reference")),
                  to_tensor(file.at("centre")),
                  std::nullopt};
  if (text.at("known_from").is_number()) head.known_from = text.at("known_from").get<double>();
  const int64_t dim = head.centre.numel();
  if (head.model.weight.dim() != 2 || head.model.weight.size(1) != dim || head.reference.dim() != 2 || head.reference.size(1) != dim ||
      head.model.bias.numel() != head.model.weight.size(0))
    fail("head", "tensors that fit each other", "others", "It is fitted anew.");
  return head;
}

}  // namespace

json head_key(const Dataset& dataset, const EvalData& data, const LoadedModel& model, const ExtractOptions& input, at::ScalarType precision,
              const std::string& method, uint64_t seed) {
  return {{"format", "dinoxx head 1"},
          {"weights", fmt::format("{:08x}", model.crc32c)},
          {"model", to_json(model.network->config())},
          {"precision", c10::toString(precision)},
          {"transform", {input.transform.resize, input.transform.crop, input.whole}},
          {"mean", input.normalization.mean},
          {"std", input.normalization.std},
          {"data", dataset.fingerprint()},
          {"classes", dataset.class_names()},
          {"memory", {hash_of(data.memory), hash_of(data.memory_labels)}},
          {"validation", {hash_of(data.validation), hash_of(data.validation_labels)}},
          {"method", method},
          {"seed", seed}};
}

fs::path head_file(const fs::path& folder, const json& key) {
  const std::string text = json_text(key);
  return folder / fmt::format("head_{}.safetensors", detail::hash_text(detail::hash128(text.data(), text.size())));
}

std::optional<StoredHead> read_head(const fs::path& file, const json& key, Communicator& comm) {
  std::optional<StoredHead> head;
  try {
    if (fs::exists(file)) head = parse_head(SafetensorsFile(file), key);
  } catch (const std::exception&) {  // as good as none: it is fitted anew and replaces the file
  }
  const at::Tensor found = at::full({1}, head.has_value() ? 0 : 1, at::kLong);
  comm.all_reduce(found, ReduceOp::kMax)->wait();
  if (found.item<int64_t>() != 0) head.reset();
  return head;
}

void write_head(const fs::path& file, const json& key, const StoredHead& head) {
  const json text = {{"about", head.about}, {"known_from", head.known_from ? json(*head.known_from) : json(nullptr)}};
  fs::create_directories(file.parent_path());
  write_safetensors(file,
                    tensor_views({{"weight", head.model.weight.contiguous()},
                                  {"bias", head.model.bias.contiguous()},
                                  {"reference", head.reference.contiguous()},
                                  {"centre", head.centre.contiguous()}}),
                    {{kKey, json_text(key)}, {kAbout, json_text(text)}});
}

std::vector<int64_t> reference_rows(const EvalData& data, uint64_t seed) {
  return sample_rows(data.memory, kReferences, seed, lane(Lane::kCopies, 2));
}

void take_references(StoredHead& head, const Dataset& dataset, const std::vector<uint64_t>& ids, const at::Tensor& features) {
  head.centre = at::mean(features, {0}, /*keepdim=*/false, at::kDouble).to(at::kFloat);
  head.reference = centre_and_normalize(features, head.centre).contiguous();
  head.known_from.reset();
  const int64_t n = head.reference.size(0);
  if (n < static_cast<int64_t>(kFewReferences)) return;
  const std::vector<uint64_t> units = units_of(dataset, ids);
  const Neighbors nearest = nearest_neighbors(head.reference, head.reference, static_cast<int>(std::min<int64_t>(n, kNeighbours)));
  std::vector<double> cosines;
  for (int64_t row = 0; row < n; ++row) {
    for (int64_t k = 0; k < nearest.k; ++k) {
      const auto other = static_cast<size_t>(nearest.rows[row * nearest.k + k]);
      if (other == static_cast<size_t>(row) || (units[row] != 0 && units[other] == units[row])) continue;
      cosines.push_back(nearest.similarity[row * nearest.k + k]);
      break;
    }
  }
  if (cosines.size() < kFewReferences) return;
  std::sort(cosines.begin(), cosines.end());
  head.known_from = quantile(cosines, kUnlikeShare);
}

std::vector<double> similarity_to_training(const StoredHead& head, const at::Tensor& features, int threads, Communicator& comm) {
  const at::Tensor nearest = nearest_images(centre_and_normalize(features, head.centre), head.reference, threads, comm);
  std::vector<double> cosines;
  for (int64_t row = 0; row < nearest.size(0); ++row) cosines.push_back(nearest.const_data_ptr<double>()[2 * row]);
  return cosines;
}

at::Tensor head_logits(const LinearModel& model, const at::Tensor& features, int threads, Communicator& comm) {
  const int64_t total = features.size(0);
  const ItemRange mine = rank_items(total, comm.rank(), comm.size());
  const at::Tensor local = at::empty({mine.size(), model.bias.numel()}, at::kDouble);
  on_all_ranks(comm, [&] {
    for_each_block(total, mine, threads, [&](int64_t, ItemRange items) {
      local.narrow(0, items.begin - mine.begin, items.size()).copy_(model.logits(features.narrow(0, items.begin, items.size())));
    });
  });
  return gather_blocks(comm, local, total).contiguous();
}

}  // namespace dinoxx::eval
