#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "dinoxx/base/error.hpp"

/// Checkpoint folders by name and manifest, without their tensors (checkpoint/checkpoint.hpp). The program asks a RunHistory; these are the
/// rules that it goes by.
namespace dinoxx {

namespace checkpoint {
inline constexpr const char* kManifest = "manifest.json";
inline constexpr const char* kFormat = "dinoxx checkpoint";
inline constexpr int kVersion = 1;
inline constexpr const char* kTeacher = "teacher.safetensors";  ///< the teacher's weights, for other programs too
/// What to do about a damaged one.
inline constexpr const char* kDamaged =
    "The checkpoint is damaged: --resume auto goes on from the newest one that is whole, --resume PATH from another";
}  // namespace checkpoint

/// Bytes of a checkpoint are not those that were written. Another configuration is no damage.
class DamagedCheckpoint : public Error {
  using Error::Error;
};
/// Throws it.
[[noreturn]] void fail_damaged(const std::filesystem::path& file, const std::string& expected, const std::string& found);

/// The file of a checkpoint that WeightFile opens for its teacher: teacher.safetensors, or the index of several. The former where there is
/// neither.
std::filesystem::path teacher_file(const std::filesystem::path& checkpoint);

/// "step_00001000".
std::string checkpoint_name(int64_t step);
/// The step that a checkpoint folder's name tells, -1 for another name: "step_00001000.bak" and "step_1000" are somebody's own.
int64_t checkpoint_step(const std::filesystem::path& checkpoint);

/// The manifest of a checkpoint folder, validated as far as load_checkpoint needs it. DamagedCheckpoint when it is damaged or of another
/// program, Error when there is none or a newer version wrote it.
nlohmann::json read_manifest(const std::filesystem::path& checkpoint);

/// By its name and a manifest in it.
bool is_checkpoint(const std::filesystem::path& folder);
/// Checkpoint folders that have a manifest, oldest first. Empty when there is none or no such folder.
std::vector<std::filesystem::path> list_checkpoints(const std::filesystem::path& checkpoints);
/// Folders with a checkpoint's name and no manifest: a removal that was interrupted, or a lost file. Oldest first.
std::vector<std::filesystem::path> list_without_manifest(const std::filesystem::path& checkpoints);
/// What a save that has not come to its end is called: ".step_00001000.partial".
std::string unfinished_name(int64_t step);
/// Steps of saves that were broken off, rising.
std::vector<int64_t> list_unfinished(const std::filesystem::path& checkpoints);
/// The newest of list_checkpoints() under `run`/checkpoints.
std::optional<std::filesystem::path> latest_checkpoint(const std::filesystem::path& run);

/// Removes all but the newest `keep` and those whose step `stays`, and what an interrupted save or removal left behind; nothing of another
/// name. The manifest goes first, so that a half-removed one is never taken for whole.
void prune_checkpoints(const std::filesystem::path& checkpoints, int64_t keep, const std::function<bool(int64_t step)>& stays = {});

}  // namespace dinoxx
