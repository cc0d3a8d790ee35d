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

// Of the parameter, of which this rank may hold a part.
int64_t whole_numel(const Segment& segment) {
  return c10::multiply_integers(segment.shape);
}

// Which ranges of which segments there are.
class Coverage {
 public:
  void add(const checkpoint::EntryName& entry) { ranges_[{entry.buffer, entry.segment}].emplace_back(entry.begin, entry.end); }
  void check(const CheckpointTensors& tensors, const fs::path& source) {
    for (const auto& [buffer, flat] : tensors.split) {
      for (const Segment& segment : tensors.layout->segments) {
        const int64_t numel = whole_numel(segment);
        auto& ranges = ranges_[{buffer, segment.name}];
        std::sort(ranges.begin(), ranges.end());
        int64_t filled = 0;
        for (const auto& [begin, end] : ranges) {
          if (begin != filled) break;
          filled = end;
        }
        if (filled != numel || (!ranges.empty() && ranges.back().second != filled))
          fail_damaged(source, fmt::format("all {} elements of {} {} exactly once", numel, buffer, segment.name),
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
      const auto found = std::ranges::find(tensors.replicated, name, &NamedTensor::name);
      if (found == tensors.replicated.end()) fail_usage(source, "tensors of this run's model", fmt::format("\"{}\"", name), kOther);
      checkpoint::require_fit(found->tensor, found->tensor.numel(), view, fmt::format("{}, {}", source, name));
      checkpoint::copy_part(found->tensor, view, 0);
      replicated.insert(name);
      continue;
    }
    const auto buffer =
        std::find_if(tensors.split.begin(), tensors.split.end(), [&](const NamedTensor& t) { return t.name == entry.buffer; });
    const auto& segments = tensors.layout->segments;
    const auto segment = std::find_if(segments.begin(), segments.end(), [&](const Segment& s) { return s.name == entry.segment; });
    if (buffer == tensors.split.end() || segment == segments.end())
      fail_usage(source, "tensors of this run's model", fmt::format("\"{}\"", name), kOther);
    if (entry.begin < 0 || entry.begin > entry.end || entry.end > whole_numel(*segment))
      fail_usage(source, fmt::format("a range inside the {} elements of {}", whole_numel(*segment), segment->name),
                 fmt::format("\"{}\"", name), kOther);
    checkpoint::require_fit(buffer->tensor, entry.end - entry.begin, view, fmt::format("{}, {}", source, name));
    coverage.add(entry);
    const int64_t from = std::max(entry.begin, segment->first), to = std::min(entry.end, segment->first + segment->numel);
    if (from < to)
      checkpoint::copy_part(buffer->tensor.narrow(0, segment->offset + from - segment->first, to - from), view, from - entry.begin);
  }
}

// Not weights for other programs.
bool of_state(const json& record) {
  return record["name"].get<std::string>().starts_with("rank_");
}

}  // namespace

void load_checkpoint(Communicator& comm, const fs::path& checkpoint, const CheckpointTensors& tensors) {
  on_all_ranks(comm, [&] {
    const json manifest = read_manifest(checkpoint);
    int64_t index = 0;
    for (const json& record : manifest["files"])
      if (of_state(record) && index++ % comm.size() == comm.rank()) check_file(checkpoint, record);
  });
  on_all_ranks(comm, [&] {
    const json manifest = read_manifest(checkpoint);
    Coverage coverage;
    std::set<std::string> replicated;
    for (const json& record : manifest["files"]) {
      if (!of_state(record)) continue;
      const fs::path path = checkpoint / record["name"].get<std::string>();
      const SafetensorsFile file(path);
      load_entries(file, path.string(), tensors, coverage, replicated);
    }
    coverage.check(tensors, checkpoint);
    for (const auto& [name, tensor] : tensors.replicated)
      if (!replicated.contains(name)) fail_usage(checkpoint.string(), fmt::format("\"{}\"", name), "nothing of that name", kOther);
  });
}

}  // namespace dinoxx
