#include "pickle_call.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/utf8.hpp"
#include "dinoxx/base/error.hpp"

namespace dinoxx::pickle {
namespace {

// A value takes up to a hundred bytes and an instruction one: this bounds the memory that a small hostile file can ask for. Large honest
// pickles, which list the parts of sharded checkpoints, spend more than four bytes on a value.
constexpr size_t least_max_values = 1'000'000, bytes_of_value = 4;
constexpr size_t max_dimensions = 64;
constexpr size_t max_shown = 200;  // of a name

bool is_int(const Value& value) {
  return value.kind == Kind::kInt;
}
bool is_role(const Value& value, Role role) {
  return value.kind == Kind::kGlobal && value.global().role == role;
}
// None or a dict without content: where PyTorch puts hooks and flags that would change what a tensor means
bool is_nothing(const Value& value) {
  return value.kind == Kind::kNone || (value.kind == Kind::kDict && value.items().empty());
}

}  // namespace

bool is_unknown(const Value& value) {
  if (value.kind == Kind::kObject) return is_role(*value.items()[0], Role::kUnknown);
  return is_role(value, Role::kUnknown);
}

std::string describe(const Value& value) {
  static constexpr std::array<std::string_view, 15> names{"None",   "a bool", "an integer", "a large integer", "a float",
                                                          "a text", "bytes",  "bytes",      "a list",          "a tuple",
                                                          "a set",  "a dict", "",           "a storage",       "a tensor"};
  if (value.kind == Kind::kGlobal)
    return printable(fmt::format("{}.{}", value.global().module.substr(0, max_shown), value.global().name.substr(0, max_shown)));
  if (value.kind == Kind::kObject) return fmt::format("a {}", describe(*value.items().at(0)));
  return std::string(names.at(static_cast<size_t>(value.kind)));
}

Builder::Builder(Tree& tree, const std::string& subject, size_t bytes, const TensorsById* tensors)
    : tree_(tree), subject_(subject), tensors_(tensors), max_values_(std::max(least_max_values, bytes / bytes_of_value)) {}

void Builder::refuse(std::string_view expected, std::string_view found) const {
  fail(subject_, expected, found,
       "Nothing of the file was executed. If you trust where it comes from, load it in Python and save the tensors with "
       "safetensors.torch.save_file(state_dict, \"model.safetensors\")");
}

void Builder::spend(size_t places) {
  places_ += places;
  if (places_ > 2 * max_values_) refuse(fmt::format("at most {} places in lists and dicts", 2 * max_values_), "more");
}

Value* Builder::add(Kind kind) {
  if (tree_.values.size() >= max_values_) refuse(fmt::format("at most {} values", max_values_), "more");
  Value* value = &tree_.values.emplace_back();
  value->kind = kind;
  return value;
}

Value* Builder::constant(Value*& slot, Kind kind) {
  if (!slot) slot = add(kind);
  return slot;
}

Value* Builder::boolean(bool value) {
  Value*& slot = value ? true_ : false_;
  if (!slot) slot = make(Kind::kBool, int64_t{value});
  return slot;
}

Value* Builder::global(std::string_view module, std::string_view name) {
  const Global* row = find_global(module, name);
  if (!row && runs_programs(module, name))
    refuse("names that stand for data",
           fmt::format("the global \"{}.{}\", which a pickle could call to run programs: the file may be hostile",
                       module.substr(0, max_shown), name.substr(0, max_shown)));
  if (!row) row = &tree_.unknown.emplace_back(Global{module, name, Role::kUnknown, std::nullopt});
  return make(Kind::kGlobal, row);
}

std::vector<int64_t> Builder::integers(const Value& value, std::string_view what) const {
  if ((value.kind != Kind::kTuple && value.kind != Kind::kList) || value.items().size() > max_dimensions)
    refuse(fmt::format("{} as a tuple of at most {} integers", what, max_dimensions), describe(value));
  std::vector<int64_t> numbers;
  for (const Value* item : value.items()) {
    if (!is_int(*item) || item->integer() < 0) refuse(fmt::format("{} of integers >= 0", what), describe(*item));
    numbers.push_back(item->integer());
  }
  return numbers;
}

Value* Builder::unknown_object(const Value& of, Value* arguments) {
  Value* name = const_cast<Value*>(&of);
  if (of.kind == Kind::kObject) name = of.items()[0];
  return make_items(Kind::kObject, {name, arguments, none()});
}

void Builder::put_into(Value& object, Kind kind, const std::vector<Value*>& items) {
  spend(items.size());
  Value*& content = object.items()[2];
  if (content->kind == Kind::kNone) content = make_items(kind, {});
  if (content->kind == kind) content->items().insert(content->items().end(), items.begin(), items.end());  // else of another kind: dropped
}

Value* Builder::call(Value* callee, Value* arguments) {
  if (callee->kind != Kind::kGlobal && !is_unknown(*callee)) refuse("a name to be called", describe(*callee));
  if (arguments->kind != Kind::kTuple) refuse("a tuple of arguments", describe(*arguments));
  if (is_unknown(*callee)) return unknown_object(*callee, arguments);
  const Global& global = callee->global();
  const std::vector<Value*>& items = arguments->items();
  switch (global.role) {
    case Role::kOrderedDict:
    case Role::kDefaultDict:
    case Role::kCounter:
      return call_dict(global, items);
    case Role::kSet:
      if (items.empty()) return make_items(Kind::kSet, {});
      if (items.size() == 1 && items[0]->kind == Kind::kList) return make_items(Kind::kSet, items[0]->items());
      break;
    case Role::kBytes:
      if (items.empty()) return make(Kind::kBytes, std::string_view{});
      break;
    case Role::kByteArray:
      if (items.empty()) return make(Kind::kBytes, std::string_view{});
      if (items.size() == 1 && (items[0]->kind == Kind::kBytes || items[0]->kind == Kind::kLatin1)) return items[0];
      if (items.size() == 2) return call_encode(items);
      break;
    case Role::kRebuildTensor:
    case Role::kRebuildTensorV2:
    case Role::kRebuildTensorV3:
      return call_tensor(global, items);
    case Role::kRebuildParameter:
    case Role::kRebuildParameterWithState:
      return call_parameter(global, items);
    case Role::kRebuildFromType:
      return call_from_type(items);
    case Role::kSize:
      if (items.size() == 1 && (items[0]->kind == Kind::kTuple || items[0]->kind == Kind::kList))
        return make_items(Kind::kTuple, items[0]->items());
      break;
    case Role::kDevice:
      return call_device(items);
    case Role::kEncode:
      return call_encode(items);
    case Role::kNamespace:
      if (items.empty()) return make_items(Kind::kObject, {callee, arguments});
      break;
    case Role::kPath:
      if (std::all_of(items.begin(), items.end(), [](const Value* item) { return item->kind == Kind::kText; }))
        return make_items(Kind::kObject, {callee, arguments});
      break;
    case Role::kNumpyScalar:
    case Role::kNumpyArray:
    case Role::kNumpyDType:
      return make_items(Kind::kObject, {callee, arguments});
    case Role::kPlainType:
    case Role::kTensorClass:
    case Role::kStorage:
    case Role::kDType:
    case Role::kNumpyArrayClass:
    case Role::kUnknown:
      break;
  }
  refuse("a call that stands for data", fmt::format("{} called with {} arguments", describe(*callee), items.size()));
}

Value* Builder::call_dict(const Global& global, const std::vector<Value*>& arguments) {
  Value* dict = make_items(Kind::kDict, {});
  dict->attributes = true;
  const Value* content = nullptr;
  if (global.role == Role::kDefaultDict) {
    if (arguments.size() > 1 ||
        (!arguments.empty() && arguments[0]->kind != Kind::kGlobal && arguments[0]->kind != Kind::kNone && !is_unknown(*arguments[0])))
      refuse("defaultdict with the type of its values", fmt::format("{} arguments", arguments.size()));
  } else if (arguments.size() == 1) {
    content = arguments[0];
  } else if (!arguments.empty()) {
    refuse(fmt::format("{} of one argument", global.name), std::to_string(arguments.size()));
  }
  if (!content) return dict;
  if (content->kind == Kind::kDict) {
    spend(content->items().size());
    dict->items() = content->items();
  } else if (content->kind == Kind::kList) {
    spend(2 * content->items().size());  // Python 2: [[key, value], ...]
    for (const Value* pair : content->items()) {
      if ((pair->kind != Kind::kList && pair->kind != Kind::kTuple) || pair->items().size() != 2)
        refuse("pairs of key and value", describe(*pair));
      dict->items().insert(dict->items().end(), pair->items().begin(), pair->items().end());
    }
  } else {
    refuse(fmt::format("{} of pairs", global.name), describe(*content));
  }
  return dict;
}

// torch/_utils.py: (storage, offset, size, stride [, requires_grad, backward_hooks [v3: , dtype] [, metadata]])
Value* Builder::call_tensor(const Global& global, const std::vector<Value*>& arguments) {
  const size_t count = arguments.size();
  const bool v3 = global.role == Role::kRebuildTensorV3;
  const size_t least = global.role == Role::kRebuildTensor ? 4 : v3 ? 7 : 6;
  const size_t most = global.role == Role::kRebuildTensor ? 4 : least + 1;
  if (count < least || count > most) refuse(fmt::format("{} with {} arguments", global.name, least), std::to_string(count));
  for (const size_t i : {size_t{0}, v3 ? size_t{6} : size_t{0}})
    if (is_unknown(*arguments[i])) return unknown_object(*arguments[i], none());
  if (arguments[0]->kind != Kind::kStorage) refuse("a tensor of a storage", describe(*arguments[0]));
  Tensor tensor{arguments[0]->storage(), DType::kF32, 0, integers(*arguments[2], "a shape"), integers(*arguments[3], "strides")};
  if (!is_int(*arguments[1]) || arguments[1]->integer() < 0) refuse("a storage offset >= 0", describe(*arguments[1]));
  tensor.offset = arguments[1]->integer();
  if (tensor.shape.size() != tensor.strides.size())
    refuse(fmt::format("{} strides", tensor.shape.size()), std::to_string(tensor.strides.size()));
  if (least > 4 && !is_nothing(*arguments[5])) refuse("a tensor without backward hooks", describe(*arguments[5]));
  if (count == most && most > 4 && !is_nothing(*arguments[most - 1]))
    refuse("a tensor without conjugate or negative view", describe(*arguments[most - 1]));
  if (v3) {
    if (!is_role(*arguments[6], Role::kDType)) refuse("an element type", describe(*arguments[6]));
    tensor.dtype = *arguments[6]->global().dtype;
  } else {
    if (!tensor.storage.dtype) refuse("a typed storage", "an untyped one");
    tensor.dtype = *tensor.storage.dtype;
  }
  return make(Kind::kTensor, std::make_unique<Tensor>(std::move(tensor)));
}

// (data, requires_grad, backward_hooks [, state]); the state holds Python attributes
Value* Builder::call_parameter(const Global& global, const std::vector<Value*>& arguments) {
  const size_t expected = global.role == Role::kRebuildParameter ? 3 : 4;
  if (arguments.size() != expected) refuse(fmt::format("{} with {} arguments", global.name, expected), std::to_string(arguments.size()));
  if (is_unknown(*arguments[0])) return arguments[0];
  if (arguments[0]->kind != Kind::kTensor) refuse("a parameter made of a tensor", describe(*arguments[0]));
  if (!is_nothing(*arguments[2])) refuse("a parameter without backward hooks", describe(*arguments[2]));
  return arguments[0];
}

// (function, type, arguments, state) of a tensor with attributes
Value* Builder::call_from_type(const std::vector<Value*>& arguments) {
  if (arguments.size() != 4) refuse("_rebuild_from_type_v2 with 4 arguments", std::to_string(arguments.size()));
  const Value& function = *arguments[0];
  for (const size_t i : {size_t{0}, size_t{1}})
    if (is_unknown(*arguments[i])) return unknown_object(*arguments[i], none());
  const bool rebuilds = is_role(function, Role::kRebuildTensorV2) || is_role(function, Role::kRebuildTensorV3) ||
                        is_role(function, Role::kRebuildParameter) || is_role(function, Role::kRebuildParameterWithState);
  if (!rebuilds) refuse("a function that rebuilds a tensor", describe(function));
  if (!is_role(*arguments[1], Role::kTensorClass)) refuse("torch.Tensor or Parameter", describe(*arguments[1]));
  return call(arguments[0], arguments[2]);
}

Value* Builder::call_device(const std::vector<Value*>& arguments) {
  const bool text = !arguments.empty() && arguments[0]->kind == Kind::kText;
  if (!text || arguments.size() > 2 || (arguments.size() == 2 && !is_int(*arguments[1])))
    refuse("torch.device of a type and an index", fmt::format("{} other arguments", arguments.size()));
  return arguments[0];  // "cuda": the index means nothing here
}

Value* Builder::call_encode(const std::vector<Value*>& arguments) {
  if (arguments.size() != 2 || arguments[0]->kind != Kind::kText || arguments[1]->kind != Kind::kText ||
      (arguments[1]->text() != "latin1" && arguments[1]->text() != "latin-1"))
    refuse("bytes written as latin1 text", "another encoding");
  const std::string_view text = arguments[0]->text();
  // UTF-8 of the code points up to 255 starts with ASCII or with C2 or C3
  if (std::any_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) >= 0xC4; }))
    refuse("text of the code points 0 to 255", "larger ones");
  return make(Kind::kLatin1, text);
}

