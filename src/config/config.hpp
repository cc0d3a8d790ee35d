#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "duration.hpp"

namespace dinoxx {

/// A value that resolve_config() (method/settings/resolve.hpp) chooses when the user does not: printed and read as "auto".
template <class T>
using Auto = std::optional<T>;

struct ModelConfig {
  std::string arch, style;
  Auto<int64_t> dim, depth, heads;  ///< auto: the architecture's
  int64_t patch_size = 0;
  Auto<int64_t> image_size;  ///< auto: views.global_size
  Auto<double> mlp_ratio;    ///< auto: the architecture's
  int64_t drop_path_group = 0;
  Auto<int64_t> registers;  ///< auto: the style's
  double drop_path = 0, rope_shift = 0, rope_jitter = 0, rope_rescale = 0;
  std::string drop_path_form, stem, fit, init_from;
  bool recompute = false;
  bool operator==(const ModelConfig&) const = default;
};
struct HeadConfig {
  Auto<int64_t> out_dim, hidden_dim, patch_out_dim, patch_bottleneck_dim, patch_hidden_dim, predictor_hidden_dim;
  int64_t bottleneck_dim = 0, layers = 0;
  Auto<bool> norm_last_layer, weight_norm, shared;
  bool norm_output = false;
  bool operator==(const HeadConfig&) const = default;
};
/// Sizes of the crops of a step, pixels, and the share of the steps that have them (of the sum of all shares). gram 0: the Gram teacher
/// sees the global crops.
struct ViewSizes {
  int64_t global = 0, local = 0, gram = 0;
  double share = 1;
  std::string text() const;  ///< "512x112x768:0.3"
  bool operator==(const ViewSizes&) const = default;
};
struct ViewsConfig {
  std::string profile;
  int64_t global_size = 0, local_size = 0;
  std::vector<ViewSizes> sizes;
  double flip = 0;
  Auto<int64_t> local_count;
  Auto<double> global_scale_min, global_scale_max, local_scale_min, local_scale_max;
  bool blur = false;
  bool operator==(const ViewsConfig&) const = default;
};
struct MaskConfig {
  std::string scheme;
  double probability = 0, ratio_min = 0, ratio_max = 0;
  int64_t group_size = 0;
  bool shift = false;
  bool operator==(const MaskConfig&) const = default;
};
struct OptimConfig {
  std::string name, lr_rule, schedule, clip_by;
  Auto<double> lr, min_lr, weight_decay, weight_decay_end, clip, layer_decay, patch_embed_lr;
  double beta1 = 0, beta2 = 0, momentum = 0, trust = 0;
  bool trust_clip = false;
  Auto<Duration> warmup, freeze_last_layer;
  Duration decay;
  bool operator==(const OptimConfig&) const = default;
};
struct TeacherConfig {
  Auto<double> momentum, temp, warmup_temp, patch_temp, patch_warmup_temp;
  double momentum_end = 0;
  Auto<Duration> warmup_temp_epochs;
  std::string temp_changes, distill;
  bool operator==(const TeacherConfig&) const = default;
};
struct LossConfig {
  double student_temp = 0, centre_momentum = 0;
  std::string centring, patch_centring;
  int64_t sinkhorn_iterations = 0, koleo_group = 0, koleo_top_k = 0;
  Auto<double> patch_weight, koleo_weight;
  double temp = 0, local_weight = 0;
  Auto<double> local_weight_end;  ///< auto: local_weight
  bool operator==(const LossConfig&) const = default;
};
struct GramConfig {
  double weight = 0;
  Duration start, ramp, first, every;
  int64_t max_updates = 0, size = 0, group_size = 0;
  std::string teacher, negatives, tokens;
  bool operator==(const GramConfig&) const = default;
};
struct TrainingConfig {
  std::string method, precision, device;
  Duration length;
  int64_t batch_size = 0, seed = 0, log_every = 0, check_every = 0, max_skipped = 0;
  double bucket_mb = 0;
  bool fused_kernels = false;
  Auto<int64_t> threads;
  bool operator==(const TrainingConfig&) const = default;
};
struct DataConfig {
  Auto<int64_t> workers;
  int64_t ring = 0;
  bool cache_decoded = false;
  double max_bad_fraction = 0;
  bool operator==(const DataConfig&) const = default;
};
struct CheckpointConfig {
  Duration every, keep_every;
  int64_t keep = 0;
  bool operator==(const CheckpointConfig&) const = default;
};
struct EvalConfig {
  Duration every;
  std::string suite;  ///< names of steps, separated by commas; who evaluates knows them
  std::vector<int64_t> knn_k;
  bool operator==(const EvalConfig&) const = default;
};

/// Everything a training run can be told, but where its data and its run folder are. Values, defaults and help: the table in
/// src/config/config_fields.cpp.
struct Config {
  ModelConfig model;
  HeadConfig head;
  ViewsConfig views;
  MaskConfig mask;
  OptimConfig optim;
  TeacherConfig teacher;
  LossConfig loss;
  GramConfig gram;
  TrainingConfig train;
  DataConfig data;
  CheckpointConfig checkpoint;
  EvalConfig eval;
  bool operator==(const Config&) const = default;
};

/// The resolutions of a run: views.sizes, or the one of views.global_size, views.local_size and gram.size.
std::vector<ViewSizes> resolutions(const Config& config);

/// The table's defaults, with every "auto" still open.
Config default_config();

/// One "key = value" with where it was written, for messages.
struct Setting {
  std::string key, value;
  std::string where;  ///< "configs/a.cfg:12" or "--optim.lr"
};
/// Settings of an INI file ([section], key = value, # comment). UsageError with file and line on bad syntax or a key given twice.
std::vector<Setting> read_settings(const std::filesystem::path& path);
/// The same of a text; `source` stands for the file name in messages.
std::vector<Setting> parse_settings(const std::string& text, const std::string& source);
/// UsageError on an unknown key (with the nearest one), a wrong type or a value out of range.
void apply_settings(Config& config, const std::vector<Setting>& settings);

/// INI text of all keys, each with its help as a comment. parse(print(config)) == config.
std::string print_config(const Config& config);
/// Canonical "section.key=value" lines of the keys that change what is trained, for hashes and comparisons between runs.
std::string training_identity(const Config& config);
/// "section.key was a and is b" for every training key that differs.
std::vector<std::string> config_differences(const Config& before, const Config& now);

}  // namespace dinoxx
