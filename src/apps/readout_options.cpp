#include "readout_options.hpp"

namespace dinoxx {

namespace po = boost::program_options;

void ReadoutLine::add_to(po::options_description& own) {
  own.add_options()(
      "feature-stages", po::value(&typed_.stages)->default_value(typed_.stages)->value_name("N"),
      "features from the last N blocks of a ViT or stages of a ConvNeXt or ResNet, side by side: of each CLS (of a ViT) and the "
      "mean of its map; 0: the feature of the network")(
      "feature-grid", po::value(&typed_.grid)->default_value(typed_.grid)->value_name("G"),
      "with --feature-stages: the mean of each of G x G cells of a map in place of the mean of all of it");
  if (may_whiten_)
    own.add_options()("feature-whiten", po::value(&whiten_)->default_value(whiten_)->value_name("SHARE"),
                      "features whitened by the covariance of all training images (no labels), shrunk by SHARE towards the identity: above "
                      "0, at most 1; 0.3 is a good start; 0: as they are");
}

eval::Readout ReadoutLine::readout() const {
  eval::Readout readout = typed_;
  if (whiten_ != 0) readout.whiten = whiten_;
  eval::check_readout(readout);
  return readout;
}

}  // namespace dinoxx
