#pragma once
#include <string>
#include <vector>

#include "method/method.hpp"

namespace dinoxx {

/// One column of guide.learn or guide.forget.
struct GuideColumn {
  std::string name;     ///< without the ":number"
  bool number = false;  ///< its values are numbers
  bool forget = false;
  std::string key() const { return forget ? "guide.forget" : "guide.learn"; }
};

/// Those of guide.learn, then those of guide.forget. UsageError for an empty name and for one given twice.
std::vector<GuideColumn> guide_columns(const Config& config);

/// Takes how many outputs heads have, where there are heads, as the data set says. UsageError where guide.outputs is given and says
/// otherwise.
void set_guide_outputs(Config& config, const std::vector<int64_t>& outputs);

/// Adds the terms of the columns of [guide], and heads where they have some (metadata guides: Gardès et al. 2026, arXiv 2606.05107). A
/// width that is not known (guide.outputs) counts as 1: of a configuration without its data.
void add_guides(MethodSpec& spec, const Config& resolved);

}  // namespace dinoxx
