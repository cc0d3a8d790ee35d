#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "step/train_state.hpp"

/// Weights that a run takes from elsewhere. Each function returns lines for the log and throws a UsageError, nothing changed, when the file
/// does not hold what the configuration wants. They write the masters; broadcast_parameters() then publishes them. A path may be a run
/// folder (its newest checkpoint's teacher), a checkpoint or a weight file.
namespace dinoxx {

/// The weight file behind a run folder, a checkpoint or itself; `key` for the message when there is none.
std::filesystem::path weight_path(const char* key, const std::filesystem::path& path);

/// Student and teacher (and Gram teacher) begin with a backbone (model.init_from), and with the heads where it is dinoxx's own file of a
/// teacher with equal ones: a new stage goes on where the former ended. Other heads keep their random values.
std::vector<std::string> init_from(const std::filesystem::path& path, const Config& config, TrainState& state);

/// The Gram teacher's backbone (gram.teacher).
std::vector<std::string> load_gram_teacher(const std::filesystem::path& path, const Config& config, TrainState& state);

/// Whether the prototypes of the teacher behind teacher.distill have weight norm, as its student's then have.
bool frozen_teacher_has_weight_norm(const Config& config);

/// Of the feature of the bare backbone behind teacher.distill.
int64_t frozen_teacher_width(const Config& config);

/// The frozen teacher of a distillation (teacher.distill). Of distill_features a backbone of any kind, for which heads are of no use; its
/// patches must divide the global crops. Else the network, heads included, that a run of dinoxx saved, or one in a training
/// checkpoint of DINO, DINOv2 or DINOv3 ("teacher.backbone.*" with head.*, or dino_head.* and ibot_head.*). Its heads must have as many
/// prototypes as the student's, its patches the student's size, and its input, which is the student's, the same normalisation. What no
/// shape shows is as the file and what stands beside it say, or teacher.facts; contradictions are refused.
std::vector<std::string> load_frozen_teacher(const Config& config, const MethodSpec& spec, at::ScalarType compute, at::Device device,
                                             TrainState& state);

}  // namespace dinoxx
