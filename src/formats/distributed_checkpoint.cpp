#include "distributed_checkpoint.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <map>

#include "base/utf8.hpp"
#include "dinoxx/base/error.hpp"
#include "pickle_call.hpp"
#include "weight_file_state.hpp"

namespace dinoxx {
namespace {

using pickle::Kind;
using pickle::Value;
using Shape = std::vector<int64_t>;

constexpr size_t max_dimensions = 64;
constexpr size_t max_pieces = 10'000;  // of a tensor; each pair is compared
constexpr size_t max_name = 1024;
constexpr const char* advice =
    "Copy the whole folder again, or convert it in Python: torch.distributed.checkpoint.format_utils.dcp_to_torch_save";

[[noreturn]] void defect(const std::string& subject, std::string_view expected, std::string_view found) {
  fail(subject, expected, found, advice);
}

bool is_class(const Value& value, std::string_view name) {
  return value.kind == Kind::kObject && pickle::is_unknown(value) && value.items()[0]->global().name == name;
}

/// A field of a dataclass; nullptr when it has none of that name.
const Value* field(const Value& object, std::string_view name) {
  if (object.kind != Kind::kObject || object.items().size() < 4 || object.items()[3]->kind != Kind::kDict) return nullptr;
  const auto& state = object.items()[3]->items();
  for (size_t i = 0; i + 1 < state.size(); i += 2)
    if (state[i]->kind == Kind::kText && state[i]->text() == name) return state[i + 1];
  return nullptr;
}

const Value& required(const Value& object, std::string_view name, Kind kind, const std::string& subject) {
  const Value* value = field(object, name);
  if (!value || value->kind != kind)
    defect(subject, fmt::format("\"{}\" of {}", name, describe(object)), value ? describe(*value) : "none");
  return *value;
}

Shape integers(const Value& value, const std::string& subject) {
  Shape numbers;
  if (value.items().size() > max_dimensions) defect(subject, fmt::format("at most {} dimensions", max_dimensions), "more");
  for (const Value* item : value.items()) {
    if (item->kind != Kind::kInt || item->integer() < 0) defect(subject, "extents >= 0", describe(*item));
    numbers.push_back(item->integer());
  }
  return numbers;
}

uint64_t number(const Value& object, std::string_view name, const std::string& subject) {
  const int64_t value = required(object, name, Kind::kInt, subject).integer();
  if (value < 0) defect(subject, fmt::format("\"{}\" >= 0", name), std::to_string(value));
  return static_cast<uint64_t>(value);
}

struct Place {
  std::string file;
  uint64_t offset = 0, bytes = 0;
};
using Places = std::map<std::pair<std::string_view, Shape>, Place>;

/// The places of all pieces, by the tensor's name and the piece's first element.
Places places(const Value& storage, const std::string& subject) {
  Places all;
  for (size_t i = 0; i + 1 < storage.items().size(); i += 2) {
    const Value &index = *storage.items()[i], &info = *storage.items()[i + 1];
    if (!is_class(index, "MetadataIndex") || !is_class(info, "_StorageInfo"))
      defect(subject, "places of a folder (MetadataIndex: _StorageInfo)", fmt::format("{}: {}", describe(index), describe(info)));
    const Value* at = field(index, "offset");
    if (!at || at->kind != Kind::kTuple) continue;  // no tensor
    if (const Value* changed = field(info, "transform_descriptors"); changed && changed->kind != Kind::kNone)
      defect(subject, "pieces as they are", "pieces that were compressed or changed otherwise");
    Place place{std::string(required(info, "relative_path", Kind::kText, subject).text()), number(info, "offset", subject),
                number(info, "length", subject)};
    if (!plain_file_name(place.file))
      defect(subject, "names of files beside .metadata", fmt::format("\"{}\"", printable(place.file.substr(0, 200))));
    all.emplace(std::pair(required(index, "fqn", Kind::kText, subject).text(), integers(*at, subject)), std::move(place));
  }
  return all;
}

bool overlap(const StoredPiece& a, const StoredPiece& b) {
  for (size_t i = 0; i < a.at.size(); ++i)
    if (a.at[i] >= b.at[i] + b.shape[i] || b.at[i] >= a.at[i] + a.shape[i]) return false;
  return true;
}

/// Inside the tensor, disjoint, and as many elements as it has: then they cover it.
void check_cover(const DistributedTensor& tensor, const std::string& subject) {
  const auto elements = [&](const Shape& shape) { return contiguous_bytes(subject, DType::kU8, shape); };
  uint64_t covered = 0;
  for (const StoredPiece& piece : tensor.pieces) {
    bool inside = piece.at.size() == tensor.shape.size() && piece.shape.size() == tensor.shape.size();
    for (size_t i = 0; inside && i < tensor.shape.size(); ++i)
      inside = piece.shape[i] <= tensor.shape[i] && piece.at[i] <= tensor.shape[i] - piece.shape[i];
    if (!inside)
      defect(subject, fmt::format("pieces inside [{}]", fmt::join(tensor.shape, ", ")),
             fmt::format("[{}] at [{}]", fmt::join(piece.shape, ", "), fmt::join(piece.at, ", ")));
    covered += elements(piece.shape);
  }
  if (covered != elements(tensor.shape))
    defect(subject, fmt::format("pieces with the {} elements of the tensor", elements(tensor.shape)), fmt::format("{} elements", covered));
  for (size_t i = 0; i < tensor.pieces.size(); ++i)
    for (size_t j = 0; j < i; ++j)
      if (overlap(tensor.pieces[i], tensor.pieces[j])) defect(subject, "pieces that do not overlap", "two that do");
}

}  // namespace

std::vector<DistributedTensor> parse_distributed_metadata(std::span<const std::byte> bytes, const std::string& subject) {
  const pickle::Tree tree = pickle::parse(bytes, subject);
  const Value& root = *tree.root;
  if (!is_class(root, "Metadata")) defect(subject, "the metadata of torch.distributed.checkpoint", describe(root));
  const Places place_of = places(required(root, "storage_data", Kind::kDict, subject), subject);
  const auto& entries = required(root, "state_dict_metadata", Kind::kDict, subject).items();
  std::vector<DistributedTensor> tensors;
  for (size_t i = 0; i + 1 < entries.size(); i += 2) {
    if (is_class(*entries[i + 1], "BytesStorageMetadata")) continue;
    if (entries[i]->kind != Kind::kText || !is_class(*entries[i + 1], "TensorStorageMetadata") || entries[i]->text().size() > max_name)
      defect(subject, fmt::format("tensors under names of at most {} bytes", max_name),
             fmt::format("{}: {}", describe(*entries[i]), describe(*entries[i + 1])));
    const std::string where = fmt::format("{}, tensor \"{}\"", subject, entries[i]->text());
    DistributedTensor tensor{std::string(entries[i]->text()), integers(required(*entries[i + 1], "size", Kind::kTuple, where), where), {}};
    const auto& chunks = required(*entries[i + 1], "chunks", Kind::kList, where).items();
    if (chunks.size() > max_pieces) defect(where, fmt::format("at most {} pieces", max_pieces), std::to_string(chunks.size()));
    for (const Value* chunk : chunks) {
      StoredPiece piece{integers(required(*chunk, "offsets", Kind::kTuple, where), where),
                        integers(required(*chunk, "sizes", Kind::kTuple, where), where),
                        {}};
      if (std::find(piece.shape.begin(), piece.shape.end(), 0) != piece.shape.end() && chunks.size() > 1)
        continue;  // a rank without a share
      const auto place = place_of.find({entries[i]->text(), piece.at});
      if (place == place_of.end()) defect(where, fmt::format("a place of the piece at [{}]", fmt::join(piece.at, ", ")), "none");
      piece.file = place->second.file;
      piece.offset = place->second.offset;
      piece.bytes = place->second.bytes;
      tensor.pieces.push_back(std::move(piece));
    }
    check_cover(tensor, where);
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

}  // namespace dinoxx
