#include <ATen/ATen.h>

#include <algorithm>
#include <map>
#include <set>

#include "checkpoint.hpp"
#include "comm/agree.hpp"
#include "dinoxx/base/error.hpp"
#include "entry.hpp"
#include "saved_run.hpp"

namespace dinoxx {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// Every file has been found whole by then: it is the configuration that is another one.
constexpr const char* kOther = "Resume with the configuration that was saved";

// Which ranges of which segments have been filled.
class Coverage {
 public:
  void add(const checkpoint::EntryName& entry) { ranges_[{entry.buffer, entry.segment}].emplace_back(entry.begin, entry.end); }
  void check(const CheckpointTensors& tensors, const fs::path& source) {
    for (const auto& [buffer, flat] : tensors.split) {
      for (const Segment& segment : tensors.layout->segments) {
        auto& ranges = ranges_[{buffer, segment.name}];
        std::sort(ranges.begin(), ranges.end());
        int64_t filled = 0;
        for (const auto& [begin, end] : ranges) {
          if (begin != filled) break;
          filled = end;
        }
        if (filled != segment.numel || (!ranges.empty() && ranges.back().second != filled))
          fail_damaged(source, fmt::format("all {} elements of {} {} exactly once", segment.numel, buffer, segment.name),
                       fmt::format("the first {}", filled));
      }
    }
  }

 private:
  std::map<std::pair<std::string, std::string>, std::vector<std::pair<int64_t, int64_t>>> ranges_;
};

void load_entries(const SafetensorsFile& file, const std::string& source, const CheckpointTensors& tensors, Coverage& coverage,
                  std::set<std::string>& replicated) {
  for (const auto& [name, view] : file.tensors()) {
    checkpoint::EntryName entry;
    if (!checkpoint::parse_entry(name, entry)) {
      const auto found =
          std::find_if(tensors.replicated.begin(), tensors.replicated.end(), [&](const NamedTensor& t) { return t.name == name; });
      if (found == tensors.replicated.end()) fail_usage(source, "tensors of this run's model", fmt::format("\"{}\"", name), kOther);
      checkpoint::copy_into(found->tensor, view, fmt::format("{}, {}", source, name));
      replicated.insert(name);
      continue;
    }
    const auto buffer =
        std::find_if(tensors.split.begin(), tensors.split.end(), [&](const NamedTensor& t) { return t.name == entry.buffer; });
    const auto& segments = tensors.layout->segments;
    const auto segment = std::find_if(segments.begin(), segments.end(), [&](const Segment& s) { return s.name == entry.segment; });
    if (buffer == tensors.split.end() || segment == segments.end())
      fail_usage(source, "tensors of this run's model", fmt::format("\"{}\"", name), kOther);
    if (entry.begin < 0 || entry.begin > entry.end || entry.end > segment->numel)
      fail_usage(source, fmt::format("a range inside the {} elements of {}", segment->numel, segment->name), fmt::format("\"{}\"", name),
                 kOther);
    checkpoint::copy_into(buffer->tensor.narrow(0, segment->offset + entry.begin, entry.end - entry.begin), view,
                          fmt::format("{}, {}", source, name));
    coverage.add(entry);
  }
}

}  // namespace

void load_checkpoint(Communicator& comm, const fs::path& checkpoint, const CheckpointTensors& tensors) {
  on_all_ranks(comm, [&] {
    const json manifest = read_manifest(checkpoint);
    Coverage coverage;
    std::set<std::string> replicated;
    for (const json& record : manifest["files"]) {
      const std::string name = record["name"];
      if (!name.starts_with("rank_")) continue;  // weights for other programs
      check_file(checkpoint, record);
      const fs::path path = checkpoint / name;
      const SafetensorsFile file(path);
      load_entries(file, path.string(), tensors, coverage, replicated);
    }
    coverage.check(tensors, checkpoint);
    for (const auto& [name, tensor] : tensors.replicated)
      if (!replicated.contains(name)) fail_usage(checkpoint.string(), fmt::format("\"{}\"", name), "nothing of that name", kOther);
  });
}

}  // namespace dinoxx
