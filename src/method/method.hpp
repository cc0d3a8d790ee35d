#pragma once
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "config/config.hpp"
#include "data_pipeline/augment/masks.hpp"
#include "data_pipeline/augment/views.hpp"
#include "dinoxx/loss/centre.hpp"
#include "dinoxx/loss/scores.hpp"
#include "network.hpp"

namespace dinoxx {

/// The values that change along a run.
struct StepValues {
  double lr = 0, weight_decay = 0, momentum = 0, teacher_temp = 0, patch_teacher_temp = 0;
  double gram_weight = 0, local_weight = 1;
  double guide = 1;  ///< share of the guides' gradient that reaches the backbone
  bool freeze_last_layer = false;
  bool hold_backbone = false;  ///< the average of the backbone stays as it is
  double thawed = 1;           ///< Thaw::share
  bool refresh_gram = false;   ///< the Gram teacher becomes the teacher before this step
  int64_t epoch = 0;
};

/// What a loss term wants from the rest of the spec. check_method refuses a spec that cannot provide it.
enum class Need {
  kTeacher,           ///< teacher outputs of the global views
  kSeveralViews,      ///< at least two views, at least one of them global: pairs of different views
  kTwoViews,          ///< exactly two views
  kMasks,             ///< masked patches and a patch head or a shared one
  kPatches,           ///< patch features of the student's global views
  kPatchMean,         ///< mean of the teacher's patch logits over all patches
  kGramTeacher,       ///< patch features of the Gram teacher
  kPredictor,         ///< a predictor behind the student's head
  kProjections,       ///< a predictor, and what goes into it beside what comes out
  kTeacherPatches,    ///< patch features of the teacher's global views
  kPatchProjections,  ///< all patches of the student's global views through its patch head
  kAnchor,            ///< features and patches of the global views by the network with which the student began
};

/// Which patches of the global crops are masked.
struct MaskInputs {
  at::Tensor masked;   ///< [G B, N] bool; undefined: none
  at::Tensor on_host;  ///< the same in host memory
  at::Tensor rows;     ///< [M] int64, their rows in [G B N]
  at::Tensor weights;  ///< [M] float64, 1 / (masked patches in the same crop)
  at::Tensor slots;    ///< [M] int64, local batch slot of each; in host memory
  int64_t crops = 0;   ///< global crops that they are of, masked or not
};

/// What a network gave for the views, as the losses over prototypes take it.
struct ViewScores {
  std::optional<Scores> views;    ///< [V, B, K]
  std::optional<Scores> patches;  ///< of the masked patches [M, K']; absent without
};

/// What one step hands to every term.
struct LossInputs {
  ForwardOutput student;  ///< of all V views
  ForwardOutput teacher;  ///< of the first G; undefined without teacher
  ViewScores student_scores, teacher_scores;
  std::optional<Scores> patch_mean;       ///< of the teacher's patches, [1, K']; absent where no term wants it
  at::Tensor gram_patches;                ///< [G B, N, D] on the student's grid; undefined without Gram teacher
  at::Tensor anchor_features;             ///< [G, B, D] of the original; undefined without an anchor
  at::Tensor anchor_patches;              ///< [G B, N, D]; the same
  at::Tensor centre, patch_centre;        ///< running centres [K], [K']
  std::vector<at::Tensor> guide_targets;  ///< of each guide [B]: StepInput::guides on the networks' device
  std::function<at::Tensor(size_t guide, const at::Tensor& features)> guide_head;  ///< Network::guide of the student
  MaskInputs masks;
  int64_t global_views = 0;
  uint64_t seed = 0, step = 0;  ///< for what a term draws
  StepValues values;
  Communicator* comm = nullptr;  ///< of the ranks whose batches make the whole batch
};

/// A number of a step, or one element of a tensor on the network's device that the host has not read: on a GPU it would wait for it.
struct Figure {
  Figure(double value) : number(value) {}
  Figure(at::Tensor value) : element(std::move(value)) {}
  double number = 0;
  at::Tensor element;  ///< any floating type; undefined: the number
};

/// What a term gives back. Nothing is committed by it: the step does so after all ranks have agreed that the loss is finite.
struct LossOutputs {
  at::Tensor loss;                 ///< scalar, differentiable with respect to the student's outputs
  std::optional<Figure> value;     ///< of `loss`, where the term has it in more digits or knows it; else `loss` is read
  CentreSum centre, patch_centre;  ///< for Centre::update after the sum over ranks; undefined when the term keeps none
  std::vector<std::pair<std::string, Figure>> metrics;  ///< for metrics.jsonl, local means
};

struct MethodSpec;

struct LossTerm {
  std::string name;
  std::function<double(const StepValues&)> weight;
  std::function<LossOutputs(const LossInputs&)> loss;
  std::vector<Need> needs;
  /// What it asks of `batch` images on each of `world_size` ranks: UsageError. Absent: nothing.
  std::function<void(const MethodSpec& spec, int64_t batch, int world_size)> check{};
};
/// A weight that stays.
std::function<double(const StepValues&)> constant_weight(double weight);

enum class TeacherPolicy {
  kNone,    ///< none; what is evaluated is the student
  kEma,     ///< exponential moving average of the student's parameters; running statistics come from the teacher's own forwards
  kFrozen,  ///< another network that stays as it is; an average of the student is kept beside it and evaluated
};

struct MaskPlan {
  MaskSpec spec;
  int patch_size = 0;             ///< pixels
  bool student_sees_all = false;  ///< the loss is taken at the masked patches, but nothing is hidden (distillation)
};

/// The Gram teacher: whose patches the student's are compared with.
struct GramPlan {
  std::string source;  ///< "ema": the teacher; a path; "": the teacher as it was at a refresh
  int patch_size = 0;  ///< pixels
  bool is_file() const { return !source.empty() && source != "ema"; }
};

/// A method as data: one step function runs any of them. Methods themselves: methods.hpp.
struct MethodSpec {
  std::string name;
  ViewPlan views;
  std::vector<ViewPlan> other_views;  ///< the same views in other sizes: each batch has one of all plans, by their shares
  NetworkConfig network;
  bool norm_last_layer = true;  ///< the last layer's weight_g stays 1 and gets no gradient
  int64_t rows_at_once = 0;     ///< of logits of prototypes, for which the loss is computed together; 0: all
  bool split_views = false;     ///< each view through the network by itself, so that batch statistics are a view's own (BYOL, SimCLR)
  TeacherPolicy teacher = TeacherPolicy::kEma;
  bool centre = false, patch_centre = false;  ///< running centres of the heads' widths are kept
  std::optional<MaskPlan> masks;
  std::optional<GramPlan> gram;
  bool anchor = false;  ///< the student is held to the network with which it began
  size_t guides = 0;    ///< columns of labels that the step is given (StepInput::guides)
  std::vector<LossTerm> terms;

  /// Whether the training keeps a network like the student for itself: a Gram teacher of its own, or the original of init.anchor.
  bool keeps_gram_network() const;
  /// Views that student and teacher see: all but the Gram teacher's own.
  int student_views() const;
  /// `views` and `other_views`.
  std::vector<ViewPlan> plans() const;
};

/// The network that a resolved configuration asks for.
BackboneConfig backbone_config(const Config& config);

/// The spec of config.train.method from a resolved configuration, checked. UsageError with the nearest name for an unknown one.
MethodSpec make_method(const Config& resolved);

/// UsageError naming method, term and need when the spec cannot run: a term whose needs are not met, no terms, no view, views of one size
/// apart from each other, a global view after a local one, global views of different sizes, other views in another resolution.
void check_method(const MethodSpec& spec);
/// UsageError when it cannot run with `batch` images on each of `world_size` ranks: groups that do not divide the batch, too few images for
/// masks or for what a term asks (LossTerm::check).
void check_batch(const MethodSpec& spec, int64_t batch, int world_size);

}  // namespace dinoxx
