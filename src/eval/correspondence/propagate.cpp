#include "propagate.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

#include "base/csv.hpp"
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
#include "video_scores.hpp"

namespace dinoxx::eval {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// What is candidate: an embedder's propagation, or nothing moves (no embedder).
struct Candidate {
  std::string name, description;
  const Embedder* embedder;
};

int64_t row_width(const std::vector<Video>& videos) {
  int64_t most = 0;
  for (const Video& video : videos) most = std::max(most, static_cast<int64_t>(video.frames.size() * (1 + 2 * video.objects.size())));
  return 1 + most;
}

// As a row of numbers, so that the ranks can share it: frames, then per object J and F of each.
void write_scores(const VideoResult& scores, double* row) {
  *row++ = static_cast<double>(scores.frames.size());
  row = std::copy(scores.frames.begin(), scores.frames.end(), row);
  for (const auto* part : {&scores.region, &scores.boundary})
    for (const std::vector<double>& of_object : *part) row = std::copy(of_object.begin(), of_object.end(), row);
}

VideoResult read_scores(const Video& video, const double* row) {
  VideoResult scores;
  const auto frames = static_cast<int64_t>(*row++);
  for (int64_t i = 0; i < frames; ++i) scores.frames.push_back(static_cast<int64_t>(*row++));
  for (auto* part : {&scores.region, &scores.boundary}) {
    for (size_t object = 0; object < video.objects.size(); ++object, row += frames) part->emplace_back(row, row + frames);
  }
  return scores;
}

// Sums over objects that have a score.
struct Tally {
  double region = 0, boundary = 0, objects = 0;
  double both() const { return objects > 0 ? (region + boundary) / (2 * objects) : std::numeric_limits<double>::quiet_NaN(); }
};

constexpr const char *kNoFrame = "no annotated frame between the first and the last", *kNoObject = "undefined for every object";

json series_json(std::span<const double> frames) {
  const std::optional<SeriesScores> scores = series_scores(frames);
  const Stat none = Stat::undefined(kNoFrame);
  json result;
  put(result, "mean", scores ? Stat::of(scores->mean) : none);
  put(result, "recall", scores ? Stat::of(scores->recall) : none);
  put(result, "decay", !scores ? none : scores->decay ? Stat::of(*scores->decay) : Stat::undefined("fewer than four scored frames"));
  return result;
}

// Mean over objects of each part that is defined for any.
json mean_json(const std::vector<json>& parts) {
  json result;
  for (const char* name : {"mean", "recall", "decay"}) {
    double sum = 0, count = 0;
    for (const json& part : parts) {
      if (part[name].is_null()) continue;
      sum += part[name].get<double>();
      ++count;
    }
    put(result, name, count > 0 ? Stat::of(sum / count) : Stat::undefined(kNoObject));
  }
  return result;
}

struct Section {
  json scores;
  std::vector<Tally> videos;
  std::vector<std::vector<std::string>> objects;  // rows of objects.csv
};

Section describe(const Candidate& candidate, const std::vector<Video>& videos, const at::Tensor& rows) {
  Section section;
  json of_videos = json::array();
  std::vector<json> regions, boundaries;
  Tally all;
  for (size_t f = 0; f < videos.size(); ++f) {
    const Video& video = videos[f];
    const at::Tensor row = rows[static_cast<int64_t>(f)];
    const VideoResult scores = read_scores(video, row.data_ptr<double>());
    Tally tally;
    json of_objects = json::array();
    for (size_t i = 0; i < video.objects.size(); ++i) {
      const json region = series_json(scores.region[i]), boundary = series_json(scores.boundary[i]);
      of_objects.push_back(
          {{"object", video.objects[i]}, {"j", region}, {"f", boundary}, {"j_frames", scores.region[i]}, {"f_frames", scores.boundary[i]}});
      const auto text = [](const json& value) { return value.is_null() ? std::string() : fmt::format("{:.6f}", value.get<double>()); };
      section.objects.push_back({candidate.name, video.name, std::to_string(video.objects[i]), text(region["mean"]), text(region["recall"]),
                                 text(region["decay"]), text(boundary["mean"]), text(boundary["recall"]), text(boundary["decay"])});
      regions.push_back(region);
      boundaries.push_back(boundary);
      if (scores.frames.empty()) continue;
      tally.region += region["mean"].get<double>();
      tally.boundary += boundary["mean"].get<double>();
      ++tally.objects;
    }
    json of_video = {{"name", video.name}, {"frames", video.frames.size()}, {"scored_frames", scores.frames}, {"objects", of_objects}};
    put(of_video, "j_and_f", Stat::unless_nan(tally.both(), kNoFrame));
    of_videos.push_back(std::move(of_video));
    section.videos.push_back(tally);
    all.region += tally.region;
    all.boundary += tally.boundary;
    all.objects += tally.objects;
  }
  section.scores = {{"name", candidate.name},  {"description", candidate.description},
                    {"j", mean_json(regions)}, {"f", mean_json(boundaries)},
                    {"objects", all.objects},  {"films", std::move(of_videos)}};
  put(section.scores, "j_and_f", Stat::unless_nan(all.both(), kNoObject));
  return section;
}

// J&F of each resample of the videos.
std::vector<double> resampled(const std::vector<Tally>& videos, uint64_t seed) {
  const std::vector<int32_t> one_class(videos.size(), 0);
  const Resampler resampler(one_class, std::vector<uint64_t>(videos.size(), 0), 1, seed);
  std::vector<double> values;
  for (int64_t i = 0; i < kResamples; ++i) {
    const std::vector<uint32_t> counts = resampler.counts(i);
    Tally sum;
    for (size_t f = 0; f < videos.size(); ++f) {
      sum.region += counts[f] * videos[f].region;
      sum.boundary += counts[f] * videos[f].boundary;
      sum.objects += counts[f] * videos[f].objects;
    }
    values.push_back(sum.both());
  }
  return values;
}

json protocol_of(const PropagateOptions& options, int multiple) {
  const PropagationConfig& config = options.config;
  return {{"features", "patches of the last block after the final norm, L2-normalised"},
          {"first_and_last_frames", config.last_frames},
          {"top_k", config.top_k},
          {"radius_in_patches", config.radius},
          {"temperature", config.temperature},
          {"input", options.image_size ? fmt::format("short side {}", *options.image_size) : std::string("as in the files")},
          {"sides_rounded_to_multiples_of", multiple},
          {"masks", "soft labels upsampled bilinearly, each stretched to 0..1 over the frame, the largest, nearest pixel of the frame"},
          {"scored", "annotated frames but the first and the last; mean over frames of an object, then over all objects"},
          {"boundary_tolerance_of_diagonal", kBoundaryTolerance},
          {"recall_above", 0.5},
          {"decay", "first less last quarter of the scored frames; for four or more"},
          {"bootstrap", {{"resamples", kResamples}, {"what", "films"}}}};
}

}  // namespace

