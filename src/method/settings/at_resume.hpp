#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "config/config.hpp"

/// What of a run's configuration may change where it goes on from a checkpoint.
namespace dinoxx {

/// The configuration of a checkpoint.
struct SavedSettings {
  Config config;                                ///< resolved
  std::optional<std::set<std::string>> chosen;  ///< keys that were chosen ("auto"); nothing: an older checkpoint does not say
};

/// Keys of a training whose value the program chose: resolved, they differ from what was given.
std::set<std::string> chosen_keys(const Config& given, const Config& resolved);

/// "KEY was X and is Y" for the keys that make another network of it, or another function of the same tensors. `now` need not be resolved:
/// what is open there is no difference, nor is a key that the saved run did not read.
std::vector<std::string> other_network(const SavedSettings& saved, const Config& now);

/// The same for keys that change which other tensors a training holds: the optimizer's, centres, the Gram teacher. Both resolved.
std::vector<std::string> other_state(const Config& before, const Config& now);

/// The same for all keys of the training that either of the two reads; both resolved. Without model.init_from, which counts at the
/// beginning alone, and teacher.distill, of which the file's content counts.
std::vector<std::string> read_differences(const Config& before, const Config& now);

/// What a run goes on with.
struct Continued {
  Config config;                     ///< as given, with the saved value for what is open
  std::set<std::string> chosen;      ///< keys of which that was done
  std::vector<std::string> renewed;  ///< a line for each value that does not fit any more, and is chosen anew
};

/// Puts the saved values in for what `given` leaves open, as long as `fits` (which throws a UsageError where it does not) accepts them.
/// Where the batch is another one, chosen lengths in steps become as many images as they were. UsageError, with the keys and what they
/// would be in images, for a given length in steps and another batch: whether steps or images are meant is not ours to say.
Continued continued(const SavedSettings& saved, const Config& given, const std::function<void(const Config&)>& fits);

}  // namespace dinoxx
