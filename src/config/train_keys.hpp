#pragma once
#include <cstdint>
#include <string>

namespace dinoxx {

struct Config;
struct Duration;

/// The keys of [train] that most of the program reads. Who reads no other key of the section includes this header and not
/// train/training_config.hpp, and is not compiled again when the section gets a key.
const std::string& train_method(const Config& config);
int64_t train_seed(const Config& config);
/// Images of a step, of all ranks together.
int64_t train_batch_size(const Config& config);
/// Parts in which a rank computes its images of a step.
int64_t train_accumulate(const Config& config);
/// Of the images of a step, those that go through the networks of each of `ranks` ranks together (train.accumulate).
int64_t train_images_at_once(const Config& config, int64_t ranks);
const Duration& train_length(const Config& config);
const Duration& train_extend(const Config& config);
/// Compute threads of a rank, resolved.
int64_t train_threads(const Config& config);

}  // namespace dinoxx
