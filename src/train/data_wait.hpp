#pragma once
#include <cstdint>
#include <optional>
#include <string>

namespace dinoxx {

/// Tells when training waits for its images: the loader is the limit then, and not the network.
class DataWait {
 public:
  /// `share`: of the `seconds` since the record before that the step waited for images. `workers`: loader threads of a rank.
  /// The text of what is to be said: once, after half a minute of records above a fifth, three at least. The first record of a start does
  /// not count: the loader fills its ring then.
  std::optional<std::string> look(double share, double seconds, int64_t workers);

 private:
  int records_ = 0, in_a_row_ = 0;
  double seconds_in_a_row_ = 0;
  bool told_ = false;
};

}  // namespace dinoxx
