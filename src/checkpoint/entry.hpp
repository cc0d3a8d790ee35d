#pragma once
#include <ATen/core/Tensor.h>

#include <string>

#include "formats/safetensors.hpp"

namespace dinoxx::checkpoint {

/// "buffer/segment[begin:end]": elements of one segment of one flat buffer.
struct EntryName {
  std::string buffer, segment;
  int64_t begin = 0, end = 0;
};
std::string entry_text(const EntryName& entry);
/// False when `text` names no range (a replicated tensor).
bool parse_entry(const std::string& text, EntryName& entry);

/// The tensor itself where it is on the CPU, else a copy in page-locked memory, which a GPU fills at the full rate.
at::Tensor in_main_memory(const at::Tensor& tensor);
/// How a type of tensor is stored. Error for types that a checkpoint does not hold.
DType stored_type(at::ScalarType type);
/// Storage of a contiguous CPU tensor as a view. Error for types that a checkpoint does not hold.
TensorView view_of(const at::Tensor& tensor);
/// Error unless `view` has `numel` elements of the tensor's type.
void require_fit(const at::Tensor& tensor, int64_t numel, const TensorView& view, const std::string& subject);
/// Fills a contiguous CPU tensor with elements of `view` from `first` on.
void copy_part(const at::Tensor& tensor, const TensorView& view, int64_t first);

}  // namespace dinoxx::checkpoint
