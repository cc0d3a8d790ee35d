#include <ATen/ATen.h>
#include <unistd.h>

#include <algorithm>

#include "base/crc32c.hpp"
#include "base/files.hpp"
#include "base/json_text.hpp"
#include "checkpoint.hpp"
#include "comm/agree.hpp"
#include "dinoxx/base/error.hpp"
#include "entry.hpp"

namespace dinoxx {
namespace {

namespace fs = std::filesystem;
using checkpoint::entry_text;
using checkpoint::in_main_memory;
using checkpoint::stored_type;
using checkpoint::view_of;
using nlohmann::json;

std::string rank_file(int rank, int size) {
  return fmt::format("rank_{:05}_of_{:05}.safetensors", rank, size);
}

// What a rank writes, and the storage of it.
struct OwnedEntries {
  std::map<std::string, TensorView> views;
  std::vector<at::Tensor> storage;
};

// The part of every segment that lies in this rank's range of what it and others hold; padding is not saved. Of a GPU's memory this range
// alone is copied.
OwnedEntries owned_entries(const CheckpointTensors& tensors, const Communicator& comm) {
  OwnedEntries entries;
  const ParamLayout& layout = *tensors.layout;
  const Communicator& holders = tensors.holders ? *tensors.holders : comm;
  const int64_t begin = layout.numel * holders.rank() / holders.size(), end = layout.numel * (holders.rank() + 1) / holders.size();
  for (const auto& [buffer, flat] : tensors.split) {
    const at::Tensor& range = entries.storage.emplace_back(in_main_memory(flat.narrow(0, begin, end - begin)));
    for (const Segment& segment : layout.segments) {
      const int64_t from = std::max(begin, segment.offset), to = std::min(end, segment.offset + segment.numel);
      const int64_t shift = segment.first - segment.offset;
      if (from < to)
        entries.views[entry_text({buffer, segment.name, from + shift, to + shift})] = view_of(range.narrow(0, from - begin, to - from));
    }
  }
  if (comm.rank() == 0)
    for (const auto& [name, tensor] : tensors.replicated)
      entries.views[name] = view_of(entries.storage.emplace_back(in_main_memory(tensor)));
  return entries;
}

nlohmann::json file_record(const fs::path& path, uint32_t crc) {
  return {{"name", path.filename().string()}, {"bytes", fs::file_size(path)}, {"crc32c", fmt::format("{:08x}", crc)}};
}

// One rank writes, all bring the tensors together, in the order in which they are stored. An error of the one that writes must not leave
// the others in a collective.
uint32_t write_side_file(const fs::path& path, const SideFile& file, bool writes) {
  if (!file.text.empty()) {
    if (writes) write_file_atomically(path, file.text);
    return crc32c(file.text.data(), file.text.size());
  }
  std::map<std::string, TensorSource> sources;
  std::map<std::string, const SideTensor*> tensors;
  size_t asked = 0;
  for (const SideTensor& tensor : file.tensors) {
    tensors[tensor.name] = &tensor;
    sources[tensor.name] = {stored_type(tensor.type), tensor.shape, [&asked, &tensor](const auto& put) {
                              ++asked;
                              const at::Tensor values = tensor.values(true);
                              put(view_of(values).bytes);
                            }};
  }
  const std::vector<std::string> order = storage_order(sources);
  const auto take_part = [&] {
    while (asked < order.size()) tensors.at(order[asked++])->values(false);
  };
  if (!writes) {
    take_part();
    return 0;
  }
  try {
    return write_safetensors_stream(path, sources, file.metadata);
  } catch (...) {
    take_part();
    throw;
  }
}

// A folder of this step that is already there (an older attempt, replaced by a resumed run) makes way without ever being half there under
// its name.
void publish(const fs::path& partial, const fs::path& final_path) {
  const fs::path old = partial.parent_path() / ("." + final_path.filename().string() + ".replaced");
  fs::remove_all(old);
  if (fs::exists(final_path)) fs::rename(final_path, old);
  fs::rename(partial, final_path);
  sync_path(final_path.parent_path());
  fs::remove_all(old);
}

}  // namespace

std::vector<SideFile> in_parts(SideFile file, int64_t limit) {
  const auto bytes_of = [](const SideTensor& tensor) {
    return c10::multiply_integers(tensor.shape) * static_cast<int64_t>(at::elementSize(tensor.type));
  };
  std::vector<SideFile> parts(1);
  int64_t all = 0, now = 0;
  for (SideTensor& tensor : file.tensors) {
    const int64_t bytes = bytes_of(tensor);
    if (now > 0 && now + bytes > limit) {
      parts.emplace_back();
      now = 0;
    }
    now += bytes;
    all += bytes;
    parts.back().tensors.push_back(std::move(tensor));
  }
  if (parts.size() == 1) {
    parts.front().file = file.file;
    parts.front().metadata = std::move(file.metadata);
    return parts;
  }
  const std::string stem = fs::path(file.file).stem().string();
  json index = {{"metadata", file.metadata}, {"weight_map", json::object()}};
  index["metadata"]["total_size"] = all;
  for (size_t i = 0; i < parts.size(); ++i) {
    parts[i].file = fmt::format("{}-{:05}-of-{:05}.safetensors", stem, i + 1, parts.size());
    parts[i].metadata = {{"format", "pt"}};
    for (const SideTensor& tensor : parts[i].tensors) index["weight_map"][tensor.name] = parts[i].file;
  }
  parts.push_back({.file = file.file + ".index.json", .text = json_text(index, 2) + "\n"});
  return parts;
}

fs::path save_checkpoint(Communicator& comm, const fs::path& checkpoints, int64_t step, const CheckpointTensors& tensors,
                         const std::vector<SideFile>& weights, nlohmann::json facts) {
  const std::string name = checkpoint_name(step);
  const fs::path partial = checkpoints / unfinished_name(step), final_path = checkpoints / name;
  const int rank = comm.rank(), size = comm.size();
  try {
    on_all_ranks(comm, [&] {
      if (rank != 0) return;
      fs::remove_all(partial);
      make_writable_directory(partial);
    });
    // CRC32C of each rank's file, summed into place by one collective
    at::Tensor crcs = at::zeros({size}, at::kLong);
    std::vector<nlohmann::json> extra;
    on_all_ranks(comm, [&] {
      crcs[rank] = static_cast<int64_t>(write_safetensors(partial / rank_file(rank, size), owned_entries(tensors, comm).views));
    });
    for (const SideFile& file : weights) {
      on_all_ranks(comm, [&] {
        const uint32_t crc = write_side_file(partial / file.file, file, rank == 0);
        if (rank == 0) extra.push_back(file_record(partial / file.file, crc));
      });
    }
    comm.all_reduce(crcs, ReduceOp::kSum)->wait();
    on_all_ranks(comm, [&] {
      if (rank != 0) return;
      facts["format"] = checkpoint::kFormat;
      facts["version"] = checkpoint::kVersion;
      facts["step"] = step;
      facts["layout_hash"] = fmt::format("{:016x}", tensors.layout->hash);
      facts["world_size"] = size;
      facts["files"] = extra;
      for (int r = 0; r < size; ++r)
        facts["files"].push_back(file_record(partial / rank_file(r, size), static_cast<uint32_t>(crcs[r].item<int64_t>())));
      write_file_atomically(partial / checkpoint::kManifest, json_text(facts, 1) + "\n");
      publish(partial, final_path);
    });
  } catch (...) {
    std::error_code ignored;
    if (rank == 0) fs::remove_all(partial, ignored);
    throw;
  }
  return final_path;
}

}  // namespace dinoxx
