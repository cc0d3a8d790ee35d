#pragma once
#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>

#include "features.hpp"

namespace dinoxx::eval {

/// Features on disk, so that a second evaluation of the same weights on the same images need not embed them again. One file for each
/// embedder and list of images, named by a hash of everything that decides about its bits: the network's configuration and weights (of raw
/// pixels their description; other embedders are not kept), the transform, the data set's fingerprint, the list of ids, this program and
/// the type of processor. The key stands in the file in full and is compared, and so are the ids; a checksum covers the rest. What does not
/// fit is as good as absent: the images are embedded again. No error of the cache ends an evaluation.
class FeatureCache {
 public:
  static constexpr uint64_t kDefaultLimit = 8'000'000'000;  ///< bytes

  /// `folder` is made when the first entry is written. When all entries would be more than `limit` bytes, the ones that were not used for
  /// longest go. `say` gets what a person should know; called on rank 0 alone.
  FeatureCache(std::filesystem::path folder, uint64_t limit = kDefaultLimit, std::function<void(const std::string&)> say = {});

  /// This rank's part (rank_items) of an entry: its ids, and one tensor of rows. Nothing when there is none. Collective.
  std::optional<FeatureSet> read(const Dataset& dataset, std::span<const uint64_t> ids, const Embedder& embedder,
                                 const ExtractOptions& options, Communicator& comm);
  /// Keeps this rank's part of the rows. Collective.
  void write(const Dataset& dataset, std::span<const uint64_t> ids, const Embedder& embedder, const ExtractOptions& options,
             const at::Tensor& rows, Communicator& comm);

  /// {"folder", "limit_bytes", "read": [..], "written": [..], "notes": [..]}, of rank 0. An entry is "EMBEDDER, N images".
  nlohmann::json report() const;
  double seconds() const { return seconds_; }  ///< spent in read() and write() so far

 private:
  struct Key {
    std::string text;
    std::filesystem::path file;
  };
  Key key(const Dataset& dataset, std::span<const uint64_t> ids, const Embedder& embedder, const ExtractOptions& options);
  FeatureSet load(const Key& key, std::span<const uint64_t> ids, const Embedder& embedder) const;
  void store(const Key& key, std::span<const uint64_t> ids, const at::Tensor& rows);
  void make_room(uint64_t bytes) const;
  void note(const std::string& text);

  std::filesystem::path folder_;
  uint64_t limit_;
  std::function<void(const std::string&)> say_;
  std::filesystem::file_time_type begin_;             // what was used later is of this evaluation
  std::map<std::string, nlohmann::json> identities_;  // of embedders, by name
  std::vector<std::string> read_, written_, notes_;
  double seconds_ = 0;
};

}  // namespace dinoxx::eval
