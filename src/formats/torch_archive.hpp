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
};

/// Reads a zip archive of torch.save: its records, its pickle, and the place of each tensor. `archive` has to outlive the result. Error
/// names `subject`.
TorchContent read_torch_archive(std::span<const std::byte> archive, const std::string& subject);

/// The second half: walks the tree, `storage` gives the bytes of a record by its key. `budget` bounds the sum of the tensors' contiguous
/// sizes, which expanded tensors (stride 0) could otherwise make larger than any memory.
TorchContent flatten_checkpoint(const pickle::Tree& tree, const std::function<std::span<const std::byte>(std::string_view)>& storage,
                                uint64_t budget, const std::string& subject);

}  // namespace dinoxx
