#pragma once
#include <string>
#include <vector>

#include "method.hpp"

namespace dinoxx {

/// What "auto" becomes where the number of images does not say it: the values of the published code, or of the library that is named.
struct MethodDefaults {
  std::string profile;
  double global_scale_min = 0, global_scale_max = 1, local_scale_min = 0.05, local_scale_max = 0;
  int local_count = 0;
  std::string mask = "none";
  std::string optimizer = "adamw", lr_rule = "linear_256";
  double lr = 0, min_lr = 0, weight_decay = 0, weight_decay_end = 0;
  double clip = 0;
  std::string clip_by = "parameter";
  double layer_decay = 1, patch_embed_lr = 1;
  double momentum = 0;  ///< of the teacher, for a million images
  std::string temp_changes = "epoch", centring = "centre";
  double patch_weight = 0, koleo_weight = 0, sigreg_weight = 0;
  double coding_weight = 1, coding_eps = 0.5;
  double loss_size = 1;  ///< about what the method's own terms are multiplied with: weights of further terms go by it
  int hidden_dim = 2048, bottleneck_dim = 256, layers = 3;
  int predictor_hidden_dim = 0;  ///< 0: as hidden_dim
  bool batch_norm = false;       ///< in the head
  int out_dim = 0;               ///< 0: by the number of images
  bool shared_head = true;
  bool norm_last_layer = true;  ///< the prototypes' gain stays 1
  bool weight_norm = true;      ///< the prototypes have a gain
  bool dinov2_groups =
      false;  ///< parameter groups as DINOv2's: no weight decay by name, a frozen last layer has a rate of 0 (optim/rules.hpp)
};

/// A method, all of it: src/method/<name>.cpp, or in two_views/ or without_prototypes/, has one, and nothing else in the program
/// knows its name.
struct Method {
  std::string name, summary;
  MethodDefaults defaults;
  /// Of the keys that are methods' own (Field::of_method), those that this one reads; "gram.*" stands for all that begin so.
  std::vector<std::string> reads;
  TeacherPolicy teacher = TeacherPolicy::kEma;
  bool bare_teacher = false;      ///< the frozen teacher is a backbone without heads, and head.out_dim its width
  bool student_sees_all = false;  ///< masks say where the loss is taken, and nothing is hidden
  /// Views, network, masks and loss terms of a resolved configuration. Name and teacher are set from the two above.
  MethodSpec (*make)(const Config& resolved) = nullptr;
  /// UsageError for a resolved configuration that it cannot train with; absent: nothing beside what holds for all.
  void (*check)(const Config& resolved) = nullptr;
};

/// The table of methods: one line for each in src/method/methods.cpp, in the order in which they are shown.
const std::vector<Method>& methods();
std::vector<std::string> method_names();
/// UsageError for an unknown one, with the nearest name.
const Method& find_method(const std::string& name);

}  // namespace dinoxx
