#include "csv.hpp"

#include "data_pipeline/pack/pack_plan.hpp"

namespace dinoxx {

std::string csv_row(std::span<const std::string> fields) {
  std::string line;
  for (size_t i = 0; i < fields.size(); ++i) line += (i > 0 ? "," : "") + detail::csv_field(fields[i]);
  return line + "\n";
}

}  // namespace dinoxx
