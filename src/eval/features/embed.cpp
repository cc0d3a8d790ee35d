#include "embed.hpp"

#include <ATen/ATen.h>

#include <atomic>
#include <chrono>
#include <numeric>

#include "base/json_text.hpp"
#include "blocks.hpp"
#include "comm/agree.hpp"
#include "data_pipeline/format/feature_file.hpp"
#include "data_pipeline/labels/label_lists.hpp"
#include "dinoxx/base/error.hpp"
#include "embed_rows.hpp"
#include "model/backbones/last_blocks.hpp"
#include "model/weights/facts.hpp"

namespace dinoxx::eval {
namespace {

namespace fs = std::filesystem;

// Blocks of a rank between two writes: what bounds the memory, whatever the size of the data set.
constexpr int64_t kBlocksAtOnce = 32;

std::vector<uint64_t> ids_of(const Dataset& dataset, std::optional<Split> split, int64_t limit) {
  std::vector<uint64_t> ids(dataset.size());
  std::iota(ids.begin(), ids.end(), uint64_t{0});
  if (split) {
    ids = dataset.ids(*split);
    if (ids.empty()) {
      fail_usage("--split", "a split that has images", fmt::format("no {} split in this data set", split_name(*split)),
                 "Leave it out to take all images.");
    }
  }
  if (limit > 0 && static_cast<size_t>(limit) < ids.size()) ids.resize(static_cast<size_t>(limit));
  return ids;
}

}  // namespace

EmbedReport embed(const EmbedOptions& options, Communicator& comm) {
  std::shared_ptr<const Dataset> dataset;
  LoadedModel model;
  std::vector<uint64_t> ids;
  EmbedReport report;
  EvalTransform transform;
  Embedder embedder;
  std::unique_ptr<FeatureFile> file;
  on_all_ranks(comm, [&] {
    if (!fs::exists(options.data))
      fail_usage("--data", "a folder made by \"dinoxx pack\"", fmt::format("no {}", options.data.string()), "Pack the images first.");
    dataset = with_one_label(Dataset::open(options.data));
    model = load_model(options.model);
    ids = ids_of(*dataset, options.split, options.limit);
    transform = transform_of(options, *dataset, ids_of(*dataset, std::nullopt, 0), network_side(model, options.image_size));
    const int blocks = offered_blocks(*model.network);
    if (options.last_blocks > blocks)
      fail_usage("--last-blocks", fmt::format("at most {}", blocks), std::to_string(options.last_blocks),
                 "Ask for as many as the network has.");
    embedder = read_stages(backbone_embedder("teacher", "", *model.network), options.readout, transform.crop);
    if (options.last_blocks > 0) {
      embedder.dim = static_cast<int64_t>(options.last_blocks + 1) * model.network->feature_dim();
      embedder.embed = [&](const at::Tensor& images) { return last_blocks_row(*model.network, images, options.last_blocks); };
    }
    report = {static_cast<int64_t>(ids.size()),  embedder.dim, describe(transform, options.whole), "",
              facts_text(describe(model.facts)), model.notes};
    report.note = note_on_crop(*dataset, ids, transform);
    if (comm.rank() != 0) return;
    file = create_feature_file(options.out, {*dataset,
                                             ids,
                                             report.dim,
                                             {{"checkpoint", model.file.string()},
                                              {"crc32c", fmt::format("{:08x}", model.crc32c)},
                                              {"step", model.step ? std::to_string(*model.step) : ""},
                                              {"precision", options.model.dtype == at::kBFloat16 ? "bf16" : "fp32"},
                                              {"data_fingerprint", dataset->fingerprint()},
                                              {"transform", report.transform},
                                              {"input", describe(model.normalization.value().values)},
                                              {"facts", json_text(describe(model.facts))},
                                              {"normalized", options.normalize ? "L2" : "no"},
                                              {"features", describe(options.readout)},
                                              {"last_blocks", std::to_string(options.last_blocks)},
                                              {"command", options.command_line}}});
  });
  const Normalization normalization = model.normalization.value().values;
  const auto start = std::chrono::steady_clock::now();
  const int64_t total = report.images, at_once = kEvalBlock * kBlocksAtOnce * comm.size();
  for (int64_t first = 0; first < total; first += at_once) {
    const int64_t count = std::min(at_once, total - first);
    std::atomic<int64_t> of_this_rank{0};
    const at::Tensor rows = embed_rows(
        count, transform.crop, embedder, options.normalize, options.threads,
        [&](int64_t item, float* input) { make_input(*dataset, ids[static_cast<size_t>(first + item)], transform, normalization, input); },
        [&](int64_t items) {
          const int64_t done = first + std::min(count, (of_this_rank += items) * comm.size());
          if (options.progress) options.progress(done, total);
        },
        comm);
    on_all_ranks(comm, [&] {
      if (file) file->append({rows.data_ptr<float>(), static_cast<size_t>(rows.numel())});
    });
  }
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  on_all_ranks(comm, [&] {
    if (file) file->commit();
  });
  return report;
}

}  // namespace dinoxx::eval
