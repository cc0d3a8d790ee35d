#pragma once
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "dinoxx/core/config.hpp"
#include "dinoxx/data/views.hpp"
#include "dinoxx/loss/dino_loss.hpp"
#include "dinoxx/method/network.hpp"

namespace dinoxx {

/// The values that change along a run.
struct StepValues {
  double lr = 0, weight_decay = 0, momentum = 0, teacher_temp = 0;
  bool freeze_last_layer = false;
  int64_t epoch = 0;
};

/// What a loss term wants from the rest of the spec. check_method refuses a spec that cannot provide it.
enum class Need {
  kTeacher,       ///< teacher outputs of the global views
  kCentre,        ///< a running centre of the teacher's logits
  kSeveralViews,  ///< at least two views, at least one of them global: pairs of different views
};

/// What one step hands to every term.
struct LossInputs {
  ForwardOutput student;  ///< of all V views
  ForwardOutput teacher;  ///< of the first G; undefined without teacher
  at::Tensor centre;      ///< [K]; undefined when no term needs one
  double student_temp = 0.1;
  StepValues values;
};

/// What a term gives back. Nothing is committed by it: the step does so after all ranks have agreed that the loss is finite.
struct LossOutputs {
  at::Tensor loss;          ///< scalar, differentiable with respect to the student's outputs
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
  kEma,   ///< exponential moving average of the student's parameters; running statistics come from the teacher's own forwards
};

/// A method as data: one step function runs any of them.
struct MethodSpec {
  std::string name;
  ViewPlan views;
  NetworkConfig network;
  bool norm_last_layer = true;  ///< the last layer's weight_g stays 1 and gets no gradient
  TeacherPolicy teacher = TeacherPolicy::kEma;
  bool centre = false;  ///< a Centre of the head's width is kept
  std::vector<LossTerm> terms;
};

/// The network that a resolved configuration asks for.
BackboneConfig backbone_config(const Config& config);

/// One row of the table of methods.
struct MethodRow {
  std::string name, summary;
  MethodSpec (*make)(const Config& resolved);
};
const std::vector<MethodRow>& method_table();

/// The spec of config.train.method from a resolved configuration, checked. UsageError with the nearest name for an unknown one.
MethodSpec make_method(const Config& resolved);

/// UsageError naming method, term and need when the spec cannot run: a term whose needs are not met, no terms, no view, views of one size
/// apart from each other, a global view after a local one, global views of different sizes.
void check_method(const MethodSpec& spec);

}  // namespace dinoxx
