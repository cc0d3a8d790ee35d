#pragma once
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "dinoxx/comm/communicator.hpp"
#include "dinoxx/data_pipeline/dataset.hpp"
#include "eval/readout/readout.hpp"
#include "model_source.hpp"

namespace dinoxx::eval {

struct EmbedOptions : NetworkRun {
  std::filesystem::path data, out;                            ///< out: FILE.npy, FILE.h5 (feature_file.hpp)
  std::optional<Split> split;                                 ///< all images without it
  bool normalize = true;                                      ///< rows divided by their L2 norm
  Readout readout;                                            ///< not whitened
  int last_blocks = 0;                                        ///< above 0: last_blocks_row() of so many blocks instead of the feature
  int64_t limit = 0;                                          ///< only that many, the first by id; 0: all
  std::function<void(int64_t done, int64_t total)> progress;  ///< images of all ranks, as this rank estimates it; from several threads
};

struct EmbedReport {
  int64_t images = 0, dim = 0;
  std::string transform, note;     ///< note: of a crop that drops much; "" else
  std::string facts;               ///< of the network and its input, each with its source
  std::vector<std::string> notes;  ///< what had to be assumed of the network
  double seconds = 0;              ///< of reading, decoding and embedding alone
};

/// Writes the feature (CLS, or what takes its place) of every image of a split, rows in the order of ids, by rename when it is complete; no
/// file is left after an error. Each image is embedded by one rank, and the file is the same at any number of ranks. How images become
/// network input is chosen from all images of the data set, whichever split is asked for (choose_transform). Images of labelled and
/// unlabelled classes alike. Collective. Errors as evaluate().
EmbedReport embed(const EmbedOptions& options, Communicator& comm);

}  // namespace dinoxx::eval
