// Files of torch.save before its zip archives: pickles in a row with the storages behind them (PyTorch 0.1.10 to 1.5), and tar archives
// (before). The order of their parts: torch/serialization.py, _legacy_save and legacy_load.
#include <fmt/format.h>

#include <charconv>
#include <cstring>
#include <map>

#include "base/utf8.hpp"
#include "dinoxx/base/error.hpp"
#include "pickle_call.hpp"
#include "torch_archive.hpp"

namespace dinoxx {
namespace {

using Bytes = std::span<const std::byte>;
using pickle::Kind;
using pickle::Value;

constexpr std::string_view magic("\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 10);  // 0x1950a86a20f9469cfc6c, little-endian
constexpr uint64_t budget_constant = uint64_t{64} << 20, budget_factor = 4;
constexpr int64_t max_count = 1'000'000, max_dimensions = 64;
constexpr size_t tar_block = 512;

[[noreturn]] void defect(const std::string& subject, std::string_view expected, std::string_view found) {
  fail(subject, expected, found, "The file is damaged: copy, download or save it again");
}

struct Record {
  Bytes bytes;
  DType dtype = DType::kF32;
  int64_t count = 0;
};
using Records = std::map<std::string, Record, std::less<>>;

/// Parts of a file, one after the other.
class Parts {
 public:
  Parts(Bytes bytes, std::string subject) : rest_(bytes), subject_(std::move(subject)) {}

  pickle::Tree next_pickle(std::string_view what) { return pickle::parse_first(rest_, fmt::format("{}, {}", subject_, what)); }
  template <class T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
  /// The numbers of a storage: their count, and then they.
  Record record(DType dtype) {
    const auto count = number<int64_t>();
    if (count < 0 || static_cast<uint64_t>(count) > rest_.size() / dtype_size(dtype))
      defect(subject_, fmt::format("numbers inside the {} bytes that are left", rest_.size()),
             fmt::format("{} numbers of {}", count, dtype_name(dtype)));
    return {take(static_cast<uint64_t>(count) * dtype_size(dtype)), dtype, count};
  }
  size_t left() const { return rest_.size(); }
  const std::string& subject() const { return subject_; }

 private:
  Bytes take(uint64_t count) {
    if (count > rest_.size()) defect(subject_, fmt::format("{} more bytes", count), fmt::format("{}: the file is cut short", rest_.size()));
    const Bytes taken = rest_.first(count);
    rest_ = rest_.subspan(count);
    return taken;
  }
  Bytes rest_;
  std::string subject_;
};

std::string id_text(const Value& value, const std::string& subject) {
  if (value.kind == Kind::kText) return std::string(value.text());
  if (value.kind == Kind::kInt) return std::to_string(value.integer());
  defect(subject, "an id that is a text or a number", describe(value));
}

int64_t count_of(const pickle::Tree& tree, const std::string& subject) {
  if (tree.root->kind != Kind::kInt || tree.root->integer() < 0 || tree.root->integer() > max_count)
    defect(subject, fmt::format("a count of at most {}", max_count), describe(*tree.root));
  return tree.root->integer();
}

const std::vector<Value*>& tuple_of(const pickle::Tree& tree, size_t count, const std::string& subject) {
  if (tree.root->kind != Kind::kTuple || tree.root->items().size() != count)
    defect(subject, fmt::format("a tuple of {} values", count), describe(*tree.root));
  return tree.root->items();
}

void require_little_endian(const Value& about, const std::string& subject) {
  if (about.kind != Kind::kDict) return;
  for (size_t i = 0; i + 1 < about.items().size(); i += 2) {
    const Value &key = *about.items()[i], &value = *about.items()[i + 1];
    if (key.kind == Kind::kText && key.text() == "little_endian" && value.kind == Kind::kBool && value.integer() == 0)
      fail(subject, "little-endian numbers", "big-endian ones", "Save it again on a little-endian machine, or as safetensors");
  }
}

// --- tar
/// Members of a tar archive by name, without folders. Extended headers say nothing that these files need.
std::map<std::string, Bytes, std::less<>> tar_members(Bytes file, const std::string& subject) {
  std::map<std::string, Bytes, std::less<>> members;
  while (file.size() >= tar_block && file[0] != std::byte{0}) {
    const std::string_view header(reinterpret_cast<const char*>(file.data()), tar_block);
    std::string_view name = header.substr(0, 100), digits = header.substr(124, 12);
    name = name.substr(0, name.find('\0'));
    digits = digits.substr(0, digits.find_first_of(std::string_view("\0 ", 2)));
    uint64_t size = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), size, 8);
    if (error != std::errc() || end != digits.data() + digits.size() || size > file.size() - tar_block)
      defect(subject, fmt::format("a member of at most {} bytes", file.size() - tar_block),
             fmt::format("\"{}\" of another size", printable(name)));
    const char type = header[156];
    if ((type == '0' || type == '\0') && !members.emplace(name, file.subspan(tar_block, size)).second)
      defect(subject, "a name once in the tar archive", fmt::format("\"{}\" twice", printable(name)));
    file = file.subspan(tar_block);
    file = file.subspan(std::min<size_t>(file.size(), (size + tar_block - 1) / tar_block * tar_block));
  }
  return members;
}

Records tar_storages(Parts parts) {
  Records records;
  const std::string& subject = parts.subject();
  for (int64_t left = count_of(parts.next_pickle("the count"), subject); left > 0; --left) {
    const pickle::Tree tree = parts.next_pickle("a storage");
    const auto& about = tuple_of(tree, 3, subject);  // key, place, type
    if (about[2]->kind != Kind::kGlobal || about[2]->global().role != pickle::Role::kStorage || !about[2]->global().dtype)
      defect(subject, "a type of storage", describe(*about[2]));
    if (!records.emplace(id_text(*about[0], subject), parts.record(*about[2]->global().dtype)).second)
      defect(subject, "each storage once", "one twice");
  }
  const pickle::Tree views = parts.next_pickle("the views");
  if (views.root->kind != Kind::kList) defect(subject, "a list of views", describe(*views.root));
  for (const Value* view : views.root->items()) {
    const bool four = view->kind == Kind::kTuple && view->items().size() == 4;  // target, root, offset, count
    if (!four || view->items()[2]->kind != Kind::kInt || view->items()[3]->kind != Kind::kInt)
      defect(subject, "a view as target, root, offset and count", describe(*view));
    const auto root = records.find(id_text(*view->items()[1], subject));
    const int64_t offset = view->items()[2]->integer(), count = view->items()[3]->integer();
    if (root == records.end() || offset < 0 || count < 0 || offset > root->second.count || count > root->second.count - offset)
      defect(subject, "a view inside its storage", fmt::format("{} numbers from {} on", count, offset));
    const size_t element = dtype_size(root->second.dtype);
    const Bytes bytes = root->second.bytes.subspan(static_cast<size_t>(offset) * element, static_cast<size_t>(count) * element);
    records.emplace(id_text(*view->items()[0], subject), Record{bytes, root->second.dtype, count});
  }
  return records;
}

pickle::TensorsById tar_tensors(Parts parts, const Records& records) {
  pickle::TensorsById tensors;
  const std::string& subject = parts.subject();
  for (int64_t left = count_of(parts.next_pickle("the count"), subject); left > 0; --left) {
    const pickle::Tree tree = parts.next_pickle("a tensor");
    const auto& about = tuple_of(tree, 3, subject);  // key, key of the storage, type
    const auto record = records.find(id_text(*about[1], subject));
    if (record == records.end()) defect(subject, "a storage of the file", "another one");
    const auto dimensions = parts.number<int32_t>();
    parts.number<int32_t>();  // the count was of eight bytes before
    if (dimensions < 0 || dimensions > max_dimensions)
      defect(subject, fmt::format("at most {} dimensions", max_dimensions), std::to_string(dimensions));
    pickle::Tensor tensor{{record->first, record->second.dtype, record->second.count}, record->second.dtype, 0, {}, {}};
    for (auto* numbers : {&tensor.shape, &tensor.strides})
      for (int32_t i = 0; i < dimensions; ++i) numbers->push_back(parts.number<int64_t>());
    tensor.offset = parts.number<int64_t>();
    for (const auto* numbers : {&tensor.shape, &tensor.strides})
      for (const int64_t n : *numbers)
        if (n < 0) defect(subject, "extents and strides >= 0", std::to_string(n));
    if (tensor.offset < 0) defect(subject, "an offset >= 0", std::to_string(tensor.offset));
    if (!tensors.emplace(id_text(*about[0], subject), std::move(tensor)).second) defect(subject, "each tensor once", "one twice");
  }
  return tensors;
}

TorchContent flattened(const pickle::Tree& tree, const Records& records, uint64_t file_bytes, const std::string& subject) {
  const auto bytes_of = [&](std::string_view key) {
    const auto found = records.find(key);
    if (found == records.end()) defect(subject, fmt::format("a storage \"{}\"", printable(key.substr(0, 100))), "none");
    return found->second.bytes;
  };
  return flatten_checkpoint(tree, bytes_of, budget_constant + budget_factor * file_bytes, subject);
}

}  // namespace

