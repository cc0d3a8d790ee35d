#include "stored_head.hpp"

#include <ATen/ATen.h>

#include <algorithm>

#include "base/json_text.hpp"
#include "data_pipeline/format/content_hash.hpp"
#include "dinoxx/base/error.hpp"
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
constexpr const char *kWhiteningMean = "whitening.mean", *kWhiteningMatrix = "whitening.matrix";
constexpr int64_t kParts = 5;
constexpr int64_t kImagesOfDirection = 2;  // directions that fewer images show are noise
constexpr double kFloor = 0.01;            // of the mean variance: added to that of every direction
constexpr int64_t kAtOnce = 256;           // rows whose distances are in memory

// Where images are compared: directions of little variance count as much as those of much, because what is unlike all images mostly
// differs in what these have in common.
struct Space {
  at::Tensor centre, basis;
  at::Tensor of(const at::Tensor& features) const { return at::matmul(features.to(at::kDouble) - centre, basis); }
};

Space space_of(const at::Tensor& features) {
  const at::Tensor x = features.to(at::kDouble), centre = x.mean(0), centred = x - centre;
  const int64_t n = x.size(0), dim = x.size(1), directions = std::clamp<int64_t>(n / kImagesOfDirection, 1, dim);
  const auto [variances, vectors] = at::linalg_eigh(at::matmul(centred.t(), centred) / static_cast<double>(n));  // rising
  const at::Tensor spread = variances.clamp_min(0.0), floor = spread.mean() * kFloor + 1e-12;
  const at::Tensor scale = (spread.narrow(0, dim - directions, directions) + floor).rsqrt();
  return {centre, (vectors.narrow(1, dim - directions, directions) * scale).contiguous()};
}

std::vector<double> nearest_distances(const at::Tensor& rows, const at::Tensor& reference) {
  std::vector<double> distances;
  for (int64_t first = 0; first < rows.size(0); first += kAtOnce) {
    const at::Tensor some = rows.narrow(0, first, std::min(kAtOnce, rows.size(0) - first));
    const at::Tensor nearest = at::cdist(some.contiguous(), reference.contiguous()).amin({1}).contiguous();
    distances.insert(distances.end(), nearest.const_data_ptr<double>(), nearest.const_data_ptr<double>() + nearest.numel());
  }
  return distances;
}

template <typename T>
std::string hash_of(const std::vector<T>& values) {
  return detail::hash_text(detail::hash128(values.data(), values.size() * sizeof(T)));
}

StoredHead parse_head(const SafetensorsFile& file, const json& key) {
  if (json::parse(file.metadata().at(kKey)) != key) fail("head", "the key of this call", "another", "It is fitted anew.");
  const json text = json::parse(file.metadata().at(kAbout));
  StoredHead head{{to_tensor(file.at("weight")), to_tensor(file.at("bias"))},
                  text.at("about"),
                  to_tensor(file.at("centre")),
                  to_tensor(file.at("basis")),
                  to_tensor(file.at("reference")),
                  std::nullopt,
                  {},
                  read_whitening(file)};
  if (text.at("known_to").is_number()) head.known_to = text.at("known_to").get<double>();
  const int64_t dim = head.centre.numel();
  if ((head.whitening && head.whitening->mean.numel() != dim) || head.model.weight.dim() != 2 || head.model.weight.size(1) != dim ||
      head.model.bias.numel() != head.model.weight.size(0) || head.basis.dim() != 2 || head.basis.size(0) != dim ||
      head.reference.dim() != 2 || head.reference.size(1) != head.basis.size(1))
    fail("head", "tensors that fit each other", "others", "It is fitted anew.");
  const at::Tensor ids = to_tensor(file.at("held_out.ids")), labels = to_tensor(file.at("held_out.labels")),
                   logits = to_tensor(file.at("held_out.logits"));
  if (ids.numel() != labels.numel() || logits.numel() != ids.numel() * head.model.bias.numel())
    fail("head", "a label and logits for each image", "others", "It is fitted anew.");
  head.held_out.ids.assign(ids.const_data_ptr<int64_t>(), ids.const_data_ptr<int64_t>() + ids.numel());
  head.held_out.labels.assign(labels.const_data_ptr<int32_t>(), labels.const_data_ptr<int32_t>() + labels.numel());
  head.held_out.logits.assign(logits.const_data_ptr<double>(), logits.const_data_ptr<double>() + logits.numel());
  return head;
}

}  // namespace

