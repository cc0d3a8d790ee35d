// Videos as files: which there are, their annotations, one video followed from its first annotation.
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
  std::vector<uint8_t> bytes;
  read_image_file(path, bytes);
  try {
    return decode_label_png(bytes);
  } catch (const Error& e) {
    throw Error(fmt::format("{}: {}", path.string(), e.what()));
  }
}

void find_masks(Video& video, const fs::path& folder) {
  std::set<std::string> names;
  for (const fs::path& frame : video.frames) {
    const fs::path mask = folder / (frame.stem().string() + ".png");
    video.masks.push_back(fs::exists(mask) ? mask : fs::path());
    if (!names.insert(frame.stem().string()).second)
      fail_usage(video.name, "one image of each name", fmt::format("two of {}", frame.stem().string()), "Remove one.");
  }
  if (video.masks.front().empty()) {
    fail_usage(video.name, "an annotation of its first frame",
               fmt::format("no {}", (folder / (video.frames.front().stem().string() + ".png")).string()),
               "Labels are propagated from there: draw one, a PNG whose pixels number the objects.");
  }
  for (const auto& entry : fs::directory_iterator(folder)) {
    const fs::path& path = entry.path();
    if (path.extension() == ".png" && !path.filename().string().starts_with('.') && !names.contains(path.stem().string())) {
      fail_usage(video.name, fmt::format("a frame for each annotation, {}", path.string()),
                 fmt::format("none of that name among {} frames", video.frames.size()), "Frames are missing, or the names differ.");
    }
  }
}

void find_objects(Video& video) {
  const LabelImage first = read_labels(video.masks.front());
  std::set<uint8_t> numbers(first.data.begin(), first.data.end());
  numbers.erase(0);
  if (numbers.size() > 1 && numbers.contains(kVoid)) {
    video.void_number = kVoid;
    numbers.erase(kVoid);
  }
  video.objects.assign(numbers.begin(), numbers.end());
  if (video.objects.empty()) {
    fail_usage(video.masks.front().string(), "pixels that are not 0: the objects to follow", "none",
               "Leave the frames before the objects appear out of the video.");
  }
}

std::vector<uint8_t> pixels_of(const std::vector<uint8_t>& labels, uint8_t object, const std::vector<uint8_t>& truth, int void_number) {
  std::vector<uint8_t> pixels(labels.size());
  for (size_t i = 0; i < labels.size(); ++i) pixels[i] = labels[i] == object && truth[i] != void_number;
  return pixels;
}

void score(const Video& video, size_t frame, const std::vector<uint8_t>& answer, int width, int height, VideoResult& scores) {
  if (frame == 0 || frame + 1 == video.frames.size() || video.masks[frame].empty()) return;
  const LabelImage truth = read_labels(video.masks[frame]);
  if (truth.width != width || truth.height != height) {
    fail(video.masks[frame].string(), fmt::format("the size of its video, {} x {}", width, height),
         fmt::format("{} x {}", truth.width, truth.height), "Frames and annotations of a video have one size.");
  }
  scores.frames.push_back(static_cast<int64_t>(frame));
  scores.region.resize(video.objects.size());
  scores.boundary.resize(video.objects.size());
  for (size_t i = 0; i < video.objects.size(); ++i) {
    const std::vector<uint8_t> a = pixels_of(truth.data, video.objects[i], truth.data, video.void_number);
    const std::vector<uint8_t> b = pixels_of(answer, video.objects[i], truth.data, video.void_number);
    scores.region[i].push_back(region_similarity(a, b));
    scores.boundary[i].push_back(boundary_measure(a, b, width, height));
  }
}

}  // namespace

