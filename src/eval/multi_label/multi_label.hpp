#pragma once
#include <nlohmann/json.hpp>
#include <string>

/// The protocol multi_label: images of which each may have several labels. Declared with the others in eval/run/protocols.hpp.
namespace dinoxx::eval {

inline constexpr const char* kMultiLabelKey = "multi_label";

/// For the terminal: a line for each kind of features and method, and a table of the labels of the first.
std::string multi_label_table(const nlohmann::json& suite);

}  // namespace dinoxx::eval
