// Every test image against a warped copy of itself, whose correspondences are known without annotations.
#include <ATen/ATen.h>

#include <cmath>

#include "comm/agree.hpp"
#include "eval/classify/units.hpp"
#include "eval/dense/dense.hpp"
#include "eval/dense/segmentation.hpp"
#include "eval/features/blocks.hpp"
#include "eval/statistics/resampling.hpp"
#include "match.hpp"

namespace dinoxx::eval {

using nlohmann::json;

json match_settings(const EvalData&, const KnnConfig&) {
  return {
      {"suite", "match"},
      {"warp",
       "similar to a turn by up to 30 degrees, scale 0.8 to 1.25, stretch up to 10 %, shift up to a tenth of the side; a function of "
       "(seed, image id)"},
      {"points", "centres of patches that the warp leaves inside the image; of patches mostly on the object where the image has a mask"},
      {"answer", "centre of the patch of largest cosine, last block after the final norm"},
      {"reference", "side of the network's input"},
      {"mutual", "points whose answer has the asked patch as its own nearest"},
      {"best_of_grid", "the nearest centre of a patch: no features can do better"},
      {"chance", "any patch, equally likely"},
      {"bootstrap", {{"resamples", kResamples}, {"what", "test images of each class, or groups"}}},
      {"notes", json::array()}};
}

ProtocolResult match_protocol(const ProtocolInput& input) {
  ProtocolResult result;
  if (!input.images || !input.embedder.patches) {
    result.scores["left_out"] = "these features have no patches";
    return result;
  }
  const EvalData& data = input.data;
  const int64_t total = static_cast<int64_t>(data.queries.size()), size = input.images->transform.crop;
  segmentation::Shape shape{};
  on_all_ranks(input.comm, [&] { shape = segmentation::shape_of(input); });
  const ItemRange mine = rank_items(total, input.comm.rank(), input.comm.size());
  at::Tensor rows = at::zeros({mine.size(), PointTally::kNumbers}, at::kDouble);
  on_all_ranks(input.comm, [&] {
    for_each_block(total, mine, input.threads, [&](int64_t, ItemRange items) {
      const auto ids = std::span(data.queries).subspan(items.begin, items.size());
      const segmentation::Masks masks = segmentation::read_masks(input.dataset, ids, input.images->transform);
      const at::Tensor images = read_images(input.dataset, ids, *input.images);
      std::vector<at::Tensor> copies;
      for (int64_t i = 0; i < items.size(); ++i)
        copies.push_back(warped_image(images[i], draw_warp(input.seed, ids[i], static_cast<double>(size))));
      const at::Tensor from = input.embedder.patches(images), to = input.embedder.patches(at::stack(copies));
      for (int64_t i = 0; i < items.size(); ++i) {
        const std::vector<uint8_t> object = masks.there[i] ? object_cells(masks.of(i), size, shape.side) : std::vector<uint8_t>();
        const auto length = static_cast<double>(size);
        const std::vector<KeyPoint> points = warp_points(draw_warp(input.seed, ids[i], length), shape.side, length, object);
        match_points({from[i], shape.side, shape.side, length, length}, {to[i], shape.side, shape.side, length, length}, points, length)
            .write(rows.data_ptr<double>() + (items.begin + i - mine.begin) * PointTally::kNumbers);
      }
    });
  });
  rows = gather_blocks(input.comm, rows, total);
  const double* numbers = rows.data_ptr<double>();
  PointTally all;
  int64_t without = 0;
  for (int64_t i = 0; i < total; ++i) {
    all.add(numbers + i * PointTally::kNumbers);
    without += numbers[i * PointTally::kNumbers] == 0;
  }
  result.scores = tally_json(all);
  result.scores["images"] = total;
  result.scores["images_without_points"] = without;
  result.scores["patches"] = {{"grid", {shape.side, shape.side}}, {"dim", shape.dim}};

  const Resampler resampler(data.query_labels, groups_of(input.dataset, data.queries), data.classes, input.seed);
  const auto shares = static_cast<int64_t>(kPckShares.size());
  const auto figures_of = [](const PointTally& tally, double* to) {
    for (size_t s = 0; s < kPckShares.size(); ++s) to[s] = tally.points > 0 ? tally.right[s] / tally.points : std::nan("");
  };
  const at::Tensor drawn = run_tasks(input.comm, kResamples, shares, input.threads, [&](int64_t task, double* row) {
    const std::vector<uint32_t> counts = resampler.counts(task);
    PointTally tally;
    for (int64_t i = 0; i < total; ++i) tally.add(numbers + i * PointTally::kNumbers, counts[i]);
    figures_of(tally, row);
  });
  std::array<double, kPckShares.size()> values{};
  figures_of(all, values.data());
  for (int64_t s = 0; s < shares; ++s) {
    const at::Tensor column = drawn.select(1, s).contiguous();
    const std::string name = fmt::format("{}", kPckShares[s]);
    result.figures.push_back({"pck_" + name, values[s], {column.data_ptr<double>(), column.data_ptr<double>() + kResamples}});
    put(result.scores["bootstrap95"], name, percentile_interval(result.figures.back().values));
  }
  return result;
}

}  // namespace dinoxx::eval