json propagate(const PropagateOptions& options, Communicator& comm) {
  const auto start = std::chrono::steady_clock::now();
  std::vector<Video> videos;
  ModelAndBaselines loaded;
  on_all_ranks(comm, [&] {
    videos = find_videos(options.frames, options.masks, options.list);
    loaded = load_model_and_baselines(options.model, options.baselines);
    if (comm.rank() == 0)
      for (const Video& video : videos) make_writable_directory(options.out / "masks" / video.name);
  });
  const std::vector<Embedder>& embedders = loaded.embedders;
  const int multiple = input_multiple(loaded.model.network->config());
  const Normalization& normalization = loaded.model.normalization.value().values;
  std::vector<Candidate> candidates;
  for (const Embedder& embedder : embedders) candidates.push_back({embedder.name, embedder.description, &embedder});
  candidates.push_back({"still", "the first annotation in every frame", nullptr});

  json results = {{"format", "dinoxx propagate"},
                  {"version", 1},
                  {"checkpoint", describe_checkpoint(loaded.model)},
                  {"data", {{"frames", options.frames.string()}, {"masks", options.masks.string()}, {"films", videos.size()}}},
                  {"protocol", protocol_of(options, multiple)},
                  {"results", json::array()},
                  {"seed", options.seed}};
  const ResultsSoFar so_far(comm.rank() == 0 ? options.out : std::filesystem::path(),
                            [&] { return results["results"].empty() ? json() : results; });
  std::string table = "features,film,object,J-mean,J-recall,J-decay,F-mean,F-recall,F-decay\n";
  std::vector<std::string> names;
  std::vector<std::vector<ResampledFigure>> figures;
  for (const Candidate& candidate : candidates) {
    const at::Tensor rows =
        run_tasks(comm, static_cast<int64_t>(videos.size()), row_width(videos), options.threads, [&](int64_t task, double* row) {
          const Video& video = videos[static_cast<size_t>(task)];
          const bool shown = candidate.embedder == &embedders.front();
          write_scores(candidate.embedder
                           ? propagate_video(video, *candidate.embedder, normalization, options.image_size.value_or(0), multiple,
                                             options.config, shown ? options.out / "masks" / video.name : fs::path())
                           : still_video(video),
                       row);
        });
    Section section = describe(candidate, videos, rows);
    std::vector<double> values = resampled(section.videos, options.seed);
    put(section.scores, "bootstrap95", percentile_interval(values));
    for (const auto& fields : section.objects) table += csv_row(fields);
    const json& both = section.scores["j_and_f"];
    names.push_back(candidate.name);
    figures.push_back({{"j_and_f", both.is_null() ? std::nan("") : both.get<double>(), std::move(values)}});
    results["results"].push_back(std::move(section.scores));
  }
  results["paired"] = videos.size() > 1 ? paired_differences(names, figures) : json::array();
  results["run"] = {{"command", options.command_line},
                    {"ranks", comm.size()},
                    {"threads", options.threads},
                    {"build", options.build},
                    {"seconds", std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count()}};
  on_all_ranks(comm, [&] {
    if (comm.rank() != 0) return;
    write_file_atomically(options.out / "objects.csv", table);
    write_file_atomically(options.out / "results.json", json_text(results, 2) + "\n");
  });
  return results;
}

std::string propagate_table(const json& results) {
  const auto percent = [](const json& value) {
    return value.is_null() ? std::string("-") : fmt::format("{:.2f}", 100 * value.get<double>());
  };
  std::string text = fmt::format(
      "labels followed through {} videos, in %: J overlap, F boundary, mean over objects\n  "
      "{:<12}{:>9}{:>16}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}\n",
      results["data"]["films"].get<int64_t>(), "", "J&F", "95 %", "J", "recall", "decay", "F", "recall", "decay");
  for (const json& result : results["results"]) {
    const json &j = result["j"], &f = result["f"], &interval = result["bootstrap95"];
    text +=
        fmt::format("  {:<12}{:>9}{:>16}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}\n", result["name"].get<std::string>(), percent(result["j_and_f"]),
                    interval.is_null() ? "-" : percent(interval[0]) + "-" + percent(interval[1]), percent(j["mean"]), percent(j["recall"]),
                    percent(j["decay"]), percent(f["mean"]), percent(f["recall"]), percent(f["decay"]));
  }
  text += paired_lines(results["paired"]);
  for (const json& note : results["checkpoint"]["notes"]) text += "  note: " + note.get<std::string>() + "\n";
  return text;
}

}  // namespace dinoxx::eval
