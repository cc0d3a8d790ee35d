#include "data_config.hpp"

#include "config/config.hpp"
#include "config/field_kinds.hpp"

namespace dinoxx {

using namespace field_kinds;

std::vector<Field> data_fields() {
  constexpr auto data = &Config::data;
  constexpr Range positive{1, 1e9}, share{0, 1};
  return {
      of_machine(field<data, &DataConfig::workers>(
          "data.workers", "auto",
          "decode and augmentation threads of a rank; auto: an eighth of its cores, with a GPU all but two, at least one", positive)),
      field<data, &DataConfig::balance>(
          "data.balance", "0",
          "how far classes come as often as one another in training: a class of n images by n to the power 1 less this; 0: each image once "
          "an "
          "epoch, 1: all classes alike. By the first column of labels (of several labels of an image by the rarest), which nothing else of "
          "the training sees",
          share),
      of_machine(field<data, &DataConfig::ring>("data.ring", "3", "batches in flight", {2, 1024})),
      of_machine(field<data, &DataConfig::cache_decoded>("data.cache_decoded", "no", "keep decoded images in memory (small sets)")),
      not_training(field<data, &DataConfig::max_bad_fraction>("data.max_bad_fraction", "0.001",
                                                              "unreadable images, share of all, at which the run stops", share)),
  };
}

}  // namespace dinoxx
