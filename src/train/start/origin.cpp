#include "origin.hpp"

#include <fmt/ranges.h>

#include "comm/agree.hpp"
#include "dinoxx/base/error.hpp"

namespace dinoxx {

namespace fs = std::filesystem;

Origin find_origin(Communicator& comm, const std::string& asked, const std::string& command, const RunHistory& history) {
  Origin origin;
  std::vector<fs::path> points;
  std::string resume;
  on_all_ranks(comm, [&] {
    resume = history.what_resume_means(asked, command);
    points = history.resume_points(resume);
  });
  std::string list;
  for (const fs::path& point : points) list += point.string() + "\n";
  ranks_must_agree(comm, list, "checkpoint to resume from");
  origin.searched = resume == "auto" || resume == "strict";  // one that was named is read and compared when it is loaded
  for (const fs::path& point : points) {
    if (std::string damage = origin.searched ? damage_of(comm, point) : ""; !damage.empty()) {
      if (resume == "strict") throw AgreedError(damage, ExitCode::kFailed);
      origin.damaged.push_back(point);
      origin.told.push_back(std::move(damage));
      continue;
    }
    on_all_ranks(comm, [&] { origin.from = read_saved_run(point); });
    return origin;
  }
  if (!origin.damaged.empty())
    throw AgreedError(fmt::format("{}: expected a checkpoint that is whole, found damage in all {}: {}",
                                  history.checkpoints_folder().string(), points.size(), fmt::join(origin.told, " ")),
                      ExitCode::kFailed);
  return origin;
}

}  // namespace dinoxx