void Builder::set_state(Value* object, Value* state) {
  if (object->kind == Kind::kDict && object->attributes) {
    if (state->kind != Kind::kDict) refuse("the attributes of a dict as a dict", describe(*state));
    return;
  }
  if (object->kind == Kind::kObject && is_unknown(*object)) {  // the first of several is as good as another: nobody looks into it
    if (object->items().size() == 3) object->items().push_back(state);
    return;
  }
  if (object->kind != Kind::kObject || object->items().size() > 2) refuse("the state of an object that has none yet", describe(*object));
  const Role role = object->items()[0]->global().role;
  if (role == Role::kNamespace && state->kind != Kind::kDict) refuse("the fields of a namespace as a dict", describe(*state));
  if ((role == Role::kNumpyDType || role == Role::kNumpyArray) && state->kind != Kind::kTuple)
    refuse("the state of a NumPy object as a tuple", describe(*state));
  if (role != Role::kNamespace && role != Role::kNumpyDType && role != Role::kNumpyArray)
    refuse("an object that has a state", describe(*object));
  object->items().push_back(state);
}

Value* Builder::persistent(Value* id) {
  if (tensors_) {
    const std::string key = id->kind == Kind::kText ? std::string(id->text()) : id->kind == Kind::kInt ? std::to_string(id->integer()) : "";
    if (const auto found = tensors_->find(key); found != tensors_->end())
      return make(Kind::kTensor, std::make_unique<Tensor>(found->second));
    if (id->kind == Kind::kTuple && id->items().size() == 3 && id->items()[0]->kind == Kind::kGlobal) return id->items()[0];
    refuse("the id of a tensor of the file", key.empty() ? describe(*id) : printable(key.substr(0, max_shown)));
  }
  // whole modules of old files: the class, its source file and the text of it
  if (id->kind == Kind::kTuple && id->items().size() == 4 && id->items()[1]->kind == Kind::kGlobal) return id->items()[1];
  if (id->kind != Kind::kTuple || id->items().size() < 5 || id->items()[0]->kind != Kind::kText || id->items()[0]->text() != "storage")
    refuse("a persistent id (\"storage\", type, key, device, count)", describe(*id));
  const auto& items = id->items();
  // files of PyTorch 1.6 to 1.12 may carry a sixth item, the description of a view, which is None
  if (items.size() > 6 || (items.size() == 6 && items[5]->kind != Kind::kNone)) refuse("a storage that is no view", "a view");
  if (is_unknown(*items[1])) return unknown_object(*items[1], none());
  if (!is_role(*items[1], Role::kStorage)) refuse("a type of storage", describe(*items[1]));
  if (items[2]->kind != Kind::kText) refuse("the key of a storage as text", describe(*items[2]));
  if (items[3]->kind != Kind::kText) refuse("the device of a storage as text", describe(*items[3]));
  if (!is_int(*items[4]) || items[4]->integer() < 0) refuse("a number of elements >= 0", describe(*items[4]));
  return make(Kind::kStorage, std::make_unique<Storage>(Storage{items[2]->text(), items[1]->global().dtype, items[4]->integer()}));
}

}  // namespace dinoxx::pickle
