// The tree of a checkpoint as a list of tensors and a JSON value of the rest.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <unordered_set>

#include "base/utf8.hpp"
#include "dinoxx/base/error.hpp"
#include "pickle_call.hpp"
#include "torch_archive.hpp"

namespace dinoxx {
namespace {

using nlohmann::json;
using pickle::Kind;
using pickle::Role;
using pickle::Value;

// Shared values are visited once for each path: lists of lists of the same list would otherwise be as long as one likes.
constexpr size_t visits_constant = 1000, visits_factor = 16;  // of the number of values
constexpr int max_depth = 100;
constexpr size_t max_name = 1024;
constexpr size_t max_text = size_t{32} << 20;  // of all names and settings
constexpr size_t max_tensors = 200'000;
constexpr size_t max_unread = 1000;

constexpr const char* advice = "Save the state_dict alone, with torch.save or as safetensors, if the file is yours";

std::string decode_latin1(std::string_view utf8) {
  std::string bytes;
  for (size_t i = 0; i < utf8.size(); ++i) {
    const auto c = static_cast<unsigned char>(utf8[i]);
    if (c < 0x80)
      bytes.push_back(utf8[i]);
    else if (i + 1 < utf8.size())
      bytes.push_back(static_cast<char>((c & 3u) << 6 | (static_cast<unsigned char>(utf8[++i]) & 0x3Fu)));
  }
  return bytes;
}

std::optional<std::string> raw_bytes(const Value& value) {
  if (value.kind == Kind::kBytes || value.kind == Kind::kText) return std::string(value.text());
  if (value.kind == Kind::kLatin1) return decode_latin1(value.text());
  return std::nullopt;
}

template <class T>
json number_of(const std::string& bytes) {
  T value;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

json real(double value) {
  if (std::isnan(value)) return "nan";  // JSON has no such numbers
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  return value;
}

// numpy.dtype("f8", False, True) with the state (version, "<", ...)
std::string numpy_dtype(const Value& value) {
  if (value.kind != Kind::kObject || value.items()[0]->global().role != Role::kNumpyDType) return {};
  const auto& arguments = value.items()[1]->items();
  if (arguments.empty()) return {};
  const auto code = raw_bytes(*arguments[0]);
  if (!code || code->size() > 16) return {};
  std::string order;
  if (value.items().size() > 2 && value.items()[2]->items().size() > 1) order = raw_bytes(*value.items()[2]->items()[1]).value_or("");
  return (order == ">" ? ">" : "") + printable(*code);
}

// multiarray.scalar(dtype, bytes) as a number where the type is a plain one
std::optional<json> numpy_scalar(const std::vector<Value*>& arguments) {
  if (arguments.size() != 2) return std::nullopt;
  const std::string code = numpy_dtype(*arguments[0]);
  const auto bytes = raw_bytes(*arguments[1]);
  if (!bytes) return std::nullopt;
  const auto is = [&](std::string_view name, size_t size) { return code == name && bytes->size() == size; };
  if (is("f8", 8)) return real(number_of<double>(*bytes).get<double>());
  if (is("f4", 4)) return real(static_cast<double>(number_of<float>(*bytes).get<float>()));
  if (is("i8", 8)) return number_of<int64_t>(*bytes);
  if (is("i4", 4)) return number_of<int32_t>(*bytes);
  if (is("i2", 2)) return number_of<int16_t>(*bytes);
  if (is("i1", 1)) return number_of<int8_t>(*bytes);
  if (is("u8", 8)) return number_of<uint64_t>(*bytes);
  if (is("u4", 4)) return number_of<uint32_t>(*bytes);
  if (is("u2", 2)) return number_of<uint16_t>(*bytes);
  if (is("u1", 1)) return number_of<uint8_t>(*bytes);
  if (is("b1", 1)) return json((*bytes)[0] != 0);
  return std::nullopt;
}

class Flattener {
 public:
  Flattener(const std::function<std::span<const std::byte>(std::string_view)>& storage, uint64_t budget, size_t values,
            const std::string& subject)
      : storage_(storage), budget_(budget), max_visits_(visits_constant + visits_factor * values), subject_(subject) {}

  TorchContent run(const Value& root) {
    if (root.kind != Kind::kDict && root.kind != Kind::kList && root.kind != Kind::kTuple && root.kind != Kind::kObject)
      refuse("a state dict or a checkpoint (a dict)", describe(root));
    if (auto rest = walk(root, "", 0)) content_.settings = std::move(*rest);
    if (!content_.settings.is_object() && !content_.settings.is_array()) content_.settings = json::object();
    if (content_.tensors.empty() && !content_.unread.empty())
      refuse("tensors in dicts and lists", "none outside of objects that only their own program can build: " + content_.unread.front());
    std::unordered_set<std::string_view> names;
    for (const WeightEntry& entry : content_.tensors)
      if (!names.insert(entry.name).second) refuse("a name once", fmt::format("two tensors of the path \"{}\"", entry.name));
    return std::move(content_);
  }

  WeightEntry single(const Value& root) {
    if (root.kind != Kind::kTensor) refuse("one tensor", describe(root));
    add_tensor(root.tensor(), "tensor");
    WeightEntry entry = std::move(content_.tensors.front());
    entry.name.clear();
    return entry;
  }

 private:
  [[noreturn]] void refuse(std::string_view expected, std::string_view found) const { fail(subject_, expected, found, advice); }

  // Tensors go to the list, everything else is returned; nothing for what held only tensors.
  std::optional<json> walk(const Value& value, const std::string& path, int depth) {
    if (depth > max_depth) refuse(fmt::format("values nested at most {} deep", max_depth), "deeper ones, or a list that contains itself");
    if (++visits_ > max_visits_) refuse(fmt::format("values that are shared at most {} times on average", visits_factor), "more");
    switch (value.kind) {
      case Kind::kNone:
        return json(nullptr);
      case Kind::kBool:
        return json(value.integer() != 0);
      case Kind::kInt:
        return json(value.integer());
      case Kind::kFloat:
        return real(value.real());
      case Kind::kText:
        return json(keep(std::string(value.text())));
      case Kind::kBigInt:
      case Kind::kBytes:
      case Kind::kLatin1:
        return json{{"class", value.kind == Kind::kBigInt ? "int" : "bytes"}, {"bytes", value.text().size()}};
      case Kind::kGlobal:
        if (is_unknown(value)) leave_unread(value, path);
        return json(describe(value));
      case Kind::kStorage:
        return json{{"class", "storage"}, {"elements", value.storage().count}};
      case Kind::kTensor:
        add_tensor(value.tensor(), path);
        return std::nullopt;
      case Kind::kList:
      case Kind::kTuple:
      case Kind::kSet:
        return walk_list(value.items(), path, depth);
      case Kind::kDict:
        return walk_dict(value.items(), path, depth);
      case Kind::kObject:
        return walk_object(value, path, depth);
    }
    return std::nullopt;
  }

  std::optional<json> walk_list(const std::vector<Value*>& items, const std::string& path, int depth) {
    json list = json::array();
    bool rest = items.empty();
    for (size_t i = 0; i < items.size(); ++i) {
      auto item = walk(*items[i], join(path, std::to_string(i)), depth + 1);
      rest |= item.has_value();
      list.push_back(item ? std::move(*item) : json(nullptr));  // a tensor's place, so that the others keep their index
    }
    if (!rest) return std::nullopt;
    return list;
  }

  std::optional<json> walk_dict(const std::vector<Value*>& items, const std::string& path, int depth) {
    json object = json::object();
    bool rest = items.empty();
    for (size_t i = 0; i + 1 < items.size(); i += 2) {
      const std::string key = keep(key_text(*items[i], i / 2));
      auto item = walk(*items[i + 1], join(path, key), depth + 1);
      if (!item) continue;
      rest = true;
      if (!object.emplace(key, std::move(*item)).second) refuse("a key once", fmt::format("\"{}\" twice in \"{}\"", key, path));
    }
    if (!rest) return std::nullopt;
    return object;
  }

  std::optional<json> walk_object(const Value& value, const std::string& path, int depth) {
    if (is_unknown(value)) {
      leave_unread(value, path);
      const Value& content = *value.items()[2];  // of a class derived from dict or list
      if (content.kind == Kind::kNone) return json{{"class", describe(*value.items()[0])}};
      return walk(content, path, depth + 1);
    }
    const pickle::Global& global = value.items()[0]->global();
    const auto& arguments = value.items()[1]->items();
    if (global.role == Role::kNamespace) {
      if (value.items().size() < 3) return json::object();
      return walk(*value.items()[2], path, depth + 1);
    }
    if (global.role == Role::kPath) {
      std::string joined;
      for (const Value* part : arguments) {
        if (!joined.empty() && joined.back() != '/') joined += '/';
        joined += keep(std::string(part->text()));
      }
      return json(keep(joined));
    }
    if (global.role == Role::kNumpyScalar)
      if (auto number = numpy_scalar(arguments)) return number;
    if (global.role == Role::kNumpyDType) return json(numpy_dtype(value));
    return json{{"class", fmt::format("{}.{}", global.module, global.name)}};  // an array, or a scalar of another type: kept unread
  }

  void leave_unread(const Value& value, const std::string& path) {
    if (content_.unread.size() >= max_unread) return;
    const Value& of = value.kind == Kind::kObject ? *value.items()[0] : value;
    content_.unread.push_back(keep(fmt::format("{} ({})", path.empty() ? "all of it" : printable(path), describe(of))));
  }

  // Of keys that are no texts: `place` tells two of a class apart.
  std::string key_text(const Value& key, size_t place, int depth = 0) {
    switch (key.kind) {
      case Kind::kText:
        return std::string(key.text().substr(0, max_name + 1));
      case Kind::kInt:
        return std::to_string(key.integer());
      case Kind::kBool:
        return key.integer() ? "True" : "False";
      case Kind::kNone:
        return "None";
      case Kind::kFloat:
        return fmt::format("{}", key.real());
      case Kind::kGlobal:
        return describe(key);
      case Kind::kBigInt:
      case Kind::kBytes:
      case Kind::kLatin1:
      case Kind::kObject:
        return fmt::format("{} #{}", describe(key), place);
      case Kind::kTuple: {
        if (depth > 4 || key.items().size() > 16) break;
        std::string joined = "(";
        for (const Value* item : key.items())
          joined += (joined.size() > 1 ? ", " : "") + key_text(*item, place, depth + 1).substr(0, max_name);
        return joined + ")";
      }
      default:
        break;
    }
    refuse("keys that are texts, numbers or short tuples of them", describe(key));
  }

  std::string join(const std::string& path, const std::string& key) {
    if (path.size() + key.size() + 1 > max_name) refuse(fmt::format("names of at most {} bytes", max_name), "a longer one");
    return path.empty() ? key : path + "." + key;
  }

  std::string keep(std::string text) {
    text_ += text.size();
    if (text_ > max_text) refuse(fmt::format("names and settings of at most {} bytes together", max_text), "more");
    return text;
  }

  void add_tensor(const pickle::Tensor& tensor, const std::string& path) {
    const std::string subject = fmt::format("{}, tensor \"{}\"", subject_, path);
    const auto defect = [&](std::string_view expected, std::string_view found) {
      fail(subject, expected, found, "The file is damaged: copy, download or save it again");
    };
    if (path.empty()) refuse("a dict of tensors", "a tensor without a name");
    const auto record = storage_(tensor.storage.key);
    const uint64_t element = dtype_size(tensor.dtype);
    const uint64_t storage_element = tensor.storage.dtype ? dtype_size(*tensor.storage.dtype) : 1;
    uint64_t storage_bytes = 0;
    if (__builtin_mul_overflow(static_cast<uint64_t>(tensor.storage.count), storage_element, &storage_bytes) ||
        storage_bytes != record.size())
      defect(fmt::format("a record of {} elements of {} bytes", tensor.storage.count, storage_element),
             fmt::format("a record of {} bytes", record.size()));

    if (content_.tensors.size() >= max_tensors) refuse(fmt::format("at most {} tensors", max_tensors), "more");
    WeightEntry entry{keep(path), tensor.dtype, tensor.shape, tensor.strides, {}, {}, {}};
    const uint64_t copy = contiguous_bytes(subject, tensor.dtype, tensor.shape);
    used_ = used_ > budget_ || copy > budget_ ? budget_ + 1 : used_ + copy;
    if (used_ > budget_)
      fail(subject, fmt::format("tensors of at most {} bytes together, for a file of this size", budget_), "more",
           "Call .contiguous() on expanded tensors and save only what is needed");
    if (copy > 0) {
      uint64_t last = static_cast<uint64_t>(tensor.offset);  // element
      bool fits = true;
      for (size_t i = 0; i < tensor.shape.size(); ++i) {
        uint64_t step = 0;
        fits &= !__builtin_mul_overflow(static_cast<uint64_t>(tensor.shape[i] - 1), static_cast<uint64_t>(tensor.strides[i]), &step) &&
                !__builtin_add_overflow(last, step, &last);
      }
      const uint64_t elements = record.size() / element;
      if (!fits || last >= elements)
        defect(fmt::format("elements inside the {} of its storage", elements),
               fits ? fmt::format("element {}", last) : "a sum beyond 64 bits");
      const auto begin = static_cast<uint64_t>(tensor.offset) * element;
      entry.bytes = record.subspan(begin, (last + 1) * element - begin);
    }
    content_.tensors.push_back(std::move(entry));
  }

  const std::function<std::span<const std::byte>(std::string_view)>& storage_;
  uint64_t budget_, used_ = 0;
  size_t max_visits_;
  const std::string& subject_;
  size_t visits_ = 0, text_ = 0;
  TorchContent content_;
};

}  // namespace

TorchContent flatten_checkpoint(const pickle::Tree& tree, const std::function<std::span<const std::byte>(std::string_view)>& storage,
                                uint64_t budget, const std::string& subject) {
  return Flattener(storage, budget, tree.values.size(), subject).run(*tree.root);
}

WeightEntry single_tensor(const pickle::Tree& tree, const std::function<std::span<const std::byte>(std::string_view)>& storage,
                          uint64_t budget, const std::string& subject) {
  return Flattener(storage, budget, tree.values.size(), subject).single(*tree.root);
}

}  // namespace dinoxx
