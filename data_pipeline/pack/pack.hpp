#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "data_pipeline/toy/toy.hpp"
#include "dinoxx/data_pipeline/dataset.hpp"

namespace dinoxx {

struct PackProgress {
  uint64_t done = 0, total = 0, bad = 0;
  uint64_t bytes = 0;  ///< encoded bytes taken so far
  const char* what = "pack";
};

struct PackOptions {
  enum class Source { kFolder, kList, kToy };
  Source source = Source::kFolder;
  std::filesystem::path input;  ///< folder or CSV
  std::string label_separator;  ///< of kList: what stands between the labels of a column "labels" of lists; empty: ; or | as found
  ToyOptions toy;               ///< for kToy
  std::filesystem::path out;    ///< must not exist, or be empty, or be of the same input; with overwrite or append it may be a data folder
  bool overwrite = false;
  bool append = false;  ///< adds the images of the input that `out` does not have, by their names; without such a folder it is made
  double max_bad_fraction = 0.01;
  uint64_t shard_bytes = uint64_t{512} << 20;  ///< payload per shard; as much memory is used, beside the images that are decoded
  uint64_t seed = 0;                           ///< order of the samples, and which are held out
  double long_tail = 0;  ///< 0: off; R >= 1: of the classes in order, of C in all, class c keeps the first n_max R^(-c / (C - 1)) training
                         ///< images (Cui et al. 2019), n_max of the largest class
  double val_fraction = 0,
         test_fraction = 0;   ///< held out of each class of train, whole groups and copies together, when the input has no such split
  bool split_folders = true;  ///< false: folders named train, val, test ... are classes
  bool strict = false;        ///< a warning is an Error, and nothing is written
  int threads = 0;            ///< 0 = all cores
  int64_t max_pixels = int64_t{1} << 28;     ///< larger images are bad
  Tolerance tolerance = Tolerance::kPixels;  ///< which files with faults are bad
  int used_bits = 16;  ///< of 16-bit PNG, 8 to 16; 0 = those of the largest value of all. With fewer than 16 they are packed as 8-bit PNG
  std::string command = "dinoxx pack";  ///< kept as provenance
  std::function<void(const PackProgress&)> progress;
  std::function<bool()>
      stop;  ///< when it says true, pack throws: an Error of exit code 85 when a later pack can go on, else nothing is left
};

struct BadInput {
  std::string key, reason;
  std::string kind;  ///< the reason in few words: "not found", "empty", "damaged" ...
};

struct PackReport {
  bool already = false;     ///< the folder was there, made of the same input: nothing was done
  uint64_t gone_on_at = 0;  ///< images that an interrupted pack had done
  uint64_t added = 0;       ///< images that were added to the folder
  uint64_t samples = 0, bytes = 0, shards = 0;
  std::array<uint64_t, 3> split_count{};
  uint64_t classes = 0;
  uint64_t labels_of_lists = 0;       ///< labels of which an image may have several; more than 0: `classes` says nothing
  std::vector<BadInput> bad;          ///< skipped; also in OUT/bad.csv
  std::vector<std::string> warnings;  ///< also in the manifest
  std::vector<std::string> notes;
  std::string preflight;  ///< report of format/preflight.hpp, several lines
  std::string fingerprint;
};

/// Packs images into a new data folder (data_pipeline/SHARD_FORMAT.md): every image is decoded once to prove it, the order is shuffled with
/// the seed so that shards are mixed, and the folder appears under its name only when it is complete and on disk. Equal inputs and options
/// give equal shards, at any number of threads. A folder that was packed of the same input with the same options is left as it is. A pack
/// that was stopped or killed goes on after its last complete shard, in OUT/.partial, when it is started again with the same input and
/// options. A bad image is skipped and listed; more than max_bad_fraction of them is an Error, with the list of all in OUT.bad.csv. Images
/// with faults that are packed all the same are listed in OUT/faults.csv. Error or
/// UsageError says what is missing.
PackReport pack(const PackOptions& options);

struct VerifyReport {
  uint64_t samples = 0;
  uint64_t problem_count = 0;             ///< 0 when all is well
  std::vector<std::string> problems;      ///< the first 100 of them
  uint64_t duplicates = 0;                ///< samples whose pixels occurred before in the same split
  uint64_t duplicates_across_splits = 0;  ///< in another split: a leak
};
/// Reads everything back: file checksums, every sample's checksum, and with `decode` every image and mask.
VerifyReport verify_dataset(const std::filesystem::path& data, bool decode = true);

}  // namespace dinoxx
