#include "label_column_json.hpp"

#include <nlohmann/json.hpp>

namespace dinoxx {

nlohmann::json column_as_json(const LabelColumn& column) {
  nlohmann::json as_json = {{"name", column.name}, {"classes", column.classes}};
  if (!column.list.empty()) as_json["list"] = column.list;
  return as_json;
}

}  // namespace dinoxx
