#pragma once
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "dinoxx/data/views.hpp"
#include "dinoxx/loss/dino_loss.hpp"
#include "dinoxx/model/dino_head.hpp"

namespace dinoxx {

/// What a loss term wants from the rest of the spec. check_method refuses a spec that cannot provide it.
enum class Need {
  kTeacher,       ///< teacher logits of the global views
  kCentre,        ///< a running centre of the teacher's logits
  kSeveralViews,  ///< at least two views, at least one of them global: pairs of different views
};

/// What one step hands to every term.
struct LossInputs {
  at::Tensor student_logits;  ///< [V, B, K]
  at::Tensor teacher_logits;  ///< [G, B, K], the first G views; undefined without teacher
  at::Tensor centre;          ///< [K]; undefined when no term needs one
  double student_temp = 0.1, teacher_temp = 0.04;
};

/// What a term gives back. Nothing is committed by it: the step does so after all ranks have agreed that the loss is finite.
struct LossOutputs {
  at::Tensor loss;          ///< scalar, differentiable with respect to student_logits
  at::Tensor centre_sum;    ///< [K] for Centre::update after the sum over ranks; undefined when the term keeps no centre
  int64_t centre_rows = 0;  ///< local rows in centre_sum
  std::vector<std::pair<std::string, double>> metrics;  ///< for metrics.jsonl, local means
};

struct LossTerm {
  std::string name;
  double weight = 1.0;
  std::function<LossOutputs(const LossInputs&)> loss;
  std::vector<Need> needs;
};

enum class TeacherPolicy {
  kNone,  ///< no teacher network
  kEma,   ///< exponential moving average of the student
};

/// The head on top of the backbone.
struct HeadPlan {
  DinoHeadConfig config;
  bool norm_last_layer = true;  ///< weight_g stays 1 and gets no gradient
};

/// A method as data: one step function runs any of them.
struct MethodSpec {
  std::string name;
  ViewPlan views;
  HeadPlan head;
  TeacherPolicy teacher = TeacherPolicy::kEma;
  bool centre = false;  ///< a Centre of head.config.out_dim is kept
  std::vector<LossTerm> terms;
};

/// What a recipe is made from.
struct MethodOptions {
  DinoViewOptions views;
  HeadPlan head;
};

/// One row of the table of methods.
struct MethodRow {
  std::string name, summary;
  MethodSpec (*make)(const MethodOptions& options);
};
const std::vector<MethodRow>& method_table();

/// The named method's spec, checked. UsageError with the nearest name for an unknown one.
MethodSpec make_method(const std::string& name, const MethodOptions& options);

/// UsageError naming method, term and need when the spec cannot run: a term whose needs are not met, no terms, no view, views of one size
/// apart from each other, a global view after a local one, global views of different sizes.
void check_method(const MethodSpec& spec);

}  // namespace dinoxx
