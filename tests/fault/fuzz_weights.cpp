// What the parsers of weight files do with bytes that nobody meant: an Error or a result whose every tensor can be copied, nothing else.
// Five entry points, one of which DINOXX_FUZZ_ENTRY makes LLVMFuzzerTestOneInput for libFuzzer; fuzz_driver.cpp calls all of them.
#include "fuzz_weights.hpp"

#include <cstdio>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>

#include "dinoxx/base/error.hpp"
#include "formats/distributed_checkpoint.hpp"
#include "formats/pickle.hpp"
#include "formats/torch_archive.hpp"
#include "formats/weight_file.hpp"
#include "formats/weight_file_state.hpp"
#include "formats/zip_archive.hpp"

namespace dinoxx::fuzz {
namespace {

void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "fuzz_weights: broken promise: %s\n", what);
  std::abort();
}

// Reads each tensor as a user would, so that a wrong range becomes an access that the sanitizer sees.
void use(const TorchContent& content, uint64_t file_bytes) {
  uint64_t total = 0;
  for (const WeightEntry& entry : content.tensors) {
    require(entry.shape.size() == entry.strides.size(), "as many strides as extents");
    const uint64_t bytes = entry.byte_count();
    total += bytes;
    require(bytes <= (uint64_t{64} << 20) + 4 * file_bytes, "no tensor beyond the budget");
    if (total > (uint64_t{1} << 20)) continue;  // enough copied for one input
    std::vector<std::byte> copy(bytes);
    copy_contiguous(entry, copy);
  }
  require(total <= (uint64_t{64} << 20) + 4 * file_bytes, "a sum within the budget");
  (void)content.settings.dump().size();  // throws on text that is not UTF-8
  for (const std::string& unread : content.unread) (void)nlohmann::json(unread).dump().size();
}

}  // namespace

int safetensors(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  for (const bool whole : {true, false}) {
    try {
      // the header of a file whose data are elsewhere
      const SafetensorsContent content = parse_safetensors(bytes, whole ? size : size + (uint64_t{1} << 40), "fuzz");
      uint64_t total = 0;
      for (const auto& [name, view] : content.tensors) {
        require(view.bytes.size() == (whole ? contiguous_bytes(name, view.dtype, view.shape) : 0), "bytes as the shape says");
        for (const std::byte byte : view.bytes) total += static_cast<uint8_t>(byte);
      }
      require(total <= size * uint64_t{255}, "each byte once");
    } catch (const Error&) {
    }
  }
  try {
    nlohmann::json settings;
    for (const auto& [tensor, shard] : parse_weight_map({reinterpret_cast<const char*>(data), size}, "fuzz", settings)) {
      require(shard.find('/') == std::string::npos && shard.find("..") == std::string::npos && shard.find('\0') == std::string::npos,
              "shards beside the index");
    }
  } catch (const Error&) {
  }
  return 0;
}

int torch_archive(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  try {
    for (const ZipEntry& entry : read_zip(bytes, "fuzz")) {
      require(entry.bytes.empty() || (entry.bytes.data() >= bytes.data() && entry.bytes.data() + entry.bytes.size() <= bytes.data() + size),
              "entries inside the archive");
    }
    use(read_torch_archive(bytes, "fuzz"), size);
  } catch (const Error&) {
  }
  return 0;
}

int torch_pickle(const uint8_t* data, size_t size) {
  try {
    const pickle::Tree tree = pickle::parse(std::as_bytes(std::span(data, size)), "fuzz");
    // Records of the size that the pickle says, each an allocation of its own, so that a tensor beyond its storage is seen.
    std::map<std::string_view, std::vector<std::byte>> records;
    size_t total = 0;
    for (const pickle::Value& value : tree.values) {
      if (value.kind != pickle::Kind::kStorage) continue;
      const pickle::Storage& storage = value.storage();
      const size_t element = storage.dtype ? dtype_size(*storage.dtype) : 1;
      if (static_cast<uint64_t>(storage.count) > (size_t{1} << 16) || records.contains(storage.key)) continue;
      total += static_cast<size_t>(storage.count) * element;
      if (total < size_t{1} << 20) records.emplace(storage.key, static_cast<size_t>(storage.count) * element);
    }
    const auto find = [&](std::string_view key) {
      const auto found = records.find(key);
      return found == records.end() ? std::span<const std::byte>() : std::span<const std::byte>(found->second);
    };
    use(flatten_checkpoint(tree, find, uint64_t{64} << 20, "fuzz"), size);
  } catch (const Error&) {
  }
  return 0;
}

int torch_legacy(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  for (const auto reader : {read_torch_pickles, read_torch_tar}) {
    try {
      use(reader(bytes, "fuzz"), size);
    } catch (const Error&) {
    }
  }
  return 0;
}

int distributed(const uint8_t* data, size_t size) {
  try {
    for (const DistributedTensor& tensor : parse_distributed_metadata(std::as_bytes(std::span(data, size)), "fuzz")) {
      uint64_t covered = 0;
      for (const StoredPiece& piece : tensor.pieces) {
        require(plain_file_name(piece.file), "files inside the folder");
        require(piece.at.size() == tensor.shape.size() && piece.shape.size() == tensor.shape.size(), "pieces of the tensor's dimensions");
        for (size_t i = 0; i < piece.at.size(); ++i)
          require(piece.at[i] >= 0 && piece.shape[i] >= 0 && piece.at[i] <= tensor.shape[i] - piece.shape[i], "pieces inside the tensor");
        covered += contiguous_bytes("fuzz", DType::kU8, piece.shape);
      }
      require(covered == contiguous_bytes("fuzz", DType::kU8, tensor.shape), "pieces that cover the tensor");
    }
  } catch (const Error&) {
  }
  return 0;
}

}  // namespace dinoxx::fuzz

#ifdef DINOXX_FUZZ_ENTRY
extern "C" __attribute__((visibility("default"))) int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return dinoxx::fuzz::DINOXX_FUZZ_ENTRY(data, size);
}
#endif
