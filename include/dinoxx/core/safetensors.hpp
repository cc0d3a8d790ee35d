#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace dinoxx {

/// Element types of the safetensors format that dinoxx reads and writes. Name as in the file: "F32", "BF16", ...
enum class DType { kF64, kF32, kF16, kBF16, kI64, kI32, kU8 };
size_t dtype_size(DType dtype);
std::string_view dtype_name(DType dtype);
/// Error for a name that is not one of DType.
DType dtype_from_name(std::string_view name);

struct TensorView {
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;        ///< row-major
  std::span<const std::byte> bytes;  ///< product(shape) * dtype_size; owned by somebody else
};

/// Serialises to `path` with write-aside, fsync and rename. Tensors are stored in the map's (name) order, without holes.
/// Format: https://github.com/huggingface/safetensors, section Format. Returns the CRC32C of the whole file.
uint32_t write_safetensors(const std::filesystem::path& path, const std::map<std::string, TensorView>& tensors,
                           const std::map<std::string, std::string>& metadata = {});

/// Read-only view of a file, memory-mapped. The header is validated completely before any tensor is given out: length, JSON, known
/// dtypes, shapes whose product fits, ranges inside the file, no overlap, no hole. Error names file and defect.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path);
  ~SafetensorsFile();
  SafetensorsFile(SafetensorsFile&&) noexcept;
  SafetensorsFile& operator=(SafetensorsFile&&) noexcept;

  const std::map<std::string, TensorView>& tensors() const { return tensors_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  /// Error that lists the nearest name when absent.
  const TensorView& at(const std::string& name) const;
  uint32_t file_crc32c() const;

 private:
  std::string path_;
  const std::byte* map_ = nullptr;
  size_t size_ = 0;
  std::map<std::string, TensorView> tensors_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace dinoxx
