#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>

#include "base/files.hpp"
#include "base/json_text.hpp"
#include "comm/agree.hpp"
#include "dinoxx/base/error.hpp"
#include "eval/features/baselines.hpp"
#include "eval/features/blocks.hpp"
#include "eval/features/image_input.hpp"
#include "eval/run/results_so_far.hpp"
#include "eval/statistics/paired.hpp"
#include "eval/statistics/resampling.hpp"
#include "match.hpp"
#include "model/backbones/attention.hpp"

namespace dinoxx::eval {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

struct Pair {
  fs::path first, second;
  std::vector<KeyPoint> points;
  double reference = 0;  // 0: the longer side of the second image
};

std::vector<Pair> read_pairs(const fs::path& list, const fs::path& images) {
  if (!fs::is_regular_file(list)) fail_usage("--pairs", "a JSON file", fmt::format("no {}", list.string()), "Check the path.");
  std::vector<Pair> pairs;
  try {
    for (const json& entry : json::parse(read_text(list))) {
      Pair pair{images / entry.at("first").get<std::string>(), images / entry.at("second").get<std::string>(), {}, 0};
      for (const json& point : entry.at("points"))
        pair.points.push_back({point.at(0).get<double>(), point.at(1).get<double>(), point.at(2).get<double>(), point.at(3).get<double>()});
      if (entry.contains("box")) pair.reference = std::max(entry["box"].at(2).get<double>(), entry["box"].at(3).get<double>());
      for (const fs::path& picture : {pair.first, pair.second})
        if (!fs::is_regular_file(picture))
          fail_usage(list.string(), "images that are there", fmt::format("no {}", picture.string()), "See --images.");
      pairs.push_back(std::move(pair));
    }
  } catch (const json::exception& e) {
    fail_usage(list.string(), "[{\"first\": FILE, \"second\": FILE, \"points\": [[x, y, x2, y2], ...], \"box\": [x, y, width, height]}]",
               fmt::format("\"{}\" in pair {}", e.what(), pairs.size()), "Box may be left out.");
  }
  if (pairs.empty()) fail_usage(list.string(), "pairs of images", "none", "See \"dinoxx match --help\".");
  return pairs;
}

PatchMap patches_of(const InputImage& picture, const Embedder& embedder, const Normalization& normalization) {
  const at::Tensor features = embedder.patches(network_input(picture.pixels, normalization))[0];
  const PatchGrid grid = patch_grid(picture.pixels.size(1), picture.pixels.size(2), features.size(0));
  return {features, grid.rows, grid.columns, static_cast<double>(picture.width), static_cast<double>(picture.height)};
}

PointTally match_pair(const Pair& pair, const Embedder& embedder, const Normalization& normalization, int image_size, int multiple) {
  const InputImage first = read_input_image(pair.first, image_size, multiple), second = read_input_image(pair.second, image_size, multiple);
  for (const KeyPoint& point : pair.points) {
    const auto inside = [](const InputImage& picture, double x, double y) {
      return x >= 0 && y >= 0 && x <= picture.width && y <= picture.height;
    };
    if (inside(first, point.x, point.y) && inside(second, point.to_x, point.to_y)) continue;
    fail_usage(pair.first.string(),
               fmt::format("points inside {} x {} and {} x {}", first.width, first.height, second.width, second.height),
               fmt::format("{}, {}, {}, {}", point.x, point.y, point.to_x, point.to_y), "Points are in pixels of the files: x, y, x2, y2.");
  }
  const double reference = pair.reference > 0 ? pair.reference : std::max(second.width, second.height);
  return match_points(patches_of(first, embedder, normalization), patches_of(second, embedder, normalization), pair.points, reference);
}

// Of all pairs, each counted as often as it is drawn.
PointTally sum_of(const at::Tensor& rows, std::span<const uint32_t> counts) {
  PointTally tally;
  for (int64_t i = 0; i < rows.size(0); ++i) tally.add(rows.data_ptr<double>() + i * PointTally::kNumbers, counts[i]);
  return tally;
}

double pck(const PointTally& tally, size_t share) {
  return tally.points > 0 ? tally.right[share] / tally.points : std::nan("");
}

}  // namespace

