#include "guides.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <string_view>

#include "config/config_conditions.hpp"
#include "dinoxx/base/error.hpp"
#include "guide_config.hpp"
#include "loss/guide.hpp"

namespace dinoxx {
namespace {

constexpr std::string_view kNumber = ":number";

void append_columns(const std::string& text, bool forget, std::vector<GuideColumn>& columns) {
  const std::string key = forget ? "guide.forget" : "guide.learn";
  for (size_t begin = 0; !text.empty() && begin <= text.size();) {
    const size_t comma = std::min(text.find(',', begin), text.size());
    std::string_view name = std::string_view(text).substr(begin, comma - begin);
    begin = comma + 1;
    while (name.starts_with(' ')) name.remove_prefix(1);
    while (name.ends_with(' ')) name.remove_suffix(1);
    const bool number = name.ends_with(kNumber);
    if (number) name.remove_suffix(kNumber.size());
    if (name.empty()) fail_usage(key, "names of label columns with commas between", fmt::format("\"{}\"", text), "Remove what is empty");
    if (std::ranges::find(columns, name, &GuideColumn::name) != columns.end())
      fail_usage(key, "each column once, in guide.learn or in guide.forget", fmt::format("{} again", name), "Remove one");
    columns.push_back({std::string(name), number, forget});
  }
}

}  // namespace

std::vector<GuideColumn> guide_columns(const Config& config) {
  std::vector<GuideColumn> columns;
  append_columns(config.guide->learn, false, columns);
  append_columns(config.guide->forget, true, columns);
  return columns;
}

void set_guide_outputs(Config& config, const std::vector<int64_t>& outputs) {
  auto& given = config.guide->outputs;
  if (!where::guide_heads().holds(config)) return;
  if (given && *given != outputs)
    fail_usage("guide.outputs", fmt::format("{}, as the columns of the data set have", fmt::join(outputs, ",")),
               fmt::format("{}", fmt::join(*given, ",")), "Leave it out");
  given = outputs;
}

namespace {

std::string metric(const GuideColumn& column, const char* what) {
  return fmt::format("guide_{}_{}", column.name, what);
}

// A term without parameters.
LossTerm distance_term(const GuideColumn& column, size_t target, double weight) {
  const auto loss = [column, target](const LossInputs& in) {
    LossOutputs out;
    out.loss = distance_correlation(in.student.features.narrow(0, 0, in.global_views), in.guide_targets.at(target), *in.comm);
    out.metrics = {{metric(column, "loss"), out.loss.detach()}};
    return out;
  };
  const auto check = [](const MethodSpec&, int64_t batch, int world_size) {
    if (batch * world_size < 4)
      fail_usage("train.batch_size", "at least four images for guide.forget", std::to_string(batch * world_size),
                 "Choose a larger batch, or guide.forget_by = reversal");
  };
  return {"guide_" + column.name, constant_weight(weight), loss, {}, check};
}

// `head`: of network.guides.
LossTerm head_term(const GuideColumn& column, size_t target, size_t head, double weight) {
  const auto loss = [column, target, head](const LossInputs& in) {
    const auto answer = [&](const at::Tensor& rows) { return in.guide_head(head, rows); };
    const double factor = column.forget ? -in.values.guide : in.values.guide;
    const GuideLoss found = (column.number ? guide_numbers : guide_classes)(in.student.features.narrow(0, 0, in.global_views),
                                                                            in.guide_targets.at(target), answer, factor, *in.comm);
    LossOutputs out;
    out.loss = found.loss;
    out.metrics = {{metric(column, "loss"), found.loss.detach()}, {metric(column, column.number ? "explained" : "accuracy"), found.figure}};
    return out;
  };
  return {"guide_" + column.name, constant_weight(weight), loss, {}};
}

}  // namespace

void add_guides(MethodSpec& spec, const Config& resolved) {
  const GuideConfig& guide = *resolved.guide;
  const std::vector<GuideColumn> columns = guide_columns(resolved);
  const auto hidden = static_cast<int>(guide.hidden_dim);
  spec.guides = columns.size();
  for (size_t i = 0; i < columns.size(); ++i) {
    const double weight = columns[i].forget ? *guide.forget_weight : *guide.learn_weight;
    if (columns[i].forget && guide.forget_by == "distance") {
      spec.terms.push_back(distance_term(columns[i], i, weight));
      continue;
    }
    const int64_t outputs = guide.outputs && i < guide.outputs->size() ? (*guide.outputs)[i] : 1;
    const size_t number = spec.network.guides.size();
    spec.network.guides.push_back(
        {fmt::format("guide_{}", number), MlpHeadConfig{.in_dim = static_cast<int>(feature_dim(spec.network.backbone)),
                                                        .hidden_dim = std::max(1, hidden),
                                                        .out_dim = static_cast<int>(outputs),
                                                        .layers = hidden > 0 ? 2 : 1,
                                                        .hidden_norm = false}});
    spec.terms.push_back(head_term(columns[i], i, number, weight));
  }
}

}  // namespace dinoxx
