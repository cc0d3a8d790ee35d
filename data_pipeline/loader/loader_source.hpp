#pragma once
#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_set>
#include <vector>

#include "balanced_sampler.hpp"
#include "loader.hpp"

namespace dinoxx {

/// Reads and decodes samples for the workers; replaces those that cannot be used; keeps decoded images when asked to. Thread-safe.
class SampleSource {
 public:
  SampleSource(std::shared_ptr<const Dataset> dataset, std::vector<uint64_t> ids, const LoaderConfig& config);

  /// Memory of one worker.
  struct Scratch {
    std::vector<uint8_t> bytes;
    Image image;
    SourceImage source;
  };
  struct Sample {
    const SourceImage* image = nullptr;  ///< in the cache or in `scratch`
    uint64_t id = 0;
  };
  /// The sample at global position `position`: row Perm(position), or, when that cannot be read and decoded, another row that depends on
  /// the position alone. Error when too many samples are bad.
  Sample load(uint64_t position, Scratch& scratch);

  uint64_t replaced() const { return replaced_.load(std::memory_order_relaxed); }
  uint64_t bytes_read() const { return bytes_read_.load(std::memory_order_relaxed); }
  std::vector<BadSample> take_new_bad();

 private:
  const SourceImage* decode(uint64_t row, Scratch& scratch);
  void record_bad(uint64_t id, uint64_t position, const std::string& reason);

  std::shared_ptr<const Dataset> dataset_;
  std::vector<uint64_t> ids_;
  Sampler sampler_;
  std::optional<BalancedSampler> balanced_;  // in its place
  uint64_t seed_;
  double max_bad_fraction_;
  std::vector<std::atomic<const SourceImage*>> cache_;  ///< per row; empty when not asked for
  std::vector<std::unique_ptr<const SourceImage>> cache_owner_;
  std::atomic<uint64_t> loaded_{0}, replaced_{0}, bytes_read_{0};
  std::mutex mutex_;
  std::unordered_set<uint64_t> bad_ids_;
  std::vector<BadSample> new_bad_;
};

}  // namespace dinoxx
