#pragma once
#include <boost/program_options.hpp>

#include "eval/finetune/finetune.hpp"

namespace dinoxx {

/// The options of the step finetune: --finetune.*.
class FinetuneLine {
 public:
  void add_to(boost::program_options::options_description& own);
  /// What was typed. UsageError for a value that is out of range or a name that nobody knows.
  eval::FinetuneOptions options() const;

 private:
  std::string methods_, lr_, targets_, loss_, sampler_, save_;
  int epochs_ = 0, patience_ = 0, batch_ = 0, rank_ = 0;
  double layer_decay_ = 0, alpha_ = 0, ema_ = 0, max_minutes_ = 0, crop_ = 0;
};

}  // namespace dinoxx
