#include "pickle.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <unordered_map>

#include "base/utf8.hpp"
#include "dinoxx/base/error.hpp"
#include "pickle_call.hpp"

namespace dinoxx::pickle {
namespace {

constexpr size_t max_bytes = size_t{64} << 20;  // the largest published ones have 300 kB
constexpr size_t max_marks = 1000;              // Python's own recursion limit keeps writers below

// Instructions that protocols 2 to 5 write, by their names in pickletools.
enum Opcode : uint8_t {
  kMark = '(',
  kStop = '.',
  kPop = '0',
  kPopMark = '1',
  kDup = '2',
  kBinInt = 'J',
  kBinInt1 = 'K',
  kBinInt2 = 'M',
  kNone = 'N',
  kBinPersId = 'Q',
  kReduce = 'R',
  kBinString = 'T',
  kShortBinString = 'U',
  kBinUnicode = 'X',
  kAppend = 'a',
  kBuild = 'b',
  kGlobal = 'c',
  kDict = 'd',
  kAppends = 'e',
  kBinGet = 'h',
  kLongBinGet = 'j',
  kList = 'l',
  kBinPut = 'q',
  kLongBinPut = 'r',
  kSetItem = 's',
  kTuple = 't',
  kSetItems = 'u',
  kBinBytes = 'B',
  kShortBinBytes = 'C',
  kBinFloat = 'G',
  kEmptyList = ']',
  kEmptyTuple = ')',
  kEmptyDict = '}',
  kProto = 0x80,
  kNewObj = 0x81,
  kTuple1 = 0x85,
  kTuple2 = 0x86,
  kTuple3 = 0x87,
  kNewTrue = 0x88,
  kNewFalse = 0x89,
  kLong1 = 0x8a,
  kLong4 = 0x8b,
  kShortBinUnicode = 0x8c,
  kBinUnicode8 = 0x8d,
  kBinBytes8 = 0x8e,
  kEmptySet = 0x8f,
  kAddItems = 0x90,
  kFrozenSet = 0x91,
  kNewObjEx = 0x92,
  kStackGlobal = 0x93,
  kMemoize = 0x94,
  kFrame = 0x95,
  kByteArray8 = 0x96,
};

class Machine {
 public:
  Machine(std::span<const std::byte> bytes, const std::string& subject, Tree& tree, const TensorsById* tensors = nullptr)
      : bytes_(bytes), builder_(tree, subject, std::min(bytes.size(), max_bytes), tensors) {}

  /// To the end of the first pickle.
  const Value* run() {
    if (byte() != kProto) refuse("a pickle of protocol 2 to 5", "no protocol at its start");
    if (const uint8_t protocol = byte(); protocol < 2 || protocol > 5)
      refuse("a pickle of protocol 2 to 5", fmt::format("protocol {}", protocol));
    for (;;) {
      const uint8_t code = byte();
      if (code == kStop) break;
      step(code);
      if (at_ > max_bytes) refuse(fmt::format("a pickle of at most {} bytes", max_bytes), "a longer one");
      if (const size_t most = builder_.max_values(); stack_.size() > most || memo_.size() > most)
        refuse(fmt::format("at most {} open values", most), "more");
    }
    if (stack_.size() != 1 || !marks_.empty()) refuse("one value at the end of the pickle", fmt::format("{}", stack_.size()));
    return stack_[0];
  }
  size_t used() const { return at_; }
  void require_end() const {
    if (at_ != bytes_.size()) refuse("the end of data behind the pickle", fmt::format("{} more bytes", bytes_.size() - at_));
  }

 private:
  [[noreturn]] void refuse(std::string_view expected, std::string_view found) const {
    builder_.refuse(expected, fmt::format("{} (at byte {})", found, at_));
  }