NamedTensors whitening_tensors(const std::optional<Whitening>& whitening) {
  if (!whitening) return {};
  return {{kWhiteningMean, whitening->mean.contiguous()}, {kWhiteningMatrix, whitening->matrix.contiguous()}};
}

std::optional<Whitening> read_whitening(const SafetensorsFile& file) {
  if (!file.tensors().contains(kWhiteningMean)) return std::nullopt;
  Whitening whitening{to_tensor(file.at(kWhiteningMean)), to_tensor(file.at(kWhiteningMatrix))};
  const int64_t dim = whitening.mean.numel();
  if (whitening.mean.dim() != 1 || whitening.matrix.sizes() != at::IntArrayRef{dim, dim})
    fail("whitening", "a mean and a matrix that fit each other", "others", "The file is damaged.");
  return whitening;
}

json head_key(const Dataset& dataset, const EvalData& data, const LoadedModel& model, const ExtractOptions& input, const Readout& readout,
              at::ScalarType precision, const std::string& method, uint64_t seed) {
  return {{"format", "dinoxx head 3"},
          {"features", to_json(readout)},
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
  const json text = {{"about", head.about}, {"known_to", head.known_to ? json(*head.known_to) : json(nullptr)}};
  fs::create_directories(file.parent_path());
  const HeldOutAnswers& held_out = head.held_out;
  const auto images = static_cast<int64_t>(held_out.ids.size());
  const auto stored = [](const auto& values, at::ScalarType type, at::IntArrayRef shape) {
    using Value = typename std::decay_t<decltype(values)>::value_type;
    return at::from_blob(const_cast<Value*>(values.data()), shape, type).clone();
  };
  NamedTensors tensors{{"weight", head.model.weight.contiguous()},
                       {"bias", head.model.bias.contiguous()},
                       {"basis", head.basis.contiguous()},
                       {"reference", head.reference.contiguous()},
                       {"centre", head.centre.contiguous()},
                       {"held_out.ids", stored(held_out.ids, at::kLong, {images})},
                       {"held_out.labels", stored(held_out.labels, at::kInt, {images})},
                       {"held_out.logits", stored(held_out.logits, at::kDouble, {images, head.model.bias.numel()})}};
  for (const NamedTensor& tensor : whitening_tensors(head.whitening)) tensors.push_back(tensor);
  write_safetensors(file, tensor_views(tensors), {{kKey, json_text(key)}, {kAbout, json_text(text)}});
}

std::vector<int64_t> reference_rows(const EvalData& data, uint64_t seed) {
  return sample_rows(data.memory, kReferences, seed, lane(Lane::kCopies, 2));
}

void take_references(StoredHead& head, const Dataset& dataset, const std::vector<uint64_t>& ids, const at::Tensor& features) {
  const Space space = space_of(features);
  head.centre = space.centre;
  head.basis = space.basis;
  head.reference = space.of(features);
  head.known_to.reset();
  if (ids.size() < kFewReferences) return;
  const std::vector<uint64_t> units = units_of(dataset, ids);
  std::vector<double> distances;
  for (int64_t fold = 0; fold < kParts; ++fold) {
    std::vector<int64_t> inside, outside;
    for (size_t row = 0; row < ids.size(); ++row) {
      const auto place = static_cast<int64_t>((units[row] != 0 ? units[row] : row) % kParts);
      (place == fold ? inside : outside).push_back(static_cast<int64_t>(row));
    }
    if (inside.empty() || outside.size() < 2) continue;
    const at::Tensor others = features.index_select(0, at::tensor(outside, at::kLong));
    const Space without = space_of(others);
    const std::vector<double> found =
        nearest_distances(without.of(features.index_select(0, at::tensor(inside, at::kLong))), without.of(others));
    distances.insert(distances.end(), found.begin(), found.end());
  }
  if (distances.size() < kFewReferences) return;
  std::sort(distances.begin(), distances.end());
  head.known_to = quantile(distances, kKnownShare);
}

std::vector<double> distance_to_training(const StoredHead& head, const at::Tensor& features) {
  return nearest_distances(Space{head.centre, head.basis}.of(features), head.reference);
}

at::Tensor head_logits(const LinearModel& model, const at::Tensor& features, int threads, Communicator& comm) {
  return map_rows(comm, features, model.bias.numel(), at::kDouble, threads, [&](const at::Tensor& rows) { return model.logits(rows); });
}

}  // namespace dinoxx::eval
