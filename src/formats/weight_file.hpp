#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "safetensors.hpp"

namespace dinoxx {

/// A part of a tensor that was saved by several processes.
struct WeightPiece {
  std::vector<int64_t> at, shape, strides;  ///< place of its first element in the tensor, extents, strides in elements
  std::span<const std::byte> bytes;         ///< from its first to its last element
};

/// One tensor of a weight file. The bytes belong to the WeightFile and its copies.
struct WeightEntry {
  std::string name;  ///< path of keys, joined by dots: "teacher.backbone.blocks.0.attn.qkv.weight"
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  std::vector<int64_t> strides;      ///< in elements, >= 0; 0 where a dimension was expanded
  std::span<const std::byte> bytes;  ///< from the tensor's first to its last element (storage offset applied); may be unaligned
  std::string shard;                 ///< file name that holds it, or its first piece
  std::vector<WeightPiece> pieces;   ///< of a sharded checkpoint: they cover the tensor, and `bytes` is empty

  bool has_data() const { return !bytes.empty() || !pieces.empty(); }
  bool contiguous() const;  ///< then `bytes` are the tensor, row-major, where there are no pieces
  uint64_t element_count() const;
  uint64_t byte_count() const;  ///< of a contiguous copy
};

enum class WeightFormat { kSafetensors, kTorchArchive, kDistributed };
/// "safetensors", "archive of torch.save", "folder of torch.distributed.checkpoint"
std::string_view format_name(WeightFormat format);

/// Read-only view of published weights, memory-mapped: nothing is copied, and no tensor is read before somebody looks at it.
/// Understands by content, not by name
///   - safetensors (parse_safetensors);
///   - files of torch.save (.pth, .pt, .bin): zip archives since PyTorch 1.6, pickles in a row since 0.1.10, tar archives before. By an
///     unpickler that executes nothing: the names that state dicts and training checkpoints contain are a table, and each is data; objects
///     of other classes are left unread and named (unread());
///   - folders of torch.distributed.checkpoint (.metadata and *.distcp), from any number of ranks;
///   - model.safetensors.index.json and pytorch_model.bin.index.json: all shards, each tensor in the shard that the map says;
///   - a folder with one of them (weights_in_folder).
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

  /// Objects of a checkpoint whose classes this reader does not know, and what they hold is left unread: "path (class)".
  const std::vector<std::string>& unread() const;

 private:
  struct State;
  static State open_single(const std::filesystem::path& path, FileAccess access);
  static State open_index(const std::filesystem::path& path, FileAccess access);
  static State open_distributed(const std::filesystem::path& path, FileAccess access);
  static void drop_data(State& state, FileAccess access);
  explicit WeightFile(std::shared_ptr<const State> state) : state_(std::move(state)) {}
  std::shared_ptr<const State> state_;  // what copies share
};

/// The file that stands for a folder: model.safetensors, its index, pytorch_model.bin, its index, or .metadata of
/// torch.distributed.checkpoint, the first that is there in this order.
std::optional<std::filesystem::path> weights_in_folder(const std::filesystem::path& folder);

/// Copies a tensor of any strides to row-major order. Error when `out` is not byte_count() long or the file was opened with kHeader.
void copy_contiguous(const WeightEntry& entry, std::span<std::byte> out);

}  // namespace dinoxx
