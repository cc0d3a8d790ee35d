#pragma once
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "parallel/flat_state.hpp"
#include "rules.hpp"

namespace dinoxx {

/// Updates the masters of a flat state from its gradient. State is public for checkpoints: tensors over the layout and a step count for
/// each segment.
class Optimizer {
 public:
  virtual ~Optimizer() = default;
  /// One step with one rule for each segment: learning rate lr * lr_scale, weight decay weight_decay * wd_scale. Segments that are frozen
  /// or not trainable keep value, state and step count. Casts the compute copy. `layout`: of what the state's buffers hold, the shard's
  /// where the network is sharded (LARS then adds up norms: collective). Element by element in a fixed order: on a CPU the result does not
  /// depend on the number of threads. CPU: float32 or float64; GPU: float32. Error when state or rules belong to another network.
  virtual void step(const ParamLayout& layout, FlatState& state, double lr, double weight_decay, const std::vector<SegmentRule>& rules) = 0;
  /// The state's tensors, each [layout.numel], under the names that checkpoints give them. The optimizer may move them to another device in
  /// its first step, so ask again after it.
  virtual std::vector<std::pair<std::string, at::Tensor>> named_state() const = 0;

  std::vector<int64_t> segment_steps;  ///< per segment
};

struct AdamWConfig {
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
};

/// torch.optim.SGD without dampening and Nesterov's form: d = g + wd p, v = momentum v + d (the first v is d), p -= lr v.
struct SgdConfig {
  double momentum = 0.9;
};

/// Layer-wise adaptive rates (You et al. 2017) before SGD's momentum: d = (g + wd p) q for segments that adapt, d = g for the others.
struct LarsConfig {
  double momentum = 0.9;
  double trust = 0.001;  ///< eta: .001 in BYOL, SimCLR and DINO, .02 in solo-learn's recipes for small images
  enum class Ratio {
    kUpdate,  ///< q = trust |p| / |g + wd p|, 1 when a norm is 0 (facebookresearch/dino and barlowtwins; BYOL)
    kSum,     ///< q = trust |p| / (|g| + wd |p| + 1e-8), no decay either when a norm is 0 (solo-learn, pl_bolts; You et al., equation 6)
  } ratio = Ratio::kUpdate;
  bool clip_lr = false;  ///< q = min(q / lr, 1): the local rate never exceeds lr (solo-learn's clip_lr)
};

/// Changes of low rank for a backbone's matrices, of AdamW alone: LoraAdamW.
struct LoraConfig {
  int64_t rank = 8;
  double alpha = 8;   ///< products count alpha / rank
  uint64_t seed = 0;  ///< of the factors at their beginning
};

struct OptimizerConfig {
  std::string name = "adamw";  ///< "adamw", "sgd" or "lars"
  AdamWConfig adamw;
  SgdConfig sgd;
  LarsConfig lars;
  std::optional<LoraConfig> lora;  ///< absent: off
};
const std::vector<std::string>& optimizer_names();

/// UsageError with the nearest name for an unknown one. `dtype`: of the masters, float32 or float64.
std::unique_ptr<Optimizer> make_optimizer(const OptimizerConfig& config, const ParamLayout& layout, at::ScalarType dtype);

}  // namespace dinoxx
