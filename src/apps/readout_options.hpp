#pragma once
#include <boost/program_options.hpp>

#include "eval/readout/readout.hpp"

namespace dinoxx {

/// The options of what is taken as an image's feature: --feature-stages, --feature-grid and, where it can be learned, --feature-whiten.
class ReadoutLine {
 public:
  explicit ReadoutLine(bool may_whiten) : may_whiten_(may_whiten) {}
  void add_to(boost::program_options::options_description& own);
  /// What was typed. UsageError as check_readout().
  eval::Readout readout() const;

 private:
  bool may_whiten_;
  eval::Readout typed_;
  double whiten_ = 0;
};

}  // namespace dinoxx
