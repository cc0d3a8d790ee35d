#include "weight_file.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/regular_file.hpp"
#include "base/utf8.hpp"
#include "dinoxx/base/error.hpp"
#include "torch_archive.hpp"
#include "weight_file_state.hpp"

namespace dinoxx {
namespace {

constexpr const char* distributed_metadata = ".metadata";

// Files that are mistaken for weights, by their first bytes: what they are and what to do.
struct Mistaken {
  std::string_view start, what, advice;
};
constexpr Mistaken mistaken[] = {
    {"version https://git-lfs", "a pointer of git LFS", "Fetch the file itself, for example with git lfs pull"},
    {"<", "a text such as a web page or XML", "Download the file again; the server may have asked for a login"},
    {"\x1f\x8b", "gzip data", "Unpack it first"},
    {"\x89HDF", "an HDF5 file", "Convert it to safetensors"},
    {"GGUF", "a GGUF file", "Take the safetensors file of the same model"},
};

void refuse_mistaken(std::span<const std::byte> bytes, const std::string& path) {
  const std::string_view start(reinterpret_cast<const char*>(bytes.data()), std::min<size_t>(bytes.size(), 512));
  if (start.empty()) fail(path, "a file of weights", "an empty file", "Copy or download it again");
  for (const Mistaken& kind : mistaken)
    if (start.starts_with(kind.start)) fail(path, "a file of weights (safetensors or torch.save)", kind.what, kind.advice);
}

/// Which reader of torch_archive.hpp takes a file that begins so; nullptr: none of them.
using TorchReader = TorchContent (*)(std::span<const std::byte>, const std::string&);
TorchReader torch_reader(std::span<const std::byte> bytes) {
  const std::string_view start(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (start.starts_with("PK\3\4")) return read_torch_archive;
  // a length of safetensors may begin so too, but then its header follows
  if (start.size() >= 2 && start[0] == '\x80' && start[1] >= 1 && start[1] <= 5 && (start.size() < 9 || start[8] != '{'))
    return read_torch_pickles;
  if (start.size() >= 262 && start.substr(257, 5) == "ustar") return read_torch_tar;
  return nullptr;
}

/// Advice for a folder without weights: a checkpoint below it, where the official code of DINOv3 puts them.
std::string near_folder(const std::filesystem::path& folder) {
  std::error_code code;
  std::vector<std::string> found;
  for (const std::filesystem::path& parent : {folder, folder / "ckpt"})
    for (const auto& entry : std::filesystem::directory_iterator(parent, code))
      if (std::filesystem::exists(entry.path() / distributed_metadata, code)) found.push_back(entry.path().string());
  if (found.empty()) return "Name the file of weights itself";
  std::sort(found.begin(), found.end());
  return fmt::format("Name one of the checkpoints in it: {}{}", printable(found.front()), found.size() > 1 ? ", ..." : "");
}

std::filesystem::path file_in(const std::filesystem::path& folder) {
  if (const auto file = weights_in_folder(folder)) return *file;
  fail_usage(folder.string(),
             "a folder with model.safetensors, pytorch_model.bin, an index of one of them, or .metadata of torch.distributed.checkpoint",
             "none of these", near_folder(folder));
}

/// Copies a piece of `shape`, whose first element is at from[0] and to[0]; strides in elements.
void copy_strided(const std::byte* from, std::span<const int64_t> from_strides, std::byte* to, std::span<const int64_t> to_strides,
                  std::span<const int64_t> shape, size_t element) {
  if (shape.empty() || (shape.size() == 1 && from_strides[0] == 1 && to_strides[0] == 1)) {
    std::memcpy(to, from, element * (shape.empty() ? 1 : static_cast<size_t>(shape[0])));
    return;
  }
  for (int64_t i = 0; i < shape[0]; ++i)
    copy_strided(from + static_cast<size_t>(i * from_strides[0]) * element, from_strides.subspan(1),
                 to + static_cast<size_t>(i * to_strides[0]) * element, to_strides.subspan(1), shape.subspan(1), element);
}

}  // namespace

std::vector<int64_t> row_major(std::span<const int64_t> shape) {
  std::vector<int64_t> strides(shape.size(), 1);
  for (size_t i = shape.size(); i-- > 1;) {
    // extents of an empty tensor may be of any size; its strides mean nothing
    if (__builtin_mul_overflow(strides[i], std::max<int64_t>(shape[i], 1), &strides[i - 1])) strides[i - 1] = 0;
  }
  return strides;
}

std::string_view format_name(WeightFormat format) {
  switch (format) {
    case WeightFormat::kSafetensors:
      return "safetensors";
    case WeightFormat::kTorchArchive:
      return "archive of torch.save";
    case WeightFormat::kDistributed:
      return "folder of torch.distributed.checkpoint";
  }
  return "";
}

std::optional<std::filesystem::path> weights_in_folder(const std::filesystem::path& folder) {
  std::error_code code;
  for (const char* name :
       {"model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json", distributed_metadata})
    if (std::filesystem::exists(folder / name, code)) return folder / name;
  return std::nullopt;
}

uint64_t WeightEntry::element_count() const {
  return byte_count() / dtype_size(dtype);
}
uint64_t WeightEntry::byte_count() const {
  return contiguous_bytes(name, dtype, shape);
}

bool WeightEntry::contiguous() const {
  if (element_count() == 0) return true;
  int64_t expected = 1;
  for (size_t i = shape.size(); i-- > 0;) {
    if (shape[i] != 1 && strides[i] != expected) return false;
    expected *= shape[i];
  }
  return true;
}

WeightFile::State WeightFile::open_single(const std::filesystem::path& path, FileAccess access) {
  const FileDescriptor file = open_regular(path);
  State state;
  state.path = path;
  state.file_bytes = file.size();
  state.shards = {path.filename().string()};
  std::vector<std::byte> start(std::min<uint64_t>(state.file_bytes, 512));
  file.read_at(start, 0);
  refuse_mistaken(start, path.string());
  if (const TorchReader reader = torch_reader(start)) {
    state.format = WeightFormat::kTorchArchive;
    state.maps.emplace_back(file);
    TorchContent content = reader(state.maps.back().bytes(), path.string());
    state.entries = std::move(content.tensors);
    state.settings = std::move(content.settings);
    state.unread = std::move(content.unread);
    for (WeightEntry& entry : state.entries) entry.shard = state.shards[0];
  } else {
    uint64_t head = state.file_bytes;
    if (access == FileAccess::kHeader && start.size() >= 8) {
      uint64_t length = 0;
      std::memcpy(&length, start.data(), sizeof length);
      if (length < state.file_bytes - 8) head = 8 + length;  // parse_safetensors judges the others
    }
    state.maps.emplace_back(file, head);
    SafetensorsContent content = parse_safetensors(state.maps.back().bytes(), state.file_bytes, path.string());
    for (auto& [name, view] : content.tensors) {
      std::vector<int64_t> strides = row_major(view.shape);
      state.entries.push_back({name, view.dtype, std::move(view.shape), std::move(strides), view.bytes, state.shards[0], {}});
    }
    for (auto& [key, value] : content.metadata) state.settings[key] = std::move(value);
  }
  drop_data(state, access);
  return state;
}

void WeightFile::drop_data(State& state, FileAccess access) {
  if (access != FileAccess::kHeader) return;
  for (WeightEntry& entry : state.entries) {
    entry.bytes = {};
    entry.pieces.clear();
  }
  state.maps.clear();
}

WeightFile WeightFile::open(const std::filesystem::path& path, FileAccess access) {
  std::error_code code;
  const std::filesystem::path found = std::filesystem::is_directory(path, code) ? file_in(path) : path;
  auto state = std::make_shared<State>(found.filename() == distributed_metadata ? open_distributed(found, access)
                                       : found.extension() == ".json"           ? open_index(found, access)
                                                                                : open_single(found, access));
  for (WeightEntry& entry : state->entries) entry.name = printable(entry.name);  // what reaches a terminal; no network has such names
  for (size_t i = 0; i < state->entries.size(); ++i)
    if (!state->index.emplace(state->entries[i].name, i).second)
      fail(found.string(), "a tensor name once", fmt::format("\"{}\" twice", state->entries[i].name), "Make or download the file again");
  return WeightFile(std::move(state));
}

WeightFormat WeightFile::format() const {
  return state_->format;
}
const std::filesystem::path& WeightFile::path() const {
  return state_->path;
}
const std::vector<std::string>& WeightFile::shards() const {
  return state_->shards;
}
uint64_t WeightFile::file_bytes() const {
  return state_->file_bytes;
}
const std::vector<WeightEntry>& WeightFile::entries() const {
  return state_->entries;
}
const nlohmann::json& WeightFile::settings() const {
  return state_->settings;
}

const std::vector<std::string>& WeightFile::unread() const {
  return state_->unread;
}

const WeightEntry* WeightFile::find(std::string_view name) const {
  const auto found = state_->index.find(name);
  return found == state_->index.end() ? nullptr : &state_->entries[found->second];
}

const WeightEntry& WeightFile::at(std::string_view name) const {
  if (const WeightEntry* entry = find(name)) return *entry;
  std::vector<std::string> names;
  for (const WeightEntry& entry : entries()) names.push_back(entry.name);
  const std::string near = nearest_name(name, names);
  fail(path().string(), fmt::format("a tensor \"{}\"", name), fmt::format("{} tensors of other names", names.size()),
       near.empty() ? "Is this the right file?" : fmt::format("Did you mean \"{}\"?", near));
}

void copy_contiguous(const WeightEntry& entry, std::span<std::byte> out) {
  const uint64_t bytes = entry.byte_count();
  if (out.size() != bytes)
    fail(entry.name, fmt::format("room for {} bytes", bytes), fmt::format("{}", out.size()), "Pass a buffer of byte_count()");
  if (bytes == 0) return;
  if (!entry.has_data()) fail(entry.name, "a file opened with its data", "one opened for its header", "Open it with FileAccess::kData");
  const size_t element = dtype_size(entry.dtype);
  const std::vector<int64_t> strides = row_major(entry.shape);
  for (const WeightPiece& piece : entry.pieces) {
    int64_t first = 0;
    for (size_t i = 0; i < strides.size(); ++i) first += piece.at[i] * strides[i];
    copy_strided(piece.bytes.data(), piece.strides, out.data() + static_cast<size_t>(first) * element, strides, piece.shape, element);
  }
  if (!entry.pieces.empty()) return;
  if (entry.contiguous())
    std::memcpy(out.data(), entry.bytes.data(), bytes);
  else
    copy_strided(entry.bytes.data(), entry.strides, out.data(), strides, entry.shape, element);
}

}  // namespace dinoxx
