#pragma once
#include <functional>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "pickle.hpp"
#include "weight_file.hpp"

namespace dinoxx {

/// What a checkpoint holds: tensors by their paths, and the rest.
struct TorchContent {
  std::vector<WeightEntry> tensors;  ///< in the order of the file; WeightEntry::shard is left empty
  nlohmann::json settings;
  std::vector<std::string> unread;  ///< "path (class)" of each object of an unknown class, control characters escaped; the first thousand
};

/// Reads a zip archive of torch.save: its records, its pickle, and the place of each tensor. `archive` has to outlive the result. Error
/// names `subject`.
TorchContent read_torch_archive(std::span<const std::byte> archive, const std::string& subject);

/// An archive of one tensor and nothing else, as torch.distributed.checkpoint stores a piece. Without name and shard.
WeightEntry read_torch_tensor(std::span<const std::byte> archive, const std::string& subject);

/// A whole file of PyTorch before 1.6 (one pickle after the other, then the storages) and for a tar archive of PyTorch before 0.1.10.
TorchContent read_torch_pickles(std::span<const std::byte> file, const std::string& subject);
TorchContent read_torch_tar(std::span<const std::byte> file, const std::string& subject);

/// The second half: walks the tree, `storage` gives the bytes of a record by its key. `budget` bounds the sum of the tensors' contiguous
/// sizes, which expanded tensors (stride 0) could otherwise make larger than any memory.
TorchContent flatten_checkpoint(const pickle::Tree& tree, const std::function<std::span<const std::byte>(std::string_view)>& storage,
                                uint64_t budget, const std::string& subject);
/// The same for a tree that is one tensor, without name and shard.
WeightEntry single_tensor(const pickle::Tree& tree, const std::function<std::span<const std::byte>(std::string_view)>& storage,
                          uint64_t budget, const std::string& subject);

}  // namespace dinoxx
