#include <fmt/ranges.h>

#include <map>

#include "base/regular_file.hpp"
#include "dinoxx/base/error.hpp"
#include "distributed_checkpoint.hpp"
#include "torch_archive.hpp"
#include "weight_file_state.hpp"

namespace dinoxx {

WeightFile::State WeightFile::open_distributed(const std::filesystem::path& path, FileAccess access) {
  State state;
  state.path = path;
  state.format = WeightFormat::kDistributed;
  const MappedFile metadata{open_regular(path)};
  std::map<std::string, std::span<const std::byte>> files;
  const auto archive_of = [&](const StoredPiece& piece, const std::string& subject) {
    const auto [file, added] = files.try_emplace(piece.file);
    if (added) {
      state.maps.emplace_back(open_regular(path.parent_path() / piece.file));
      file->second = state.maps.back().bytes();
      state.shards.push_back(piece.file);
      state.file_bytes += file->second.size();
    }
    if (piece.offset > file->second.size() || piece.bytes > file->second.size() - piece.offset)
      fail(subject, fmt::format("a piece inside the {} bytes of {}", file->second.size(), piece.file),
           fmt::format("{} bytes from byte {} on", piece.bytes, piece.offset), "Copy the whole folder again");
    return file->second.subspan(piece.offset, piece.bytes);
  };
  for (DistributedTensor& tensor : parse_distributed_metadata(metadata.bytes(), path.string())) {
    const std::string subject = fmt::format("{}, tensor \"{}\"", path.string(), tensor.name);
    WeightEntry entry{tensor.name, DType::kF32, tensor.shape, row_major(tensor.shape), {}, {}, {}};
    for (const StoredPiece& piece : tensor.pieces) {
      WeightEntry part = read_torch_tensor(archive_of(piece, subject), subject);
      const bool first = &piece == &tensor.pieces.front();
      if (part.shape != piece.shape || (!first && part.dtype != entry.dtype))
        fail(subject, fmt::format("a piece of shape [{}], all of one type", fmt::join(piece.shape, ", ")),
             fmt::format("[{}] of {}", fmt::join(part.shape, ", "), dtype_name(part.dtype)), "Copy the whole folder again");
      entry.dtype = part.dtype;
      if (first) entry.shard = piece.file;
      if (tensor.pieces.size() == 1) {
        entry.bytes = part.bytes;
        entry.strides = std::move(part.strides);
      } else {
        entry.pieces.push_back({piece.at, std::move(part.shape), std::move(part.strides), part.bytes});
      }
    }
    state.entries.push_back(std::move(entry));
  }
  drop_data(state, access);
  return state;
}

}  // namespace dinoxx
