// Films as files: which there are, their annotations, one film followed from its first annotation.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <map>
#include <set>
#include <sstream>

#include "base/files.hpp"
#include "data_pipeline/codec/image_files.hpp"
#include "data_pipeline/codec/label_image.hpp"
#include "dinoxx/base/error.hpp"
#include "eval/features/image_input.hpp"
#include "model/backbones/attention.hpp"
#include "propagate.hpp"
#include "video_scores.hpp"

namespace dinoxx::eval {
namespace {

namespace fs = std::filesystem;

constexpr uint8_t kVoid = 255;

LabelImage read_labels(const fs::path& path) {
  const std::string bytes = read_text(path);
  try {
    return decode_label_png(as_bytes(bytes));
  } catch (const Error& e) {
    throw Error(fmt::format("{}: {}", path.string(), e.what()));
  }
}

void find_masks(Film& film, const fs::path& folder) {
  std::set<std::string> names;
  for (const fs::path& frame : film.frames) {
    const fs::path mask = folder / (frame.stem().string() + ".png");
    film.masks.push_back(fs::exists(mask) ? mask : fs::path());
    if (!names.insert(frame.stem().string()).second)
      fail_usage(film.name, "one picture of each name", fmt::format("two of {}", frame.stem().string()), "Remove one.");
  }
  if (film.masks.front().empty()) {
    fail_usage(film.name, "an annotation of its first frame",
               fmt::format("no {}", (folder / (film.frames.front().stem().string() + ".png")).string()),
               "Labels are propagated from there: draw one, a PNG whose pixels number the objects.");
  }
  for (const auto& entry : fs::directory_iterator(folder)) {
    const fs::path& path = entry.path();
    if (path.extension() == ".png" && !path.filename().string().starts_with('.') && !names.contains(path.stem().string())) {
      fail_usage(film.name, fmt::format("a frame for each annotation, {}", path.string()),
                 fmt::format("none of that name among {} frames", film.frames.size()), "Frames are missing, or the names differ.");
    }
  }
}

void find_objects(Film& film) {
  const LabelImage first = read_labels(film.masks.front());
  std::set<uint8_t> numbers(first.data.begin(), first.data.end());
  numbers.erase(0);
  if (numbers.size() > 1 && numbers.contains(kVoid)) {
    film.void_number = kVoid;
    numbers.erase(kVoid);
  }
  film.objects.assign(numbers.begin(), numbers.end());
  if (film.objects.empty()) {
    fail_usage(film.masks.front().string(), "pixels that are not 0: the objects to follow", "none",
               "Leave the frames before the objects appear out of the film.");
  }
}

std::vector<uint8_t> pixels_of(const std::vector<uint8_t>& labels, uint8_t object, const std::vector<uint8_t>& truth, int void_number) {
  std::vector<uint8_t> pixels(labels.size());
  for (size_t i = 0; i < labels.size(); ++i) pixels[i] = labels[i] == object && truth[i] != void_number;
  return pixels;
}

void score(const Film& film, size_t frame, const std::vector<uint8_t>& answer, int width, int height, FilmScores& scores) {
  if (frame == 0 || frame + 1 == film.frames.size() || film.masks[frame].empty()) return;
  const LabelImage truth = read_labels(film.masks[frame]);
  if (truth.width != width || truth.height != height) {
    fail(film.masks[frame].string(), fmt::format("the size of its film, {} x {}", width, height),
         fmt::format("{} x {}", truth.width, truth.height), "Frames and annotations of a film have one size.");
  }
  scores.frames.push_back(static_cast<int64_t>(frame));
  scores.region.resize(film.objects.size());
  scores.boundary.resize(film.objects.size());
  for (size_t i = 0; i < film.objects.size(); ++i) {
    const std::vector<uint8_t> a = pixels_of(truth.data, film.objects[i], truth.data, film.void_number);
    const std::vector<uint8_t> b = pixels_of(answer, film.objects[i], truth.data, film.void_number);
    scores.region[i].push_back(region_similarity(a, b));
    scores.boundary[i].push_back(boundary_measure(a, b, width, height));
  }
}

}  // namespace

std::vector<Film> find_films(const fs::path& frames, const fs::path& masks, const std::optional<fs::path>& list) {
  for (const auto& [option, folder] : {std::pair("--frames", &frames), std::pair("--masks", &masks)})
    if (!fs::is_directory(*folder)) fail_usage(option, "a folder", fmt::format("no folder {}", folder->string()), "Check the path.");
  std::map<std::string, Film> found;
  for (const ImageFile& file : list_images(frames)) {
    const size_t slash = file.key.rfind('/');
    const std::string name = slash == std::string::npos ? fs::absolute(frames / "").lexically_normal().parent_path().filename().string()
                                                        : file.key.substr(0, slash);
    Film& film = found[slash == std::string::npos ? "" : name];
    film.name = name;
    film.frames.push_back(file.path);
  }
  std::vector<std::string> wanted;
  if (list) {
    std::istringstream lines(read_text(*list));
    for (std::string line; lines >> line;) wanted.push_back(line);
  } else {
    for (const auto& [folder, film] : found) wanted.push_back(folder);
  }
  std::vector<Film> films;
  for (const std::string& folder : wanted) {
    if (!found.contains(folder)) {
      std::vector<std::string> known;
      for (const auto& [name, film] : found) known.push_back(name);
      const std::string near = nearest_name(folder, known);
      fail_usage(list->string(), fmt::format("names of folders with frames below {}", frames.string()), fmt::format("\"{}\"", folder),
                 near.empty() ? "One film a line." : fmt::format("Did you mean {}?", near));
    }
    Film film = found[folder];
    if (film.frames.size() < 2)
      fail_usage(film.name, "a film of two frames or more", fmt::format("{}", film.frames.size()), "One picture has nowhere to go.");
    if (!fs::is_directory(masks / folder))
      fail_usage(film.name, "its annotations below --masks", fmt::format("no folder {}", (masks / folder).string()),
                 "The names have to agree.");
    find_masks(film, masks / folder);
    find_objects(film);
    films.push_back(std::move(film));
  }
  if (films.empty()) fail_usage(list ? list->string() : frames.string(), "films", "none", "One folder of frames is a film.");
  return films;
}

FilmScores propagate_film(const Film& film, const Embedder& embedder, const Normalization& normalization, int image_size, int multiple,
                          const PropagationConfig& config, const fs::path& out) {
  const at::NoGradGuard no_grad;
  FilmScores scores;
  std::optional<LabelPropagation> propagation;
  LabelImage answer = read_labels(film.masks.front());
  for (size_t f = 0; f < film.frames.size(); ++f) {
    const Picture picture = read_picture(film.frames[f], image_size, multiple);
    if (picture.width != answer.width || picture.height != answer.height) {
      fail(film.frames[f].string(), fmt::format("the size of the film's first annotation, {} x {}", answer.width, answer.height),
           fmt::format("{} x {}", picture.width, picture.height), "Frames and annotations of a film have one size.");
    }
    const at::Tensor patches = embedder.patches(network_input(picture.pixels, normalization))[0];
    const PatchGrid grid = patch_grid(picture.pixels.size(1), picture.pixels.size(2), patches.size(0));
    const at::Tensor features = patches.reshape({grid.rows, grid.columns, -1});
    if (f == 0) {
      propagation.emplace(config, features,
                          labels_of_patches(answer.data, answer.width, answer.height, grid.rows, grid.columns, film.objects));
    } else {
      const at::Tensor labels = propagation->next(features);
      answer.data = mask_of_labels(labels, picture.pixels.size(1) / grid.rows, answer.width, answer.height, film.objects);
      score(film, f, answer.data, answer.width, answer.height, scores);
    }
    if (out.empty()) continue;
    const std::vector<uint8_t> png = encode_label_png(answer);
    write_file_atomically(out / (film.frames[f].stem().string() + ".png"), {reinterpret_cast<const char*>(png.data()), png.size()});
  }
  return scores;
}

FilmScores still_film(const Film& film) {
  FilmScores scores;
  const LabelImage first = read_labels(film.masks.front());
  for (size_t f = 1; f < film.frames.size(); ++f) score(film, f, first.data, first.width, first.height, scores);
  return scores;
}

}  // namespace dinoxx::eval
