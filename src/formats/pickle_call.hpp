#pragma once
#include <string>

#include "pickle.hpp"

namespace dinoxx::pickle {

/// Makes the values of one tree, and turns what a pickle asks to be called into data.
class Builder {
 public:
  /// `bytes`: length of the pickle, by which the number of values is bounded.
  Builder(Tree& tree, const std::string& subject, size_t bytes, const TensorsById* tensors);
  size_t max_values() const { return max_values_; }

  template <class T>
  Value* make(Kind kind, T data) {
    Value* value = add(kind);
    value->data = std::move(data);
    return value;
  }
  Value* make_items(Kind kind, std::vector<Value*> items) {
    spend(items.size());
    return make(kind, std::make_unique<std::vector<Value*>>(std::move(items)));
  }
  /// Counts places in containers: one instruction may fill many by copying a list. Error when they are too many.
  void spend(size_t places);
  Value* none() { return constant(none_, Kind::kNone); }
  Value* boolean(bool value);

  /// A name. Error for one that runs programs.
  Value* global(std::string_view module, std::string_view name);
  /// The data that `callee(*arguments)` would make.
  Value* call(Value* callee, Value* arguments);
  /// What an object of an unknown class is asked to hold: appended items, pairs or members.
  void put_into(Value& object, Kind kind, const std::vector<Value*>& items);
  /// What BUILD asks for: fields of a namespace, the state of a NumPy object or of one of an unknown class, attributes that a dict drops.
  void set_state(Value* object, Value* state);
  /// ("storage", type, key, device, count), ("module", class, file, text), or the id of a tensor
  Value* persistent(Value* id);

  [[noreturn]] void refuse(std::string_view expected, std::string_view found) const;

 private:
  Value* add(Kind kind);
  Value* constant(Value*& slot, Kind kind);
  Value* call_dict(const Global& global, const std::vector<Value*>& arguments);
  Value* call_tensor(const Global& global, const std::vector<Value*>& arguments);
  Value* call_parameter(const Global& global, const std::vector<Value*>& arguments);
  Value* call_from_type(const std::vector<Value*>& arguments);
  Value* call_device(const std::vector<Value*>& arguments);
  Value* call_encode(const std::vector<Value*>& arguments);
  std::vector<int64_t> integers(const Value& value, std::string_view what) const;
  Value* unknown_object(const Value& of, Value* arguments);

  Tree& tree_;
  const std::string& subject_;
  const TensorsById* tensors_;
  size_t max_values_, places_ = 0;
  Value *none_ = nullptr, *true_ = nullptr, *false_ = nullptr;
};

/// For messages: "text", "tensor", "collections.OrderedDict", ...
std::string describe(const Value& value);

}  // namespace dinoxx::pickle
