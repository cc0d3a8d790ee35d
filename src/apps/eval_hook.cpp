#include "eval_hook.hpp"

#include "comm/agree.hpp"
#include "config/train_keys.hpp"
#include "eval/run/eval_config.hpp"
#include "eval/run/evaluate.hpp"
#include "eval/run/train_probe.hpp"
#include "method/method.hpp"

namespace dinoxx {

EvalHookFactory eval_hook(std::shared_ptr<Communicator> comm) {
  return [comm](std::shared_ptr<const Dataset> dataset, const Config& config) -> EvalHook {
    eval::ProbeConfig probe_config{make_method(config).views.normalization.value()};
    on_all_ranks(*comm, [&] {
      probe_config.protocols = eval::parse_protocols(config.eval->suite, eval::probe_names(), "eval.suite", [&](const std::string& note) {
        if (comm->rank() == 0) fmt::print("note: {}\n", note);
      });
    });
    probe_config.knn.ks.assign(config.eval->knn_k.begin(), config.eval->knn_k.end());
    probe_config.image_size = static_cast<int>(*config.eval->image_size);
    probe_config.seed = static_cast<uint64_t>(train_seed(config));
    probe_config.threads = static_cast<int>(train_threads(config));
    auto probe = std::make_shared<const eval::TrainProbe>(std::move(dataset), comm, std::move(probe_config));
    if (!probe->off_reason().empty()) {
      if (comm->rank() == 0) fmt::print("no evaluation during training: {}\n", probe->off_reason());
      return {};
    }
    return [probe](const Network& teacher, int64_t step) { return (*probe)(teacher.backbone(), step); };
  };
}

}  // namespace dinoxx
