#pragma once
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "safetensors.hpp"

/// Pickles as data. Python's pickle is a program for a stack machine that may call anything that can be imported; this reader runs the
/// machine's data instructions and calls nothing. A name that stands in a table of what PyTorch checkpoints contain becomes a value that
/// says what was meant: a tensor's description, a namespace with its fields, a NumPy scalar with its bytes. Any other name is kept as a
/// name, and what a pickle would make of it as an object of an unknown class, which nobody looks into; names that no checkpoint needs and
/// that run programs (os, subprocess, eval, ...) are refused. The instructions: Python's pickletools documentation (Lib/pickletools.py),
/// protocols 2 to 5.
namespace dinoxx::pickle {

enum class Kind : uint8_t {
  kNone,
  kBool,
  kInt,
  kBigInt,  ///< beyond 64 bits: text() holds its little-endian two's complement
  kFloat,
  kText,  ///< UTF-8, validated
  kBytes,
  kLatin1,  ///< bytes that protocol 2 writes as text of the code points 0 to 255
  kList,
  kTuple,
  kSet,
  kDict,    ///< items() alternate key, value; a later pair of the same key is kept beside the earlier
  kGlobal,  ///< a name
  kStorage,
  kTensor,
  kObject,  ///< items(): the global, its arguments (a tuple), and its state if one was set; of an unknown class: the global, the arguments,
            ///< what was put into it (a list, a set or a dict; else None), and its state if one was set
};

/// What a name of the table stands for.
enum class Role : uint8_t {
  kOrderedDict,
  kDefaultDict,
  kCounter,
  kSet,
  kByteArray,
  kBytes,
  kPlainType,  ///< a type as a value only: int, str, ...
  kRebuildTensor,
  kRebuildTensorV2,
  kRebuildTensorV3,
  kRebuildParameter,
  kRebuildParameterWithState,
  kRebuildFromType,
  kTensorClass,
  kStorage,  ///< with an element type, or without: UntypedStorage, counted in bytes
  kDType,
  kSize,
  kDevice,
  kNamespace,
  kPath,
  kNumpyScalar,
  kNumpyArray,  ///< the functions that make one
  kNumpyArrayClass,
  kNumpyDType,
  kEncode,
  kUnknown,  ///< a name that is not in the table
};

struct Global {
  std::string_view module, name;
  Role role;
  std::optional<DType> dtype;
};

struct Storage {
  std::string_view key;        ///< name of the record that holds it
  std::optional<DType> dtype;  ///< none: bytes
  int64_t count = 0;           ///< elements, or bytes
};

/// Not yet compared with the storage's record.
struct Tensor {
  Storage storage;
  DType dtype = DType::kF32;
  int64_t offset = 0;                   ///< elements
  std::vector<int64_t> shape, strides;  ///< elements, equally many
};

struct Value {
  Kind kind = Kind::kNone;
  bool attributes = false;  ///< a dict of a class that may carry attributes, which are dropped
  std::variant<std::monostate, int64_t, double, std::string_view, std::unique_ptr<std::vector<Value*>>, const Global*,
               std::unique_ptr<Storage>, std::unique_ptr<Tensor>>
      data;

  int64_t integer() const { return std::get<int64_t>(data); }  ///< kInt, kBool
  double real() const { return std::get<double>(data); }
  std::string_view text() const { return std::get<std::string_view>(data); }
  std::vector<Value*>& items() { return *std::get<std::unique_ptr<std::vector<Value*>>>(data); }
  const std::vector<Value*>& items() const { return *std::get<std::unique_ptr<std::vector<Value*>>>(data); }
  const Global& global() const { return *std::get<const Global*>(data); }
  const Storage& storage() const { return *std::get<std::unique_ptr<Storage>>(data); }
  const Tensor& tensor() const { return *std::get<std::unique_ptr<Tensor>>(data); }
};

/// Values may be shared and may contain themselves: whoever walks the tree bounds depth and number of visits.
struct Tree {
  std::deque<Value> values;
  std::deque<Global> unknown;  ///< names that the table does not have; views of the pickle, in UTF-8
  const Value* root = nullptr;
};

/// The tensors of a file that keeps them outside its pickles, by the text or number that stands for them there.
using TensorsById = std::map<std::string, Tensor, std::less<>>;

/// Reads one pickle that fills `bytes`, which have to outlive the tree: texts are views. Error names `subject`. `tensors`: what persistent
/// ids stand for, when they are not the storages themselves.
Tree parse(std::span<const std::byte> bytes, const std::string& subject, const TensorsById* tensors = nullptr);

/// The same for the first of several pickles in a row; `bytes` becomes what follows it.
Tree parse_first(std::span<const std::byte>& bytes, const std::string& subject);

/// Whether the value is a name that the table does not have, or was made of one.
bool is_unknown(const Value& value);

/// The table's row, nullptr for a name that is not in it.
const Global* find_global(std::string_view module, std::string_view name);

/// Whether a name that the table does not have is one whose call would run a program or load code: no checkpoint holds it by accident.
bool runs_programs(std::string_view module, std::string_view name);

}  // namespace dinoxx::pickle