  // --- input
  std::string_view take(uint64_t count) {
    if (count > bytes_.size() - at_)
      refuse(fmt::format("{} more bytes", count), fmt::format("{}: the pickle is cut short", bytes_.size() - at_));
    const char* begin = reinterpret_cast<const char*>(bytes_.data()) + at_;
    at_ += count;
    return {begin, count};
  }
  uint8_t byte() { return static_cast<uint8_t>(take(1)[0]); }
  template <class T>
  T number() {
    static_assert(std::endian::native == std::endian::little, "the format is little-endian");
    T value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
  std::string_view line() {
    const auto rest = std::string_view(reinterpret_cast<const char*>(bytes_.data()) + at_, bytes_.size() - at_);
    const size_t end = rest.find('\n');
    if (end == std::string_view::npos) refuse("the end of a line", "none: the pickle is cut short");
    at_ += end + 1;
    return rest.substr(0, end);
  }

  // --- stack
  void push(Value* value) { stack_.push_back(value); }
  Value* top() const {
    if (stack_.size() <= floor()) refuse("a value on the stack", "none");
    return stack_.back();
  }
  Value* pop() {
    Value* value = top();
    stack_.pop_back();
    return value;
  }
  size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }
  std::vector<Value*> pop_to_mark() {
    if (marks_.empty()) refuse("a mark on the stack", "none");
    const auto begin = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<Value*> items(begin, stack_.end());
    stack_.erase(begin, stack_.end());
    marks_.pop_back();
    return items;
  }
  std::vector<Value*> pop_count(size_t count) {
    if (stack_.size() - floor() < count) refuse(fmt::format("{} values on the stack", count), fmt::format("{}", stack_.size() - floor()));
    std::vector<Value*> items(stack_.end() - static_cast<std::ptrdiff_t>(count), stack_.end());
    stack_.resize(stack_.size() - count);
    return items;
  }
  Value* top_of(Kind kind, std::string_view what) const {
    Value* value = top();
    if (value->kind != kind) refuse(what, describe(*value));
    return value;
  }
  void append(Kind kind, std::string_view what, const std::vector<Value*>& items) {
    if (kind == Kind::kDict && items.size() % 2 != 0) refuse("pairs of key and value", "an odd number of values");
    if (top()->kind == Kind::kObject && is_unknown(*top())) return builder_.put_into(*top(), kind, items);
    auto& into = top_of(kind, what)->items();
    builder_.spend(items.size());
    into.insert(into.end(), items.begin(), items.end());
  }
  void remember(uint32_t key) { memo_[key] = top(); }
  Value* recall(uint32_t key) const {
    const auto found = memo_.find(key);
    if (found == memo_.end()) refuse(fmt::format("a value remembered under {}", key), "none");
    return found->second;
  }

  // --- values
  Value* text(std::string_view bytes) {
    if (!is_utf8(bytes)) refuse("text in UTF-8", "other bytes");
    return builder_.make(Kind::kText, bytes);
  }
  Value* bytes(std::string_view content) { return builder_.make(Kind::kBytes, content); }
  // Python 2's str may be either
  Value* string(std::string_view content) { return is_utf8(content) ? text(content) : bytes(content); }
  Value* integer(int64_t value) { return builder_.make(Kind::kInt, value); }
  Value* long_integer(std::string_view content) {
    if (content.size() > 8) return builder_.make(Kind::kBigInt, content);
    uint64_t value = !content.empty() && static_cast<int8_t>(content.back()) < 0 ? ~uint64_t{0} : 0;  // sign
    std::memcpy(&value, content.data(), content.size());
    return integer(static_cast<int64_t>(value));
  }
  Value* real() {
    const uint64_t swapped = __builtin_bswap64(number<uint64_t>());  // the one big-endian number of the format
    return builder_.make(Kind::kFloat, std::bit_cast<double>(swapped));
  }
  Value* global_from_stack() {
    const auto names = pop_count(2);
    if (names[0]->kind != Kind::kText || names[1]->kind != Kind::kText) refuse("a global's module and name as texts", describe(*names[0]));
    return builder_.global(names[0]->text(), names[1]->text());
  }
  Value* global_from_lines() {
    const std::string_view module = line(), name = line();
    if (!is_utf8(module) || !is_utf8(name)) refuse("a global's module and name in UTF-8", "other bytes");
    return builder_.global(module, name);
  }
  uint64_t length64() { return number<uint64_t>(); }

