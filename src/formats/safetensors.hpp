#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/mapped_file.hpp"

namespace dinoxx {

/// Element types that published weight files contain. Name as in safetensors: "F32", "BF16", "BOOL", "F8_E4M3", ...
enum class DType { kF64, kF32, kF16, kBF16, kI64, kI32, kU8, kI16, kI8, kU16, kU32, kU64, kBool, kF8E4M3, kF8E5M2, kC64 };
size_t dtype_size(DType dtype);
std::string_view dtype_name(DType dtype);
/// Error for a name that is not one of DType.
DType dtype_from_name(std::string_view name);
/// Bytes of a contiguous tensor. Error that names `subject` when an extent is negative or the product leaves 63 bits.
uint64_t contiguous_bytes(std::string_view subject, DType dtype, std::span<const int64_t> shape);

struct TensorView {
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;        ///< row-major
  std::span<const std::byte> bytes;  ///< product(shape) * dtype_size; owned by somebody else
};

/// Serialises to `path` with write-aside, fsync and rename. Tensors are stored without holes, larger elements first and then by name, so
/// that each begins at a multiple of its element size. Format: https://github.com/huggingface/safetensors, section Format. Returns the
/// CRC32C of the whole file.
uint32_t write_safetensors(const std::filesystem::path& path, const std::map<std::string, TensorView>& tensors,
                           const std::map<std::string, std::string>& metadata = {});

/// A tensor that is made when its turn comes. `produce` hands its bytes to the given function in as many pieces as it likes.
struct TensorSource {
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  std::function<void(const std::function<void(std::span<const std::byte>)>&)> produce;
};
/// Names in the order in which they are stored, and asked for: larger elements first and then by name.
std::vector<std::string> storage_order(const std::map<std::string, TensorSource>& tensors);
/// The same file without all tensors in memory at once. Error when a source hands over another number of bytes than its shape says.
uint32_t write_safetensors_stream(const std::filesystem::path& path, const std::map<std::string, TensorSource>& tensors,
                                  const std::map<std::string, std::string>& metadata = {});

/// What a reader wants from a file: its tensors, or only what is written about them.
enum class FileAccess { kData, kHeader };

/// Names, types, shapes and places that a safetensors file declares.
struct SafetensorsContent {
  std::map<std::string, TensorView> tensors;
  std::map<std::string, std::string> metadata;
};
/// Validates and reads the header in `head`, the first bytes of a file of `file_size` bytes: length, JSON, known dtypes, shapes whose
/// product fits, ranges inside the file, no overlap, no hole. The views point into `head` when that is the whole file and are empty
/// otherwise. Error names `subject` and the defect.
SafetensorsContent parse_safetensors(std::span<const std::byte> head, uint64_t file_size, const std::string& subject);

/// Read-only view of a file, memory-mapped; the header is validated completely before any tensor is given out (parse_safetensors).
/// With kHeader only the header is mapped and read, and TensorView::bytes are empty.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path, FileAccess access = FileAccess::kData);

  const std::map<std::string, TensorView>& tensors() const { return content_.tensors; }
  const std::map<std::string, std::string>& metadata() const { return content_.metadata; }
  /// Error that lists the nearest name when absent.
  const TensorView& at(const std::string& name) const;
  /// Reads the whole file. Error when it was opened with kHeader.
  uint32_t file_crc32c() const;

 private:
  std::string path_;
  uint64_t size_ = 0;
  MappedFile map_;
  SafetensorsContent content_;
};

}  // namespace dinoxx
