#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "data_folder_writer.hpp"
#include "data_pipeline/format/shard.hpp"
#include "dinoxx/data_pipeline/image.hpp"
#include "pack_plan.hpp"

namespace dinoxx::detail {

/// What a worker makes of one item: either a reason why it is bad, or all that the shard needs.
struct Prepared {
  std::string bad;   ///< in full; empty = good
  std::string kind;  ///< of a bad one, in few words: "not found", "empty", "not JPEG or PNG", "damaged" ...
  DecodeNotes notes;
  PixelRange values;
  SampleRecord record;
  std::vector<uint8_t> image, mask;
};

/// Reads item `i` of the plan, decodes it, and checks its mask. A picture that lost pixels (Tolerance::kLenient) or of which fewer bits are
/// used than stored (limits.used_bits) is packed as an 8-bit PNG of its pixels, turned upright; all others as they are. Error for what is
/// no fault of the file: limits on open files or memory. Thread-safe.
Prepared prepare(const PackPlan& plan, size_t i, const DecodeLimits& limits);

/// The largest sample of a 16-bit PNG; 0 for all else and for what cannot be read.
uint16_t peak_of(const PackItem& item, const DecodeLimits& limits);

/// What the files of the plan take, by the sizes of some of them; 0 for a drawn set.
uint64_t estimated_bytes(const PackPlan& plan);

}  // namespace dinoxx::detail
