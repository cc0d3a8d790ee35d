#include "weight_file.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "dinoxx/base/error.hpp"
#include "torch_archive.hpp"
#include "weight_file_state.hpp"

namespace dinoxx {
namespace {

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

[[noreturn]] void refuse_legacy(const std::string& path, std::string_view what) {
  fail(path, "a zip archive of torch.save (PyTorch 1.6 and later) or safetensors", what,
       fmt::format("Convert it in Python: torch.save(torch.load(\"{}\", map_location=\"cpu\", weights_only=True), \"new.pth\")", path));
}

void refuse_mistaken(std::span<const std::byte> bytes, const std::string& path) {
  const std::string_view start(reinterpret_cast<const char*>(bytes.data()), std::min<size_t>(bytes.size(), 512));
  if (start.empty()) fail(path, "a file of weights", "an empty file", "Copy or download it again");
  for (const Mistaken& kind : mistaken)
    if (start.starts_with(kind.start)) fail(path, "a file of weights (safetensors or torch.save)", kind.what, kind.advice);
  if (start.size() >= 2 && start[0] == '\x80' && start[1] >= 1 && start[1] <= 5) {
    // a length of safetensors may begin so too, but then its header follows
    if (start.size() < 9 || start[8] != '{') refuse_legacy(path, "a pickle without archive, as PyTorch before 1.6 wrote it");
  }
  if (start.size() >= 262 && start.substr(257, 5) == "ustar") refuse_legacy(path, "a tar archive, as PyTorch before 0.1.10 wrote it");
}

std::vector<int64_t> row_major(std::span<const int64_t> shape) {
  std::vector<int64_t> strides(shape.size(), 1);
  for (size_t i = shape.size(); i-- > 1;) {
    // extents of an empty tensor may be of any size; its strides mean nothing
    if (__builtin_mul_overflow(strides[i], std::max<int64_t>(shape[i], 1), &strides[i - 1])) strides[i - 1] = 0;
  }
  return strides;
}

std::filesystem::path file_in(const std::filesystem::path& folder) {
  static constexpr std::string_view names[] = {"model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
                                               "pytorch_model.bin.index.json"};
  for (const std::string_view name : names)
    if (std::filesystem::exists(folder / name)) return folder / name;
  fail_usage(folder.string(), "a folder with model.safetensors, pytorch_model.bin or an index of one of them", "none of these",
             "Name the file of weights itself");
}

}  // namespace

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
  const FileDescriptor file(path);
  State state;
  state.path = path;
  state.file_bytes = file.size();
  state.shards = {path.filename().string()};
  std::vector<std::byte> start(std::min<uint64_t>(state.file_bytes, 512));
  file.read_at(start, 0);
  refuse_mistaken(start, path.string());
  const bool zip = start.size() >= 4 && std::memcmp(start.data(), "PK\3\4", 4) == 0;
  if (zip) {
    state.format = WeightFormat::kTorchArchive;
    state.maps.emplace_back(file);
    TorchContent content = read_torch_archive(state.maps.back().bytes(), path.string());
    state.entries = std::move(content.tensors);
    state.settings = std::move(content.settings);
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
      state.entries.push_back({name, view.dtype, std::move(view.shape), std::move(strides), view.bytes, state.shards[0]});
    }
    for (auto& [key, value] : content.metadata) state.settings[key] = std::move(value);
  }
  if (access == FileAccess::kHeader) {
    for (WeightEntry& entry : state.entries) entry.bytes = {};
    state.maps.clear();
  }
  return state;
}

WeightFile WeightFile::open(const std::filesystem::path& path, FileAccess access) {
  std::error_code code;
  const std::filesystem::path found = std::filesystem::is_directory(path, code) ? file_in(path) : path;
  auto state = std::make_shared<State>(found.extension() == ".json" ? open_index(found, access) : open_single(found, access));
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
  if (entry.bytes.empty()) fail(entry.name, "a file opened with its data", "one opened for its header", "Open it with FileAccess::kData");
  if (entry.contiguous()) {
    std::memcpy(out.data(), entry.bytes.data(), bytes);
    return;
  }
  const size_t element = dtype_size(entry.dtype), dimensions = entry.shape.size();
  std::vector<int64_t> at(dimensions, 0);
  uint64_t from = 0;  // element
  for (uint64_t to = 0; to < bytes; to += element) {
    std::memcpy(out.data() + to, entry.bytes.data() + from * element, element);
    for (size_t i = dimensions; i-- > 0;) {
      from += static_cast<uint64_t>(entry.strides[i]);
      if (++at[i] < entry.shape[i]) break;
      from -= static_cast<uint64_t>(entry.strides[i]) * static_cast<uint64_t>(entry.shape[i]);
      at[i] = 0;
    }
  }
}

}  // namespace dinoxx