json match_pairs(const MatchOptions& options, Communicator& comm) {
  const auto start = std::chrono::steady_clock::now();
  std::vector<Pair> pairs;
  ModelAndBaselines loaded;
  on_all_ranks(comm, [&] {
    pairs = read_pairs(options.pairs, options.images);
    loaded = load_model_and_baselines(options.model, options.baselines);
    if (comm.rank() == 0) make_writable_directory(options.out);
  });
  const int multiple = input_multiple(loaded.model.network->config()), size = options.image_size.value_or(loaded.model.image_size);
  const Normalization& normalization = loaded.model.normalization.value().values;
  const std::vector<int32_t> one_class(pairs.size(), 0);
  const Resampler resampler(one_class, std::vector<uint64_t>(pairs.size(), 0), 1, options.seed);
  json results = {{"format", "dinoxx match"},
                  {"version", 1},
                  {"checkpoint", describe_checkpoint(loaded.model)},
                  {"data", {{"pairs_file", options.pairs.string()}, {"pairs", pairs.size()}}},
                  {"protocol",
                   {{"features", "patches of the last block after the final norm, cosine"},
                    {"answer", "centre of the most similar patch"},
                    {"reference", "longer side of the box, without one of the second image"},
                    {"pck", "over all points of all pairs"},
                    {"input", fmt::format("short side {}, sides rounded to multiples of {}", size, multiple)},
                    {"bootstrap", {{"resamples", kResamples}, {"what", "pairs"}}}}},
                  {"results", json::array()},
                  {"seed", options.seed}};
  const ResultsSoFar so_far(comm.rank() == 0 ? options.out : std::filesystem::path(),
                            [&] { return results["results"].empty() ? json() : results; });
  std::vector<std::vector<ResampledFigure>> figures;
  for (const Embedder& embedder : loaded.embedders) {
    const at::Tensor rows =
        run_tasks(comm, static_cast<int64_t>(pairs.size()), PointTally::kNumbers, options.threads, [&](int64_t task, double* row) {
          match_pair(pairs[static_cast<size_t>(task)], embedder, normalization, size, multiple).write(row);
        });
    const PointTally all = sum_of(rows, std::vector<uint32_t>(pairs.size(), 1));
    json scores = {{"name", embedder.name}, {"description", embedder.description}};
    scores.update(tally_json(all));
    scores["pairs"] = json::array();
    for (int64_t i = 0; i < rows.size(0); ++i) {
      PointTally one;
      one.add(rows.data_ptr<double>() + i * PointTally::kNumbers);
      scores["pairs"].push_back(tally_json(one));
    }
    figures.emplace_back();
    for (size_t s = 0; s < kPckShares.size(); ++s) figures.back().push_back({fmt::format("pck_{}", kPckShares[s]), pck(all, s), {}});
    for (int64_t i = 0; i < kResamples; ++i) {
      const PointTally drawn = sum_of(rows, resampler.counts(i));
      for (size_t s = 0; s < kPckShares.size(); ++s) figures.back()[s].values.push_back(pck(drawn, s));
    }
    for (size_t s = 0; s < kPckShares.size(); ++s)
      put(scores["bootstrap95"], fmt::format("{}", kPckShares[s]), percentile_interval(figures.back()[s].values));
    results["results"].push_back(std::move(scores));
  }
  results["paired"] = paired_differences(loaded.names(), figures);
  results["run"] = {{"command", options.command_line},
                    {"ranks", comm.size()},
                    {"threads", options.threads},
                    {"build", options.build},
                    {"seconds", std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count()}};
  on_all_ranks(comm, [&] {
    if (comm.rank() == 0) write_file_atomically(options.out / "results.json", json_text(results, 2) + "\n");
  });
  return results;
}

std::string match_table(const json& results) {
  const auto percent = [](const json& value) {
    return value.is_null() ? std::string("-") : fmt::format("{:.2f}", 100 * value.get<double>());
  };
  std::string text = "matched points (PCK in %, within 0.05, 0.1 and 0.2 of the reference length)\n";
  text += fmt::format("  {:<12}{:>9}{:>9}{:>16}{:>9}{:>12}{:>9}{:>9}\n", "", "0.05", "0.1", "95 %", "0.2", "mutual 0.1", "share", "points");
  const auto line = [&](const std::string& name, const json& of, const std::string& interval, const json& mutual) {
    text +=
        fmt::format("  {:<12}{:>9}{:>9}{:>16}{:>9}{:>12}{:>9}", name, percent(of["0.05"]), percent(of["0.1"]), interval, percent(of["0.2"]),
                    mutual.is_null() ? "" : percent(mutual["pck"]["0.1"]), mutual.is_null() ? "" : percent(mutual["share"]));
  };
  const json* shown = nullptr;
  for (const json& result : results) {
    if (!result.contains("pck")) continue;
    const json& interval = result["bootstrap95"]["0.1"];
    line(result["name"].get<std::string>(), result["pck"], interval.is_null() ? "-" : percent(interval[0]) + "-" + percent(interval[1]),
         result["mutual"]);
    text += fmt::format("{:>9}\n", result["points"].get<double>());
    if (!shown) shown = &result;
  }
  if (!shown) return {};
  line("best of grid", (*shown)["best_of_grid"], "", nullptr);
  text += "\n";
  line("chance", (*shown)["chance"], "", nullptr);
  return text + "\n";
}

}  // namespace dinoxx::eval
