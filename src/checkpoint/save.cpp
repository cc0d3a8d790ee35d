#include <ATen/ATen.h>
#include <unistd.h>

#include <algorithm>

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
using checkpoint::view_of;

std::string rank_file(int rank, int size) {
  return fmt::format("rank_{:05}_of_{:05}.safetensors", rank, size);
}

// What a rank writes, and the storage of it.
struct OwnedEntries {
  std::map<std::string, TensorView> views;
  std::vector<at::Tensor> storage;
};

// The part of every segment that lies in this rank's range of the flat buffers; padding is not saved. Of a GPU's memory this range alone is
// copied.
OwnedEntries owned_entries(const CheckpointTensors& tensors, int rank, int size) {
  OwnedEntries entries;
  const ParamLayout& layout = *tensors.layout;
  const int64_t begin = layout.numel * rank / size, end = layout.numel * (rank + 1) / size;
  for (const auto& [buffer, flat] : tensors.split) {
    const at::Tensor& range = entries.storage.emplace_back(in_main_memory(flat.narrow(0, begin, end - begin)));
    for (const Segment& segment : layout.segments) {
      const int64_t from = std::max(begin, segment.offset), to = std::min(end, segment.offset + segment.numel);
      if (from < to)
        entries.views[entry_text({buffer, segment.name, from - segment.offset, to - segment.offset})] =
            view_of(range.narrow(0, from - begin, to - from));
    }
  }
  if (rank == 0)
    for (const auto& [name, tensor] : tensors.replicated)
      entries.views[name] = view_of(entries.storage.emplace_back(in_main_memory(tensor)));
  return entries;
}

nlohmann::json file_record(const fs::path& path, uint32_t crc) {
  return {{"name", path.filename().string()}, {"bytes", fs::file_size(path)}, {"crc32c", fmt::format("{:08x}", crc)}};
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

fs::path save_checkpoint(Communicator& comm, const fs::path& checkpoints, int64_t step, const CheckpointTensors& tensors,
                         const std::vector<SideFile>& weights, nlohmann::json facts) {
  const std::string name = checkpoint_name(step);
  const fs::path partial = checkpoints / ("." + name + ".partial"), final_path = checkpoints / name;
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
      crcs[rank] = static_cast<int64_t>(write_safetensors(partial / rank_file(rank, size), owned_entries(tensors, rank, size).views));
      if (rank != 0) return;
      for (const SideFile& file : weights) {
        std::map<std::string, TensorView> views;
        for (const auto& [tensor_name, tensor] : file.tensors) views[tensor_name] = view_of(tensor);
        const uint32_t crc = write_safetensors(partial / file.file, views, file.metadata);
        extra.push_back(file_record(partial / file.file, crc));
      }
    });
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
