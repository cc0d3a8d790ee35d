#include "label_table.hpp"

namespace dinoxx::eval {

std::vector<int8_t> LabelTable::column(const std::vector<int8_t>& part, size_t label) const {
  std::vector<int8_t> values;
  values.reserve(part.size() / labels());
  for (size_t at = label; at < part.size(); at += labels()) values.push_back(part[at]);
  return values;
}

LabelTable label_table(const Dataset& dataset, const EvalData& data, std::span<const BinaryLabel> labels) {
  LabelTable table;
  for (const BinaryLabel& label : labels) table.names.push_back(label.name);
  const auto fill = [&](const std::vector<uint64_t>& ids, std::vector<int8_t>& part) {
    part.reserve(ids.size() * labels.size());
    for (const uint64_t id : ids)
      for (const BinaryLabel& label : labels) part.push_back(label.of(dataset, id));
  };
  fill(data.memory, table.memory);
  fill(data.queries, table.queries);
  fill(data.validation, table.validation);
  return table;
}

LabelCount count_labels(std::span<const int8_t> column) {
  LabelCount count;
  for (const int8_t value : column) ++(value < 0 ? count.unknown : value == 1 ? count.yes : count.no);
  return count;
}

}  // namespace dinoxx::eval
