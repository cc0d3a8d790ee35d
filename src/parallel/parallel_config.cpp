#include "parallel_config.hpp"

#include "config/config.hpp"
#include "config/config_conditions.hpp"
#include "config/field_kinds.hpp"

namespace dinoxx {

using namespace field_kinds;

std::vector<Field> parallel_fields() {
  constexpr auto parallel = &Config::parallel;
  return {
      not_training(choice<parallel, &ParallelConfig::sync>(
          "parallel.sync", "ddp", {"ddp", "zero1", "zero2", "zero3"},
          "what the ranks share among them; ddp: nothing, each has all; zero1: masters, the optimizer's state and the averages in fp32, "
          "each rank a part; zero2: the gradients too; zero3: the weights of all blocks but the last too, which are brought together when "
          "they are "
          "used, for a vision transformer. Results agree up to rounding")),
      not_training(when({where::shared_state()},
                        choice<parallel, &ParallelConfig::shard_within>(
                            "parallel.shard_within", "all", {"all", "node"},
                            "which ranks share; node: those of a node, and every node has all, for slow links between nodes"))),
  };
}

}  // namespace dinoxx
