#include "loader_source.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/rng.hpp"
#include "dinoxx/base/error.hpp"

namespace dinoxx {
namespace {

constexpr int kReplacements = 16;  // rows tried for one position before giving up
constexpr uint64_t kFractionSamples =
    1000;  // the bad fraction is taken of at least this many, so that one bad sample of a small set is tolerated

}  // namespace

SampleSource::SampleSource(std::shared_ptr<const Dataset> dataset, std::vector<uint64_t> ids, const LoaderConfig& config)
    : dataset_(std::move(dataset)),
      ids_(std::move(ids)),
      sampler_(ids_.size(), config.seed),
      seed_(config.seed),
      max_bad_fraction_(config.max_bad_fraction),
      cache_(config.cache_decoded ? ids_.size() : 0) {
  if (config.balance > 0) balanced_.emplace(labels_of(*dataset_, ids_), config.balance, config.seed);
}

const SourceImage* SampleSource::decode(uint64_t row, Scratch& scratch) {
  if (!cache_.empty()) {
    if (const SourceImage* known = cache_[row].load(std::memory_order_acquire)) return known;
  }
  try {
    dataset_->read(ids_[row], scratch.bytes);
  } catch (const std::exception&) {
    dataset_->read(ids_[row], scratch.bytes);  // a network file system may fail once
  }
  bytes_read_.fetch_add(scratch.bytes.size(), std::memory_order_relaxed);
  decode_image(scratch.bytes, scratch.image);
  if (cache_.empty()) {
    scratch.source.assign(scratch.image);
    return &scratch.source;
  }
  auto kept = std::make_unique<SourceImage>();
  kept->assign(scratch.image);
  const SourceImage* expected = nullptr;
  if (!cache_[row].compare_exchange_strong(expected, kept.get(), std::memory_order_acq_rel)) return expected;  // another worker was first
  const SourceImage* result = kept.get();
  const std::lock_guard lock(mutex_);
  cache_owner_.push_back(std::move(kept));
  return result;
}

SampleSource::Sample SampleSource::load(uint64_t position, Scratch& scratch) {
  loaded_.fetch_add(1, std::memory_order_relaxed);
  uint64_t row = balanced_ ? balanced_->row(position) : sampler_.row(position);
  CounterRng rng(seed_, position, 0, Purpose::kOrder);
  std::string reason;
  for (int attempt = 0; attempt <= kReplacements; ++attempt) {
    try {
      return {decode(row, scratch), ids_[row]};
    } catch (const std::exception& error) {
      reason = error.what();
    }
    record_bad(ids_[row], position, reason);
    row = rng.below(ids_.size());
  }
  fail("loader", "a readable sample", fmt::format("{} bad ones in a row, the last because: {}", kReplacements + 1, reason),
       "Check the data folder with `dinoxx info --data`.");
}

void SampleSource::record_bad(uint64_t id, uint64_t position, const std::string& reason) {
  replaced_.fetch_add(1, std::memory_order_relaxed);
  const std::lock_guard lock(mutex_);
  if (bad_ids_.insert(id).second) new_bad_.push_back({id, position, dataset_->key(id), reason});
  const uint64_t seen = std::min<uint64_t>(loaded_.load(std::memory_order_relaxed), ids_.size());
  const double allowed = max_bad_fraction_ * static_cast<double>(std::max(seen, kFractionSamples));
  if (static_cast<double>(bad_ids_.size()) > allowed) {
    fail("loader", fmt::format("at most {:g} of the samples to be bad", max_bad_fraction_),
         fmt::format("{} bad of about {} seen, the last one {}: {}", bad_ids_.size(), seen, dataset_->key(id), reason),
         "Pack the data again, or raise the allowed fraction.");
  }
}

std::vector<BadSample> SampleSource::take_new_bad() {
  const std::lock_guard lock(mutex_);
  return std::exchange(new_bad_, {});
}

}  // namespace dinoxx
