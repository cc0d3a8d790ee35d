#pragma once
#include <ATen/core/Tensor.h>

#include <map>
#include <string>
#include <vector>

#include "comm/named_tensor.hpp"
#include "formats/weight_file.hpp"

namespace dinoxx {

/// Element types of the file format as ATen's. Error for one that ATen's CPU does not compute with, or that the format's writer does not
/// know.
at::ScalarType scalar_type(DType dtype);
DType dtype_of(at::ScalarType type);
/// F64, F32, F16, BF16: numbers as they are, where the 8-bit types want factors of their own.
bool is_floating(DType dtype);

/// A copy of a stored tensor, CPU, contiguous, in the stored type.
at::Tensor to_tensor(const TensorView& view);

/// The same for an entry of a weight file, of any strides.
at::Tensor read_entry(const WeightEntry& entry);

/// "3 missing: a, b, c; " for messages about names, cut after eight; "" for none.
std::string listed_names(const char* what, const std::vector<std::string>& names);

/// The tensors' storage as views for write_safetensors: CPU and contiguous, else an Error naming the tensor. Valid as long as the tensors
/// keep their storage.
std::map<std::string, TensorView> tensor_views(const NamedTensors& tensors);

struct LoadOptions {
  std::string prefix;  ///< only entries of the file that begin with it take part, their names without it ("backbone.")
  std::vector<std::string> ignore_prefixes;  ///< entries (full name) that may be there and are not wanted
};
/// Copies values from `file` into `into` (converted to each tensor's type and device). Every tensor must be in the file with its shape, and
/// every entry that takes part must be wanted: else one Error lists the missing, the unexpected and the differently shaped names, and
/// nothing has been written. `source` names the file in the message.
void load_named(const WeightFile& file, const std::string& source, const NamedTensors& into, const LoadOptions& options = {});

}  // namespace dinoxx