TorchContent read_torch_pickles(Bytes file, const std::string& subject) {
  Parts parts(file, subject);
  {
    const pickle::Tree first = parts.next_pickle("the mark at its start");
    if (first.root->kind != Kind::kBigInt || first.root->text() != magic)
      fail(subject, "a file of torch.save", "a pickle without archive that something else wrote",
           "Load it in Python with the program that wrote it, and save the tensors with torch.save or as safetensors");
    const pickle::Tree version = parts.next_pickle("the version");
    if (version.root->kind != Kind::kInt || version.root->integer() != 1001) defect(subject, "version 1001", describe(*version.root));
    require_little_endian(*parts.next_pickle("about its numbers").root, subject);
  }
  const pickle::Tree tree = parts.next_pickle("the checkpoint");
  const pickle::Tree keys = parts.next_pickle("the list of storages");
  if (keys.root->kind != Kind::kList) defect(subject, "a list of storages", describe(*keys.root));
  std::map<std::string_view, DType> types;
  for (const Value& value : tree.values)
    if (value.kind == Kind::kStorage) types.emplace(value.storage().key, value.storage().dtype.value_or(DType::kU8));
  Records records;
  for (const Value* key : keys.root->items()) {
    const std::string name = id_text(*key, subject);
    const auto type = types.find(name);
    // the numbers of the next ones begin where these end
    if (type == types.end())
      fail(subject, "storages of types that dinoxx knows", fmt::format("one (\"{}\") of another type", printable(name.substr(0, 100))),
           "Quantised or complex numbers: dequantise the model with the program that made it, and save its tensors with torch.save");
    if (!records.emplace(name, parts.record(type->second)).second) defect(subject, "each storage once", printable(name.substr(0, 100)));
  }
  if (parts.left() > 0) defect(subject, "the end of the file behind the last storage", fmt::format("{} more bytes", parts.left()));
  return flattened(tree, records, file.size(), subject);
}

TorchContent read_torch_tar(Bytes file, const std::string& subject) {
  const auto members = tar_members(file, subject);
  const auto member = [&](std::string_view name) {
    const auto found = members.find(name);
    if (found == members.end())
      fail(subject, "a tar archive of PyTorch before 0.1.10, with storages, tensors and pickle", fmt::format("no \"{}\" in it", name),
           "Unpack it, and give the file of weights itself");
    return found->second;
  };
  const Records records = tar_storages({member("storages"), subject + ", storages"});
  const pickle::TensorsById tensors = tar_tensors({member("tensors"), subject + ", tensors"}, records);
  const pickle::Tree tree = pickle::parse(member("pickle"), subject + ", pickle", &tensors);
  return flattened(tree, records, file.size(), subject);
}

}  // namespace dinoxx
