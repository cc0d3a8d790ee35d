#pragma once
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "dinoxx/comm/communicator.hpp"
#include "eval/features/features.hpp"
#include "eval/features/model_source.hpp"
#include "label_propagation.hpp"

namespace dinoxx::eval {

/// A video: frames in order, and the annotations that are there.
struct Video {
  std::string name;
  std::vector<std::filesystem::path> frames, masks;  ///< a mask for each frame, empty where there is none; the first is there
  std::vector<uint8_t> objects;                      ///< numbers in the first mask, ascending
  int void_number = -1;                              ///< pixels of this number are void and never scored: 255 beside other numbers
};

/// Videos below `frames`: every folder with images is one (frames in the order of their names), or `frames` itself; annotations are PNGs
/// of the same names below `masks`. `list`: a text file with one video a line, as DAVIS' ImageSets; without it all. UsageError: no videos,
/// one that the list names and the folder lacks, a video of one frame, no annotation of its first frame, an annotation without objects, an
/// annotation without its frame.
std::vector<Video> find_videos(const std::filesystem::path& frames, const std::filesystem::path& masks,
                               const std::optional<std::filesystem::path>& list);

/// J and F of every object in every frame that counts: annotated, neither the first nor the last (the protocol of DAVIS 2017).
struct VideoResult {
  std::vector<int64_t> frames;
  std::vector<std::vector<double>> region, boundary;  ///< [objects][frames]
};

/// Follows the first annotation through the video. `normalization`: the network's own. `image_size`: short side of the network's
/// input, 0 as in the files; `multiple` of its sides. Where `out` is not empty, the masks go there as PNGs with the frames' names. Error:
/// frames of several sizes, an annotation of another size than its frame.
VideoResult propagate_video(const Video& video, const Embedder& embedder, const Normalization& normalization, int image_size, int multiple,
                            const PropagationConfig& config, const std::filesystem::path& out = {});
/// The same for the first annotation in every frame: nothing moves.
VideoResult still_video(const Video& video);

/// Without an image size: the frames as they are.
struct PropagateOptions : NetworkRun {
  std::filesystem::path frames, masks, out;
  std::optional<std::filesystem::path> list;
  std::vector<std::string> baselines{"untrained", "raw"};
  PropagationConfig config;
  uint64_t seed = 0;  ///< of resamples
};

/// Videos are dealt to ranks and threads, each wholly in one thread. Writes the checkpoint's masks to out/masks/VIDEO, scores of each
/// object to out/objects.csv and, last, out/results.json, which is equal at any number of ranks but for its "run". Returns it on every
/// rank. Collective.
nlohmann::json propagate(const PropagateOptions& options, Communicator& comm);
/// The table for the terminal.
std::string propagate_table(const nlohmann::json& results);

}  // namespace dinoxx::eval