  void step(uint8_t code) {
    switch (code) {
      case kMark:
        if (marks_.size() >= max_marks) refuse(fmt::format("values nested at most {} deep", max_marks), "more");
        return marks_.push_back(stack_.size());
      case kPop:
        if (stack_.size() == floor() && !marks_.empty()) return marks_.pop_back();
        return static_cast<void>(pop());
      case kPopMark:
        return static_cast<void>(pop_to_mark());
      case kDup:
        return push(top());
      case kFrame:
        if (const uint64_t length = length64(); length > bytes_.size() - at_)
          refuse(fmt::format("a frame within the {} bytes left", bytes_.size() - at_), std::to_string(length));
        return;

      case kNone:
        return push(builder_.none());
      case kNewTrue:
      case kNewFalse:
        return push(builder_.boolean(code == kNewTrue));
      case kBinInt:
        return push(integer(number<int32_t>()));
      case kBinInt1:
        return push(integer(byte()));
      case kBinInt2:
        return push(integer(number<uint16_t>()));
      case kLong1:
        return push(long_integer(take(byte())));
      case kLong4:
        return push(long_integer(take(number<uint32_t>())));  // a negative length is one beyond the end
      case kBinFloat:
        return push(real());
      case kShortBinUnicode:
        return push(text(take(byte())));
      case kBinUnicode:
        return push(text(take(number<uint32_t>())));
      case kBinUnicode8:
        return push(text(take(length64())));
      case kShortBinString:
        return push(string(take(byte())));
      case kBinString:
        return push(string(take(number<uint32_t>())));
      case kShortBinBytes:
        return push(bytes(take(byte())));
      case kBinBytes:
        return push(bytes(take(number<uint32_t>())));
      case kBinBytes8:
      case kByteArray8:
        return push(bytes(take(length64())));

      case kEmptyList:
        return push(builder_.make_items(Kind::kList, {}));
      case kList:
        return push(builder_.make_items(Kind::kList, pop_to_mark()));
      case kAppend: {
        const auto items = pop_count(1);
        return append(Kind::kList, "a list to append to", items);
      }
      case kAppends: {
        const auto items = pop_to_mark();
        return append(Kind::kList, "a list to append to", items);
      }
      case kEmptyTuple:
        return push(builder_.make_items(Kind::kTuple, {}));
      case kTuple:
        return push(builder_.make_items(Kind::kTuple, pop_to_mark()));
      case kTuple1:
      case kTuple2:
      case kTuple3:
        return push(builder_.make_items(Kind::kTuple, pop_count(code - kTuple1 + 1u)));
      case kEmptyDict:
        return push(builder_.make_items(Kind::kDict, {}));
      case kDict: {
        const auto items = pop_to_mark();
        push(builder_.make_items(Kind::kDict, {}));
        return append(Kind::kDict, "a dict", items);
      }
      case kSetItem: {
        const auto items = pop_count(2);
        return append(Kind::kDict, "a dict to put a pair into", items);
      }
      case kSetItems: {
        const auto items = pop_to_mark();
        return append(Kind::kDict, "a dict to put pairs into", items);
      }
      case kEmptySet:
        return push(builder_.make_items(Kind::kSet, {}));
      case kFrozenSet:
        return push(builder_.make_items(Kind::kSet, pop_to_mark()));
      case kAddItems: {
        const auto items = pop_to_mark();
        return append(Kind::kSet, "a set to add to", items);
      }

      case kBinPut:
        return remember(byte());
      case kLongBinPut:
        return remember(number<uint32_t>());
      case kMemoize:
        return remember(static_cast<uint32_t>(memo_.size()));
      case kBinGet:
        return push(recall(byte()));
      case kLongBinGet:
        return push(recall(number<uint32_t>()));

      case kGlobal:
        return push(global_from_lines());
      case kStackGlobal:
        return push(global_from_stack());
      case kBinPersId:
        return push(builder_.persistent(pop()));
      case kReduce:
      case kNewObj: {
        const auto items = pop_count(2);
        return push(builder_.call(items[0], items[1]));
      }
      case kNewObjEx: {  // with arguments by name, which no class of the table has
        const auto items = pop_count(3);
        if (!is_unknown(*items[0]))
          refuse("instructions that make data", fmt::format("instruction 0x{:02x} on {}", code, describe(*items[0])));
        return push(builder_.call(items[0], items[1]));
      }
      case kBuild: {
        Value* state = pop();
        return builder_.set_state(top(), state);
      }
      default:
        refuse("instructions that make data, of protocols 2 to 5", fmt::format("instruction 0x{:02x}", code));
    }
  }

  std::span<const std::byte> bytes_;
  size_t at_ = 0;
  Builder builder_;
  std::vector<Value*> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<uint32_t, Value*> memo_;
};

}  // namespace

Tree parse(std::span<const std::byte> bytes, const std::string& subject, const TensorsById* tensors) {
  Tree tree;
  Machine machine(bytes, subject, tree, tensors);
  tree.root = machine.run();
  machine.require_end();
  return tree;
}

Tree parse_first(std::span<const std::byte>& bytes, const std::string& subject) {
  Tree tree;
  Machine machine(bytes, subject, tree);
  tree.root = machine.run();
  bytes = bytes.subspan(machine.used());
  return tree;
}

}  // namespace dinoxx::pickle
