#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "auto.hpp"
#include "duration.hpp"
#include "part.hpp"
#include "view_sizes.hpp"

namespace dinoxx {

struct ModelConfig;
struct HeadConfig;
struct ViewsConfig;
struct MaskConfig;
struct OptimConfig;
struct TeacherConfig;
struct LossConfig;
struct GramConfig;
struct InitConfig;
struct GuideConfig;
struct TrainingConfig;
struct ParallelConfig;
struct DataConfig;
struct CheckpointConfig;
struct EvalConfig;

/// Everything a training run can be told, but where its data and its run folder are. Each section is declared, with its keys, beside the
/// component that it is for (for [optim] optim/optim_config.hpp); the table of all keys is config_fields().
struct Config {
  Part<ModelConfig> model;
  Part<HeadConfig> head;
  Part<ViewsConfig> views;
  Part<MaskConfig> mask;
  Part<OptimConfig> optim;
  Part<TeacherConfig> teacher;
  Part<LossConfig> loss;
  Part<GramConfig> gram;
  Part<InitConfig> init;
  Part<GuideConfig> guide;
  Part<TrainingConfig> train;
  Part<ParallelConfig> parallel;
  Part<DataConfig> data;
  Part<CheckpointConfig> checkpoint;
  Part<EvalConfig> eval;

  // defined where all sections are known (config.cpp)
  Config();
  Config(const Config&);
  Config(Config&&) noexcept;
  Config& operator=(const Config&);
  Config& operator=(Config&&) noexcept;
  ~Config();
  bool operator==(const Config&) const;
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
