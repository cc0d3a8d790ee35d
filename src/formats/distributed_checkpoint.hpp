#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace dinoxx {

/// Where a part of a tensor is stored: an archive of torch.save that holds it alone, inside a file of the checkpoint's folder.
struct StoredPiece {
  std::vector<int64_t> at, shape;  ///< place of its first element in the tensor, and extents
  std::string file;                ///< name without folder
  uint64_t offset = 0, bytes = 0;  ///< of the archive in the file
};

struct DistributedTensor {
  std::string name;
  std::vector<int64_t> shape;
  std::vector<StoredPiece> pieces;  ///< they cover the tensor, and no two of them overlap
};

/// Reads the ".metadata" of a folder of torch.distributed.checkpoint (torch/distributed/checkpoint/metadata.py and filesystem.py). Entries
/// that are no tensors are left out. Error names `subject`: a piece that has no place, pieces that do not cover their tensor, names of
/// files outside of the folder, compressed pieces.
std::vector<DistributedTensor> parse_distributed_metadata(std::span<const std::byte> bytes, const std::string& subject);

}  // namespace dinoxx
