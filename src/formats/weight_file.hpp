#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "safetensors.hpp"

namespace dinoxx {

/// One tensor of a weight file. The bytes belong to the WeightFile and its copies.
struct WeightEntry {
  std::string name;  ///< path of keys, joined by dots: "teacher.backbone.blocks.0.attn.qkv.weight"
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  std::vector<int64_t> strides;      ///< in elements, >= 0; 0 where a dimension was expanded
  std::span<const std::byte> bytes;  ///< from the tensor's first to its last element (storage offset applied); may be unaligned
  std::string shard;                 ///< file name that holds it

  bool contiguous() const;  ///< then `bytes` are the tensor, row-major
  uint64_t element_count() const;
  uint64_t byte_count() const;  ///< of a contiguous copy
};

enum class WeightFormat { kSafetensors, kTorchArchive };

/// Read-only view of published weights, memory-mapped: nothing is copied, and no tensor is read before somebody looks at it.
/// Understands by content, not by name
///   - safetensors (parse_safetensors);
///   - zip archives of torch.save since PyTorch 1.6 (.pth, .pt, .bin), by an unpickler that executes nothing: the names that state
///     dicts and training checkpoints contain are a table, and each is data; any other name is refused;
///   - model.safetensors.index.json and pytorch_model.bin.index.json: all shards, each tensor in the shard that the map says;
///   - a folder with model.safetensors, its index, pytorch_model.bin or its index (the first that is there, in this order).
/// What is damaged, hostile or of another kind is refused with an Error: what was expected, what was found, what to do. Sizes, counts and
/// depths are bounded by the size of the file.
class WeightFile {
 public:
  /// With kHeader the tensors of safetensors files are not even mapped, and WeightEntry::bytes are empty for every format.
  static WeightFile open(const std::filesystem::path& path, FileAccess access = FileAccess::kData);

  WeightFormat format() const;
  const std::filesystem::path& path() const;       ///< as opened; for a folder, the file that was found in it
  const std::vector<std::string>& shards() const;  ///< file names, without folder; one for a file that is not sharded
  uint64_t file_bytes() const;                     ///< of all shards

  /// Every tensor, in the order of the file (safetensors: by name). Names are unique.
  const std::vector<WeightEntry>& entries() const;
  /// nullptr when absent.
  const WeightEntry* find(std::string_view name) const;
  /// Error that lists the nearest name when absent.
  const WeightEntry& at(std::string_view name) const;

  /// What is not a tensor: the other leaves of a checkpoint (epoch, args, ...) as they are nested there, the metadata of safetensors and
  /// index files. Objects are rendered as data: argparse.Namespace as an object, NumPy scalars as numbers.
  const nlohmann::json& settings() const;

 private:
  struct State;
  static State open_single(const std::filesystem::path& path, FileAccess access);
  static State open_index(const std::filesystem::path& path, FileAccess access);
  explicit WeightFile(std::shared_ptr<const State> state) : state_(std::move(state)) {}
  std::shared_ptr<const State> state_;  // what copies share
};

/// Copies a tensor of any strides to row-major order. Error when `out` is not byte_count() long or the file was opened with kHeader.
void copy_contiguous(const WeightEntry& entry, std::span<std::byte> out);

}  // namespace dinoxx
