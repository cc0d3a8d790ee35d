// Copy detection by nearest neighbours: distorted copies of test images look for their originals.
#include <ATen/ATen.h>

#include <algorithm>
#include <limits>

#include "comm/agree.hpp"
#include "copy_detection.hpp"
#include "dinoxx/base/error.hpp"
#include "eval/classify/nearest_mean.hpp"
#include "eval/features/blocks.hpp"
#include "eval/features/sample_rows.hpp"
#include "eval/run/checks.hpp"
#include "eval/statistics/metrics.hpp"
#include "eval/statistics/resampling.hpp"

namespace dinoxx::eval {
namespace {

using nlohmann::json;

constexpr int64_t kMostImages = 500;  // originals; each is shown once per distortion
constexpr int kCandidates = 10;       // of each copy, in the ranking of all copies
constexpr int kDistortions = 2;
constexpr const char* kNames[kDistortions] = {"mild", "strong"};
// Apart from the numbers of any view of training.
constexpr uint32_t kFirstView = 1000;

ViewSpec distortion(int which, int size) {
  ViewSpec view;
  view.name = kNames[which];
  view.size = size;
  view.jitter_p = 1.0;
  if (which == 0) {
    view.scale_min = 0.7;
    view.flip_p = view.gray_p = 0.0;
    view.brightness = view.contrast = view.saturation = 0.2;
    view.hue = 0.0;
    return view;
  }
  view.scale_min = 0.3;
  view.scale_max = 0.6;
  view.blur_p = 0.5;
  view.blur_sigma_min *= size / 224.0;  // the same blur of what is in the image
  view.blur_sigma_max *= size / 224.0;
  return view;
}

std::string describe(const ViewSpec& view) {
  ViewPlan plan;
  plan.views = {view};
  const std::string text = plan.describe();
  return text.substr(0, text.find('\n'));
}

// [images, 3, size, size] of one distortion
at::Tensor make_copies(const ProtocolInput& input, std::span<const int64_t> rows, int which) {
  const int size = input.images->transform.crop;
  const ViewSpec view = distortion(which, size);
  const at::Tensor images = at::empty({static_cast<int64_t>(rows.size()), 3, size, size}, at::kFloat);
  std::vector<uint8_t> bytes;
  Image image;
  for (size_t i = 0; i < rows.size(); ++i) {
    const uint64_t id = input.data.queries[rows[i]];
    input.dataset.read(id, bytes);
    try {
      decode_image(bytes, image);
    } catch (const Error& e) {
      throw Error(fmt::format("{}: {}", input.dataset.key(id), e.what()));
    }
    make_view(image, view, input.images->normalization, input.seed, id, kFirstView + static_cast<uint32_t>(which),
              images.data_ptr<float>() + static_cast<int64_t>(i) * 3 * size * size);
  }
  return images;
}

// What a copy's row of numbers holds: the cosine of copy and original, with the mean of the memory taken off, and for each candidate, the
// most similar first, its cosine and whether it is the original (or the same image under another name).
constexpr int64_t kWidth = 1 + 2 * kCandidates;

struct Candidate {
  double similarity;
  uint64_t id;
};

void find(const ProtocolInput& input, const at::Tensor& copies, const at::Tensor& centre, std::span<const int64_t> rows, double* out) {
  const EvalData& data = input.data;
  const auto neighbours = [&](const at::Tensor& database) {
    return nearest_neighbors(copies, database, static_cast<int>(std::min<int64_t>(kCandidates, database.size(0))));
  };
  const Neighbors in_memory = neighbours(input.features.memory), in_queries = neighbours(input.features.queries);
  const at::Tensor originals =
      input.features.queries.index_select(0, at::tensor(at::ArrayRef<int64_t>(rows.data(), rows.size()), at::kLong));
  const at::Tensor cosine =
      (centre_and_normalize(copies, centre).to(at::kDouble) * centre_and_normalize(originals, centre).to(at::kDouble)).sum(1);
  for (size_t i = 0; i < rows.size(); ++i, out += kWidth) {
    std::vector<Candidate> found;
    const auto add = [&](const Neighbors& part, const std::vector<uint64_t>& ids) {
      for (int j = 0; j < part.k; ++j) found.push_back({part.similarity[i * part.k + j], ids[part.rows[i * part.k + j]]});
    };
    add(in_memory, data.memory);
    add(in_queries, data.queries);
    std::sort(found.begin(), found.end(), [](const Candidate& a, const Candidate& b) {
      return a.similarity != b.similarity ? a.similarity > b.similarity : a.id < b.id;
    });
    const uint64_t original = data.queries[rows[i]];
    const std::array<uint64_t, 2> picture = input.dataset.content_id(original);
    out[0] = cosine.const_data_ptr<double>()[i];
    for (int j = 0; j < kCandidates; ++j) {
      const bool there = j < static_cast<int>(found.size());
      const bool right =
          there && (found[j].id == original || (picture != std::array<uint64_t, 2>{} && input.dataset.content_id(found[j].id) == picture));
      out[1 + 2 * j] = there ? found[j].similarity : -std::numeric_limits<double>::infinity();
      out[2 + 2 * j] = right;
    }
  }
}

json scores(const at::Tensor& rows) {
  const int64_t images = rows.size(0);
  int64_t first = 0, found = 0, near = 0;
  std::vector<double> similarity, cosine;
  std::vector<uint8_t> right;
  for (int64_t i = 0; i < images; ++i) {
    const double* row = rows.const_data_ptr<double>() + i * kWidth;
    cosine.push_back(row[0]);
    near += row[0] >= kNearIdentical;
    first += row[2] != 0;
    bool seen = false;
    for (int j = 0; j < kCandidates; ++j) {
      similarity.push_back(row[1 + 2 * j]);
      right.push_back(row[2 + 2 * j] != 0 && !seen);  // a second name of the same image counts as another image
      seen |= row[2 + 2 * j] != 0;
    }
    found += seen;
  }
  std::sort(cosine.begin(), cosine.end());
  json result = {{"correct", first}, {"recall_at_1", static_cast<double>(first) / static_cast<double>(images)}};
  const auto [low, high] = wilson_interval(first, images);
  result["interval95"] = {low, high};
  // average_precision() divides by the originals among the candidates; one that is not among them is missed
  const Stat ranked = average_precision(similarity, right);
  result["muap"] = (ranked.value ? *ranked.value : found > 0 ? 1.0 : 0.0) * static_cast<double>(found) / static_cast<double>(images);
  result["cosine"] = {{"median", quantile(cosine, 0.5)}, {"quantile_05", quantile(cosine, 0.05)}};
  result["near_identical"] = static_cast<double>(near) / static_cast<double>(images);
  return result;
}

}  // namespace

json copy_detection_settings() {
  return {{"what",
           "distorted copies of test images look for their originals among all images of memory and queries, by cosine; no label is used"},
          {"images_at_most", kMostImages},
          {"recall_at_1", "share of copies whose most similar image is the original, or the same image under another name"},
          {"muap",
           fmt::format("average precision of the {} most similar images of every copy in one ranking by cosine; an original that is not "
                       "among them is missed",
                       kCandidates)},
          {"cosine", "of copy and original, after the mean of the memory is taken off, as in checks.near_identical"},
          {"near_identical", fmt::format("share of copies with a cosine of at least {}: what that check would find", kNearIdentical)}};
}

json copy_detection(const ProtocolInput& input) {
  if (!input.images || !input.embedder.embed) return {{"left_out", "no images available"}};
  const std::vector<int64_t> chosen = sample_rows(input.data.queries, kMostImages, input.seed, lane(Lane::kCopies));
  const int64_t total = static_cast<int64_t>(chosen.size());
  const ItemRange mine = rank_items(total, input.comm.rank(), input.comm.size());
  const at::Tensor centre = memory_mean(input);
  at::Tensor local[kDistortions];
  for (at::Tensor& rows : local) rows = at::zeros({mine.size(), kWidth}, at::kDouble);
  on_all_ranks(input.comm, [&] {
    for_each_block(total, mine, input.threads, [&](int64_t, ItemRange items) {
      const auto rows = std::span(chosen).subspan(items.begin, items.size());
      for (int d = 0; d < kDistortions; ++d) {
        const at::Tensor copies = normalize_rows(input.embedder.embed(make_copies(input, rows, d)).to(at::kCPU, at::kFloat));
        find(input, copies, centre, rows, local[d].data_ptr<double>() + (items.begin - mine.begin) * kWidth);
      }
    });
  });
  json result = {
      {"images", total}, {"queries", input.data.queries.size()}, {"database", input.data.memory.size() + input.data.queries.size()}};
  for (int d = 0; d < kDistortions; ++d) {
    json& of = result["distortions"][kNames[d]];
    of = scores(gather_blocks(input.comm, local[d], total).contiguous());
    of["view"] = describe(distortion(d, input.images->transform.crop));
  }
  return result;
}

}  // namespace dinoxx::eval
