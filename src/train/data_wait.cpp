#include "data_wait.hpp"

#include <fmt/format.h>

namespace dinoxx {
namespace {

constexpr double kMuch = 0.2, kSeconds = 30;
constexpr int kRecords = 3;

}  // namespace

std::optional<std::string> DataWait::look(double share, double seconds, int64_t workers) {
  if (records_++ == 0) return std::nullopt;
  in_a_row_ = share > kMuch ? in_a_row_ + 1 : 0;
  seconds_in_a_row_ = share > kMuch ? seconds_in_a_row_ + seconds : 0;
  if (told_ || in_a_row_ < kRecords || seconds_in_a_row_ < kSeconds) return std::nullopt;
  told_ = true;
  return fmt::format(
      "the loader is the limit: steps wait for images {:.0f} % of their time, with data.workers = {} on each rank. While there are cores, "
      "a "
      "larger data.workers helps; data.cache_decoded = yes saves the decoding of a set that fits in memory; smaller images need less of it",
      100 * share, workers);
}

}  // namespace dinoxx
