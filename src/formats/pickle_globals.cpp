#include <algorithm>
#include <array>

#include "pickle.hpp"

namespace dinoxx::pickle {
namespace {

constexpr std::optional<DType> none;

// All that state dicts and training checkpoints were seen to contain. A row is a promise that the name is handled as data in
// pickle_call.cpp: nothing here may be of a kind whose meaning is to run something.
constexpr auto table = std::to_array<Global>({
    {"collections", "OrderedDict", Role::kOrderedDict, none},
    {"collections", "defaultdict", Role::kDefaultDict, none},
    {"collections", "Counter", Role::kCounter, none},
    {"argparse", "Namespace", Role::kNamespace, none},
    {"types", "SimpleNamespace", Role::kNamespace, none},
    {"pathlib", "Path", Role::kPath, none},
    {"pathlib", "PosixPath", Role::kPath, none},
    {"pathlib", "PurePosixPath", Role::kPath, none},
    {"pathlib", "WindowsPath", Role::kPath, none},
    {"pathlib", "PureWindowsPath", Role::kPath, none},
    {"pathlib._local", "PosixPath", Role::kPath, none},
    {"pathlib._local", "PurePosixPath", Role::kPath, none},
    {"_codecs", "encode", Role::kEncode, none},

    // protocol 2 writes Python 2's name of the module
    {"builtins", "set", Role::kSet, none},
    {"__builtin__", "set", Role::kSet, none},
    {"builtins", "frozenset", Role::kSet, none},
    {"__builtin__", "frozenset", Role::kSet, none},
    {"builtins", "bytearray", Role::kByteArray, none},
    {"__builtin__", "bytearray", Role::kByteArray, none},
    {"builtins", "bytes", Role::kBytes, none},
    {"__builtin__", "bytes", Role::kBytes, none},
    {"builtins", "int", Role::kPlainType, none},
    {"__builtin__", "int", Role::kPlainType, none},
    {"builtins", "float", Role::kPlainType, none},
    {"__builtin__", "float", Role::kPlainType, none},
    {"builtins", "bool", Role::kPlainType, none},
    {"__builtin__", "bool", Role::kPlainType, none},
    {"builtins", "str", Role::kPlainType, none},
    {"__builtin__", "unicode", Role::kPlainType, none},
    {"builtins", "list", Role::kPlainType, none},
    {"__builtin__", "list", Role::kPlainType, none},
    {"builtins", "tuple", Role::kPlainType, none},
    {"__builtin__", "tuple", Role::kPlainType, none},
    {"builtins", "dict", Role::kPlainType, none},
    {"__builtin__", "dict", Role::kPlainType, none},

    {"torch._utils", "_rebuild_tensor", Role::kRebuildTensor, none},
    {"torch._utils", "_rebuild_tensor_v2", Role::kRebuildTensorV2, none},
    {"torch._utils", "_rebuild_tensor_v3", Role::kRebuildTensorV3, none},
    {"torch._utils", "_rebuild_parameter", Role::kRebuildParameter, none},
    {"torch._utils", "_rebuild_parameter_with_state", Role::kRebuildParameterWithState, none},
    {"torch._tensor", "_rebuild_from_type_v2", Role::kRebuildFromType, none},
    {"torch", "Tensor", Role::kTensorClass, none},
    {"torch.nn.parameter", "Parameter", Role::kTensorClass, none},
    {"torch.nn.parameter", "Buffer", Role::kTensorClass, none},
    {"torch", "Size", Role::kSize, none},
    {"torch", "device", Role::kDevice, none},

    {"torch", "DoubleStorage", Role::kStorage, DType::kF64},
    {"torch", "FloatStorage", Role::kStorage, DType::kF32},
    {"torch", "HalfStorage", Role::kStorage, DType::kF16},
    {"torch", "BFloat16Storage", Role::kStorage, DType::kBF16},
    {"torch", "LongStorage", Role::kStorage, DType::kI64},
    {"torch", "IntStorage", Role::kStorage, DType::kI32},
    {"torch", "ShortStorage", Role::kStorage, DType::kI16},
    {"torch", "CharStorage", Role::kStorage, DType::kI8},
    {"torch", "ByteStorage", Role::kStorage, DType::kU8},
    {"torch", "BoolStorage", Role::kStorage, DType::kBool},
    {"torch", "ComplexFloatStorage", Role::kStorage, DType::kC64},
    {"torch", "UntypedStorage", Role::kStorage, none},
    {"torch.storage", "UntypedStorage", Role::kStorage, none},
    {"torch.storage", "TypedStorage", Role::kPlainType, none},

    {"torch", "float64", Role::kDType, DType::kF64},
    {"torch", "float32", Role::kDType, DType::kF32},
    {"torch", "float16", Role::kDType, DType::kF16},
    {"torch", "bfloat16", Role::kDType, DType::kBF16},
    {"torch", "int64", Role::kDType, DType::kI64},
    {"torch", "int32", Role::kDType, DType::kI32},
    {"torch", "int16", Role::kDType, DType::kI16},
    {"torch", "int8", Role::kDType, DType::kI8},
    {"torch", "uint8", Role::kDType, DType::kU8},
    {"torch", "uint16", Role::kDType, DType::kU16},
    {"torch", "uint32", Role::kDType, DType::kU32},
    {"torch", "uint64", Role::kDType, DType::kU64},
    {"torch", "bool", Role::kDType, DType::kBool},
    {"torch", "float8_e4m3fn", Role::kDType, DType::kF8E4M3},
    {"torch", "float8_e5m2", Role::kDType, DType::kF8E5M2},
    {"torch", "complex64", Role::kDType, DType::kC64},

    // numpy.core before NumPy 2
    {"numpy", "dtype", Role::kNumpyDType, none},
    {"numpy", "ndarray", Role::kNumpyArrayClass, none},
    {"numpy.core.multiarray", "scalar", Role::kNumpyScalar, none},
    {"numpy._core.multiarray", "scalar", Role::kNumpyScalar, none},
    {"numpy.core.multiarray", "_reconstruct", Role::kNumpyArray, none},
    {"numpy._core.multiarray", "_reconstruct", Role::kNumpyArray, none},
    {"numpy.core.numeric", "_frombuffer", Role::kNumpyArray, none},
    {"numpy._core.numeric", "_frombuffer", Role::kNumpyArray, none},
});

// Nothing of a pickle is ever called; a file that asks for one of these was not made by saving a model.
constexpr auto program_modules =
    std::to_array<std::string_view>({"os", "posix", "nt", "subprocess", "sys", "shutil", "socket", "pty", "runpy", "importlib", "ctypes",
                                     "webbrowser", "pdb", "timeit", "marshal", "pip", "cProfile", "torch.hub"});
// Of these modules only the names below.
constexpr auto mixed_modules = std::to_array<std::string_view>(
    {"builtins", "__builtin__", "io", "_io", "torch", "torch.jit", "torch.serialization", "pickle", "_pickle"});
constexpr auto program_names = std::to_array<std::string_view>({"eval", "exec", "execfile", "compile", "open", "open_code", "__import__",
                                                                "input", "breakpoint", "file", "load", "loads", "Unpickler"});

template <size_t n>
bool contains(const std::array<std::string_view, n>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

bool runs_programs(std::string_view module, std::string_view name) {
  // "os.path" belongs to os; a dotted name reaches into the module
  if (contains(mixed_modules, module)) return contains(program_names, name.substr(0, name.find('.')));
  for (std::string_view part = module;; part = part.substr(0, part.rfind('.'))) {
    if (contains(program_modules, part)) return true;
    if (part.find('.') == std::string_view::npos) return false;
  }
}

const Global* find_global(std::string_view module, std::string_view name) {
  for (const Global& row : table)
    if (row.name == name && row.module == module) return &row;
  return nullptr;
}

}  // namespace dinoxx::pickle