std::vector<Video> find_videos(const fs::path& frames, const fs::path& masks, const std::optional<fs::path>& list) {
  for (const auto& [option, folder] : {std::pair("--frames", &frames), std::pair("--masks", &masks)})
    if (!fs::is_directory(*folder)) fail_usage(option, "a folder", fmt::format("no folder {}", folder->string()), "Check the path.");
  std::map<std::string, Video> found;
  for (const ImageFile& file : list_images(frames)) {
    const size_t slash = file.key.rfind('/');
    const std::string name = slash == std::string::npos ? fs::absolute(frames / "").lexically_normal().parent_path().filename().string()
                                                        : file.key.substr(0, slash);
    Video& video = found[slash == std::string::npos ? "" : name];
    video.name = name;
    video.frames.push_back(file.path);
  }
  std::vector<std::string> wanted;
  if (list) {
    std::istringstream lines(read_text(*list));
    for (std::string line; lines >> line;) wanted.push_back(line);
  } else {
    for (const auto& [folder, video] : found) wanted.push_back(folder);
  }
  std::vector<Video> videos;
  for (const std::string& folder : wanted) {
    if (!found.contains(folder)) {
      std::vector<std::string> known;
      for (const auto& [name, video] : found) known.push_back(name);
      const std::string near = nearest_name(folder, known);
      fail_usage(list->string(), fmt::format("names of folders with frames below {}", frames.string()), fmt::format("\"{}\"", folder),
                 near.empty() ? "One video a line." : fmt::format("Did you mean {}?", near));
    }
    Video video = found[folder];
    if (video.frames.size() < 2)
      fail_usage(video.name, "a video of two frames or more", fmt::format("{}", video.frames.size()), "One image is no video.");
    if (!fs::is_directory(masks / folder))
      fail_usage(video.name, "its annotations below --masks", fmt::format("no folder {}", (masks / folder).string()),
                 "The names have to agree.");
    find_masks(video, masks / folder);
    find_objects(video);
    videos.push_back(std::move(video));
  }
  if (videos.empty()) fail_usage(list ? list->string() : frames.string(), "videos", "none", "Each folder of frames is a video.");
  return videos;
}

VideoResult propagate_video(const Video& video, const Embedder& embedder, const Normalization& normalization, int image_size, int multiple,
                            const PropagationConfig& config, const fs::path& out) {
  const at::NoGradGuard no_grad;
  VideoResult scores;
  std::optional<LabelPropagation> propagation;
  LabelImage answer = read_labels(video.masks.front());
  for (size_t f = 0; f < video.frames.size(); ++f) {
    const InputImage picture = read_input_image(video.frames[f], image_size, multiple);
    if (picture.width != answer.width || picture.height != answer.height) {
      fail(video.frames[f].string(), fmt::format("the size of the video's first annotation, {} x {}", answer.width, answer.height),
           fmt::format("{} x {}", picture.width, picture.height), "Frames and annotations of a video have one size.");
    }
    const at::Tensor patches = embedder.patches(network_input(picture.pixels, normalization))[0];
    const PatchGrid grid = patch_grid(picture.pixels.size(1), picture.pixels.size(2), patches.size(0));
    const at::Tensor features = patches.reshape({grid.rows, grid.columns, -1});
    if (f == 0) {
      propagation.emplace(config, features,
                          labels_of_patches(answer.data, answer.width, answer.height, grid.rows, grid.columns, video.objects));
    } else {
      const at::Tensor labels = propagation->next(features);
      answer.data = mask_of_labels(labels, picture.pixels.size(1) / grid.rows, answer.width, answer.height, video.objects);
      score(video, f, answer.data, answer.width, answer.height, scores);
    }
    if (out.empty()) continue;
    const std::vector<uint8_t> png = encode_label_png(answer);
    write_file_atomically(out / (video.frames[f].stem().string() + ".png"), {reinterpret_cast<const char*>(png.data()), png.size()});
  }
  return scores;
}

VideoResult still_video(const Video& video) {
  VideoResult scores;
  const LabelImage first = read_labels(video.masks.front());
  for (size_t f = 1; f < video.frames.size(); ++f) score(video, f, first.data, first.width, first.height, scores);
  return scores;
}

}  // namespace dinoxx::eval
