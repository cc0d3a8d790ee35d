#include "checkpoint_folders.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/files.hpp"
#include "base/json_text.hpp"

namespace dinoxx {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::vector<fs::path> list_named(const fs::path& checkpoints, bool with_manifest) {
  std::vector<fs::path> found;
  std::error_code code;
  for (const auto& entry : fs::directory_iterator(checkpoints, code))
    if (checkpoint_step(entry.path()) >= 0 && fs::exists(entry.path() / checkpoint::kManifest) == with_manifest)
      found.push_back(entry.path());
  std::sort(found.begin(), found.end(), [](const fs::path& a, const fs::path& b) { return checkpoint_step(a) < checkpoint_step(b); });
  return found;
}

}  // namespace

void fail_damaged(const fs::path& file, const std::string& expected, const std::string& found) {
  throw DamagedCheckpoint(fmt::format("{}: expected {}, found {}. {}.", file.string(), expected, found, checkpoint::kDamaged));
}

std::filesystem::path teacher_file(const std::filesystem::path& checkpoint) {
  const std::filesystem::path one = checkpoint / checkpoint::kTeacher, index = one.string() + ".index.json";
  return !std::filesystem::exists(one) && std::filesystem::exists(index) ? index : one;
}

std::string checkpoint_name(int64_t step) {
  return fmt::format("step_{:08}", step);
}

int64_t checkpoint_step(const fs::path& checkpoint) {
  const std::string name = checkpoint.filename().string(), prefix = "step_";
  int64_t step = -1;
  if (!name.starts_with(prefix)) return -1;
  const auto [end, error] = std::from_chars(name.data() + prefix.size(), name.data() + name.size(), step);
  return error == std::errc() && end == name.data() + name.size() && step >= 0 && name == checkpoint_name(step) ? step : -1;
}

bool is_checkpoint(const fs::path& folder) {
  return folder.filename().string().starts_with("step_") && fs::exists(folder / checkpoint::kManifest);
}

std::vector<fs::path> list_checkpoints(const fs::path& checkpoints) {
  return list_named(checkpoints, /*with_manifest=*/true);
}

std::vector<fs::path> list_without_manifest(const fs::path& checkpoints) {
  return list_named(checkpoints, /*with_manifest=*/false);
}

std::string unfinished_name(int64_t step) {
  return fmt::format(".{}.partial", checkpoint_name(step));
}

std::vector<int64_t> list_unfinished(const fs::path& checkpoints) {
  std::vector<int64_t> steps;
  std::error_code code;
  for (const auto& entry : fs::directory_iterator(checkpoints, code)) {
    const std::string name = entry.path().filename().string();  // of a name that begins so, the stem is that of a checkpoint
    const int64_t step = name.starts_with(".") ? checkpoint_step(fs::path(name.substr(1)).stem()) : -1;
    if (step >= 0 && name == unfinished_name(step)) steps.push_back(step);
  }
  std::sort(steps.begin(), steps.end());
  return steps;
}

std::optional<fs::path> latest_checkpoint(const fs::path& run) {
  const auto all = list_checkpoints(run / "checkpoints");
  return all.empty() ? std::nullopt : std::optional(all.back());
}

void prune_checkpoints(const fs::path& checkpoints, int64_t keep, const std::function<bool(int64_t)>& stays) {
  const auto all = list_checkpoints(checkpoints);
  for (size_t i = 0; i + static_cast<size_t>(keep) < all.size(); ++i) {
    if (stays && stays(checkpoint_step(all[i]))) continue;
    fs::remove(all[i] / checkpoint::kManifest);
    sync_path(all[i]);
    fs::remove_all(all[i]);
  }
  std::error_code code;
  std::vector<fs::path> left_over = list_without_manifest(checkpoints);
  for (const auto& entry : fs::directory_iterator(checkpoints, code))
    if (entry.path().filename().string().starts_with(".step_")) left_over.push_back(entry.path());
  for (const fs::path& path : left_over) fs::remove_all(path, code);
}

json read_manifest(const fs::path& checkpoint) {
  const fs::path path = checkpoint / checkpoint::kManifest;
  if (!fs::exists(path))
    fail(checkpoint.string(), "a checkpoint folder with manifest.json", fs::exists(checkpoint) ? "none in it" : "no such folder",
         "Name a folder such as RUN/checkpoints/step_00001000");
  const json manifest = json::parse(read_text(path), nullptr, /*allow_exceptions=*/false);
  const auto damaged = [&](const std::string& expected, const std::string& found) { fail_damaged(path, expected, found); };
  if (!manifest.is_object()) damaged("a JSON object", "something else");
  if (!manifest.contains("format") || manifest["format"] != checkpoint::kFormat)
    damaged("a manifest of a dinoxx checkpoint", "another file");
  if (!manifest.contains("version") || manifest["version"] != checkpoint::kVersion)
    fail(path.string(), fmt::format("format version {}", checkpoint::kVersion), json_text(manifest.value("version", json())),
         "Use the version of dinoxx that wrote it");
  for (const char* key : {"step", "position", "world_size"})
    if (!manifest.contains(key) || !manifest[key].is_number_unsigned())
      damaged(fmt::format("a number \"{}\"", key), json_text(manifest.value(key, json())));
  if (!manifest.contains("files") || !manifest["files"].is_array()) damaged("a list of files", "none");
  for (const json& file : manifest["files"]) {
    const bool good = file.is_object() && file.contains("name") && file["name"].is_string() && file.contains("bytes") &&
                      file["bytes"].is_number_unsigned() && file.contains("crc32c") && file["crc32c"].is_string();
    if (!good) damaged("files with name, bytes and crc32c", json_text(file).substr(0, 80));
    const std::string name = file["name"];
    if (name.empty() || name.front() == '.' || name.find('/') != std::string::npos) damaged("plain file names", name);
  }
  return manifest;
}

}  // namespace dinoxx
