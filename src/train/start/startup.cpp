#include "startup.hpp"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include "base/machine.hpp"
#include "comm/agree.hpp"
#include "dinoxx/base/error.hpp"
#include "method/methods.hpp"
#include "method/settings/resolve.hpp"
#include "method/settings/unread_keys.hpp"
#include "method/teacher_config.hpp"
#include "model/heads/head_config.hpp"
#include "other_weights.hpp"
#include "train/training_config.hpp"

namespace dinoxx {

void ranks_must_agree(Communicator& comm, const std::string& text, const std::string& what) {
  const at::Tensor mine = at::full({1}, static_cast<int64_t>(text_hash(text)), at::kLong);
  at::Tensor all = at::empty({comm.size()}, at::kLong);
  comm.all_gather(all, mine)->wait();
  std::vector<int> others;
  for (int rank = 0; rank < comm.size(); ++rank)
    if (all[rank].item<int64_t>() != all[0].item<int64_t>()) others.push_back(rank);
  if (!others.empty())
    throw AgreedError(
        fmt::format("{}: expected the same on all ranks, found a different one from rank 0's on ranks {}. Give every rank the "
                    "same program, files and command line.",
                    what, fmt::join(others, ", ")),
        ExitCode::kFailed);
}

std::vector<std::string> gather_texts(Communicator& comm, const std::string& text) {
  const int ranks = comm.size();
  at::Tensor lengths = at::empty({ranks}, at::kLong);
  comm.all_gather(lengths, at::full({1}, static_cast<int64_t>(text.size()), at::kLong))->wait();
  const int64_t longest = lengths.max().item<int64_t>();
  if (longest == 0) return std::vector<std::string>(static_cast<size_t>(ranks));
  at::Tensor mine = at::zeros({longest}, at::kByte), all = at::empty({ranks * longest}, at::kByte);
  std::copy(text.begin(), text.end(), mine.data_ptr<uint8_t>());
  comm.all_gather(all, mine)->wait();
  std::vector<std::string> texts;
  for (int rank = 0; rank < ranks; ++rank) {
    const uint8_t* begin = all.data_ptr<uint8_t>() + rank * longest;
    texts.emplace_back(begin, begin + lengths[rank].item<int64_t>());
  }
  return texts;
}

std::shared_ptr<const Dataset> open_dataset(const std::filesystem::path& data) {
  if (!std::filesystem::exists(data))
    fail_usage("--data", "a folder made by \"dinoxx pack\"", fmt::format("no {}", data.string()), "Pack the images first");
  return Dataset::open(data);
}

std::vector<uint64_t> training_ids(const Dataset& dataset, const std::filesystem::path& data) {
  std::vector<uint64_t> ids = dataset.ids(Split::kTrain);
  if (ids.empty())
    fail_usage(data.string(), "images in the split \"train\"", "none", "Pack images into a train folder, or without split folders");
  return ids;
}

Inputs open_inputs(const TrainOptions& options, Communicator& comm) {
  Inputs inputs;
  on_all_ranks(comm, [&] {
    inputs.dataset = open_dataset(options.data);
    inputs.ids = training_ids(*inputs.dataset, options.data);
    Config config = options.config;
    if (find_method(config.train->method).teacher == TeacherPolicy::kFrozen && !config.teacher->distill.empty() && !config.head->weight_norm)
      config.head->weight_norm = frozen_teacher_has_weight_norm(config.teacher->distill);
    refuse_unread_keys(config, inputs.ids.size(), options.cores, comm.size());
    inputs.config = resolve_config(config, inputs.ids.size(), options.cores, &inputs.notes, comm.size());
    if (inputs.config.train->batch_size % comm.size() != 0)
      fail_usage("train.batch_size", fmt::format("a multiple of the {} ranks", comm.size()), std::to_string(inputs.config.train->batch_size),
                 fmt::format("Use {} or another number of ranks", (inputs.config.train->batch_size / comm.size() + 1) * comm.size()));
  });
  ranks_must_agree(comm, training_identity(inputs.config), "configuration");
  ranks_must_agree(comm, inputs.dataset->fingerprint(), "data set");
  ranks_must_agree(comm, options.build.dump(), "program");
  return inputs;
}

}  // namespace dinoxx
