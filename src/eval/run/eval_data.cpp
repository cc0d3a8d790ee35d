#include "eval_data.hpp"

#include <algorithm>
#include <set>
#include <utility>

#include "dinoxx/base/error.hpp"
#include "eval/classify/units.hpp"
#include "eval/features/sample_rows.hpp"

namespace dinoxx::eval {
namespace {

constexpr const char* kLabelAdvice = "Pack images in class folders, or a list with labels (dinoxx pack --help).";

// Labelled ids of a split.
void labelled(const Dataset& dataset, Split split, std::vector<uint64_t>& ids, std::vector<int32_t>& labels, int64_t& unlabelled) {
  for (const uint64_t id : dataset.ids(split)) {
    const int32_t label = dataset.meta(id).label;
    if (label < 0) {
      ++unlabelled;
      continue;
    }
    ids.push_back(id);
    labels.push_back(label);
  }
}

void hold_out(const Dataset& dataset, EvalData& data, double share, uint64_t seed) {
  const std::vector<uint64_t> units = units_of(dataset, data.memory);
  const std::vector<size_t> rows = held_out_rows(data.memory, data.memory_labels, units, share, seed);
  if (rows.empty()) {
    fail_usage(
        "evaluation",
        "a val split, or a class with at least two labelled images (of different groups, and not copies of each other) to hold one out",
        "neither", "Pack more images, or add a val split.");
  }
  std::vector<uint64_t> memory;
  std::vector<int32_t> memory_labels;
  size_t next = 0;
  bool whole_units = false;
  for (size_t row = 0; row < data.memory.size(); ++row) {
    const bool held = next < rows.size() && rows[next] == row;
    next += held ? 1 : 0;
    whole_units |= held && units[row] != 0;
    (held ? data.queries : memory).push_back(data.memory[row]);
    (held ? data.query_labels : memory_labels).push_back(data.memory_labels[row]);
  }
  data.memory = std::move(memory);
  data.memory_labels = std::move(memory_labels);
  if (whole_units) data.notes.push_back("held out by whole groups; copies of one image count as a group");
  data.memory_source = "train without its held-out part";
  data.query_source = "part of train held out of the memory";
}

void thin_out(EvalData& data, int64_t most, uint64_t seed) {
  const size_t count = data.memory.size(), keep = static_cast<size_t>(most);
  if (count <= keep) return;
  std::vector<uint64_t> memory;
  std::vector<int32_t> labels;
  for (const int64_t row : sample_rows(data.memory, keep, seed, lane(Lane::kThin))) {
    memory.push_back(data.memory[row]);
    labels.push_back(data.memory_labels[row]);
  }
  data.memory = std::move(memory);
  data.memory_labels = std::move(labels);
  data.notes.push_back(fmt::format("memory limited to {} of {} images", keep, count));
}

EvalData memory_of(const Dataset& dataset) {
  EvalData data;
  data.memory_source = "train";
  labelled(dataset, Split::kTrain, data.memory, data.memory_labels, data.unlabelled);
  if (!dataset.has_split(Split::kTrain))
    fail_usage("evaluation", "a train split, which k-NN uses as its memory", "none", "Pack the data with a train split.");
  if (data.memory.empty())
    fail_usage("evaluation", "labels in the train split", fmt::format("{} images without any", data.unlabelled), kLabelAdvice);
  return data;
}

void use_queries(const Dataset& dataset, Split split, EvalData& data) {
  const int64_t before = data.unlabelled;
  data.query_source = split_name(split);
  labelled(dataset, split, data.queries, data.query_labels, data.unlabelled);
  if (data.queries.empty()) {
    fail_usage("evaluation", fmt::format("labels in the {} split", split_name(split)),
               fmt::format("{} images without any", data.unlabelled - before), kLabelAdvice);
  }
}

void note_other_columns(const Dataset& dataset, EvalData& data) {
  const std::vector<LabelColumn>& columns = dataset.label_columns();
  if (columns.size() < 2 || !columns[0].list.empty()) return;
  std::string others;
  for (size_t i = 1; i < columns.size(); ++i) others += (i > 1 ? ", " : "") + columns[i].name;
  data.notes.push_back(fmt::format("\"{}\" is predicted; other label columns, for --label and --by: {}", columns[0].name, others));
}

// Whether the split is there and any of its images has a label. A split that has none is not scored on, with a note.
bool can_be_scored(const Dataset& dataset, Split split, EvalData& data) {
  if (!dataset.has_split(split)) return false;
  const std::vector<uint64_t> ids = dataset.ids(split);
  if (std::any_of(ids.begin(), ids.end(), [&](uint64_t id) { return dataset.meta(id).label >= 0; })) return true;
  data.notes.push_back(fmt::format("the {} split has no labels ({} images): not scored on", split_name(split), ids.size()));
  return false;
}

// Classes, and the checks that need both halves.
void finish(const Dataset& dataset, EvalData& data) {
  std::set<int32_t> seen(data.memory_labels.begin(), data.memory_labels.end());
  seen.insert(data.query_labels.begin(), data.query_labels.end());
  if (seen.size() < 2) {
    fail_usage("evaluation", "labelled images of at least two classes",
               fmt::format("one class only ({} images)", data.memory.size() + data.queries.size()),
               "Every prediction would be right; pack images of the other classes too.");
  }
  seen.insert(data.validation_labels.begin(), data.validation_labels.end());
  data.classes = std::max(static_cast<int>(dataset.class_names().size()), *seen.rbegin() + 1);
  for (std::string& note : dataset.notes()) data.notes.push_back(std::move(note));
  if (data.unlabelled > 0) data.notes.push_back(fmt::format("{} images without a label are left out", data.unlabelled));
}

}  // namespace

void drop_unseen_validation(EvalData& data) {
  const std::set<int32_t> learned(data.memory_labels.begin(), data.memory_labels.end());
  std::set<int32_t> unseen;
  size_t kept = 0;
  for (size_t row = 0; row < data.validation.size(); ++row) {
    if (!learned.contains(data.validation_labels[row])) {
      unseen.insert(data.validation_labels[row]);
      continue;
    }
    data.validation[kept] = data.validation[row];
    data.validation_labels[kept++] = data.validation_labels[row];
  }
  if (unseen.empty()) return;
  data.notes.push_back(fmt::format("{} val images of {} classes without a training image are not used to choose settings{}",
                                   data.validation.size() - kept, unseen.size(),
                                   kept == 0 ? "; none is left: settings are chosen on folds of train" : ""));
  data.validation.resize(kept);
  data.validation_labels.resize(kept);
}

EvalData choose_eval_data(const Dataset& dataset, std::optional<Split> split, uint64_t seed) {
  EvalData data = memory_of(dataset);
  if (split && *split == Split::kTrain) {
    fail_usage("evaluation", "queries from val or test", "train, which is the memory", "Use --split test or --split val.");
  }
  if (split && !dataset.has_split(*split)) {
    fail_usage("evaluation", fmt::format("a {} split", split_name(*split)), "none in this data set",
               "Pack one, or leave --split out to take what there is.");
  }
  if (split) {
    use_queries(dataset, *split, data);
  } else if (can_be_scored(dataset, Split::kTest, data)) {
    use_queries(dataset, Split::kTest, data);
  } else if (can_be_scored(dataset, Split::kVal, data)) {
    use_queries(dataset, Split::kVal, data);
    data.notes.push_back("no test split with labels: scored on val");
  } else {
    hold_out(dataset, data, kHeldOutShare, seed);
    data.notes.push_back(
        "no test or val split with labels: scored on a tenth of train that is held out; pre-training has seen these images (without "
        "labels)");
  }
  if (data.query_source == split_name(Split::kTest)) {
    int64_t unlabelled_of_val = 0;
    labelled(dataset, Split::kVal, data.validation, data.validation_labels, unlabelled_of_val);
    drop_unseen_validation(data);
  }
  finish(dataset, data);
  note_other_columns(dataset, data);
  return data;
}

EvalData choose_probe_data(const Dataset& dataset, uint64_t seed, double held_out, int64_t max_memory) {
  EvalData data = memory_of(dataset);
  if (can_be_scored(dataset, Split::kVal, data)) {
    use_queries(dataset, Split::kVal, data);
  } else if (held_out > 0) {
    hold_out(dataset, data, held_out, seed);
  } else {
    fail_usage("evaluation during training", "a val split, or a part of train to hold out", "neither", "Pack a val split.");
  }
  if (max_memory > 0) thin_out(data, max_memory, seed);
  finish(dataset, data);
  return data;
}

}  // namespace dinoxx::eval
