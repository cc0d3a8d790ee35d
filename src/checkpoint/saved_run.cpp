#include "saved_run.hpp"

#include <fmt/ranges.h>

#include "base/crc32c.hpp"
#include "base/json_text.hpp"
#include "base/mapped_file.hpp"
#include "comm/agree.hpp"
#include "comm/gather.hpp"
#include "history/checkpoint_folders.hpp"
#include "method/settings/resolve.hpp"

namespace dinoxx {

namespace fs = std::filesystem;
using nlohmann::json;

void check_file(const fs::path& checkpoint, const json& record) {
  const fs::path path = checkpoint / record["name"].get<std::string>();
  std::error_code code;
  const auto bytes = fs::file_size(path, code);
  if (code || bytes != record["bytes"].get<uint64_t>())
    fail_damaged(path, fmt::format("{} bytes", record["bytes"].get<uint64_t>()), code ? code.message() : fmt::format("{} bytes", bytes));
  const MappedFile mapped{FileDescriptor(path)};
  const std::string crc = fmt::format("{:08x}", crc32c(mapped.bytes().data(), mapped.bytes().size()));
  if (crc != record["crc32c"]) fail_damaged(path, fmt::format("CRC32C {}", record["crc32c"].get<std::string>()), crc);
}

SavedRun read_saved_run(const fs::path& checkpoint) {
  SavedRun run{checkpoint, read_manifest(checkpoint), {default_config(), {}}, 0, 0, {}};
  run.step = run.manifest["step"];
  run.position = run.manifest["position"];
  Config& config = run.settings.config;
  apply_settings(config, parse_settings(run.manifest.value("config", ""), (checkpoint / checkpoint::kManifest).string()));
  config = settled(config);
  if (const auto chosen = run.manifest.find("resolved"); chosen != run.manifest.end() && chosen->is_object()) {
    run.settings.chosen.emplace();
    for (const auto& [key, value] : chosen->items()) run.settings.chosen->insert(key);
  } else {
    run.note = "the checkpoint is of an earlier release: it does not say which values were chosen, nor of which branch it is";
  }
  return run;
}

void refuse_other_run(const fs::path& checkpoint, const std::vector<std::string>& keys) {
  fail_usage(checkpoint.string(), "a checkpoint of the configured run", fmt::format("another one: {}", fmt::join(keys, ", ")),
             "Resume with the saved configuration, or begin a new run with another --out (model.init_from takes its weights)");
}

std::string damage_of(Communicator& comm, const fs::path& checkpoint) {
  std::string damage;
  const auto check = [&] {
    if (!fs::exists(checkpoint / checkpoint::kManifest))
      fail_damaged(checkpoint / checkpoint::kManifest, "the list of its files", "no such file");
    const json manifest = read_manifest(checkpoint);
    if (const int64_t named = checkpoint_step(checkpoint); named >= 0 && manifest["step"] != named)
      fail_damaged(checkpoint, fmt::format("a checkpoint of step {}", named),
                   fmt::format("one of step {} (a folder that was renamed?)", json_text(manifest["step"])));
    int64_t index = 0;
    for (const json& record : manifest["files"])
      if (record["name"].get<std::string>().starts_with("rank_") && index++ % comm.size() == comm.rank()) check_file(checkpoint, record);
  };
  on_all_ranks(comm, [&] {
    try {
      check();
    } catch (const DamagedCheckpoint& error) {
      damage = error.what();
    }
  });
  for (const std::string& text : gather_texts(comm, damage))
    if (!text.empty()) return text;
  return {};
}

}  // namespace dinoxx
