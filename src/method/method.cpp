#include "dinoxx/method/method.hpp"

#include <fmt/ranges.h>

#include <set>

#include "dinoxx/core/error.hpp"
#include "recipes.hpp"

namespace dinoxx {

const std::vector<MethodRow>& method_table() {
  static const std::vector<MethodRow> table = {
      {"dino", "DINO v1: cross-entropy between views with centring, multi-crop, EMA teacher", recipe_dino},
  };
  return table;
}

MethodSpec make_method(const Config& resolved) {
  const std::string& name = resolved.train.method;
  std::vector<std::string> names;
  for (const MethodRow& row : method_table()) {
    if (row.name == name) {
      MethodSpec spec = row.make(resolved);
      spec.name = name;
      check_method(spec);
      return spec;
    }
    names.push_back(row.name);
  }
  const std::string near = nearest_name(name, names);
  fail_usage("method", fmt::format("one of {}", fmt::join(names, ", ")), fmt::format("\"{}\"", name),
             near.empty() ? std::string("Choose one of the known methods") : fmt::format("Did you mean {}?", near));
}

namespace {

void check_need(const MethodSpec& spec, const LossTerm& term, Need need) {
  const std::string subject = fmt::format("method {}, loss term {}", spec.name, term.name);
  switch (need) {
    case Need::kTeacher:
      if (spec.teacher == TeacherPolicy::kNone)
        fail_usage(subject, "a teacher network", "none", "Give the method a teacher, or drop the term");
      return;
    case Need::kCentre:
      if (!spec.centre) fail_usage(subject, "a centre of the teacher's logits", "none", "Let the method keep a centre, or drop the term");
      return;
    case Need::kSeveralViews:
      if (spec.views.views.size() < 2)
        fail_usage(subject, "at least two views of each image", fmt::format("{}", spec.views.views.size()), "Add global or local views");
      if (!spec.views.views.front().global)
        fail_usage(subject, "at least one global view, which the teacher sees", "local views only", "Add a global view");
      return;
  }
}

void check_views(const MethodSpec& spec) {
  const std::string subject = fmt::format("views of method {}", spec.name);
  const auto& views = spec.views.views;
  if (views.empty()) fail_usage(subject, "at least one view", "none", "Add a global view");
  std::set<int> finished;
  for (size_t i = 1; i < views.size(); ++i) {
    const ViewSpec &before = views[i - 1], &view = views[i];
    if (view.global && !before.global)
      fail_usage(subject, "global views before local ones", view.name + " after " + before.name, "Reorder the views");
    if (view.global && view.size != before.size)
      fail_usage(subject, "global views of one size", fmt::format("{} and {} pixels", before.size, view.size), "Give them the same size");
    if (view.size != before.size) finished.insert(before.size);
    if (finished.contains(view.size))
      fail_usage(subject, "views of equal size side by side", fmt::format("{} pixels again at {}", view.size, view.name),
                 "Reorder the views");
  }
}

}  // namespace

void check_method(const MethodSpec& spec) {
  if (spec.terms.empty()) fail_usage("method " + spec.name, "at least one loss term", "none", "Add a term to the recipe");
  check_views(spec);
  for (const LossTerm& term : spec.terms)
    for (const Need need : term.needs) check_need(spec, term, need);
}

}  // namespace dinoxx
