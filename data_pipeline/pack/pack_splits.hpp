#pragma once
#include <cstdint>
#include <vector>

#include "pack_plan.hpp"

// Which images of a plan are packed, and what each is for.
namespace dinoxx::detail {

/// UsageError when the shares leave nothing to train on, or when the input has a split of that name already.
void check_hold_out(const PackPlan& plan, double val, double test);

/// Gives val and test their share of the training images of each class (of all, without labels), chosen by the seed. What belongs together
/// stays on one side: a group, and images with the same pixels. `contents` [items]: hash of each image's pixels; {0, 0} = not readable,
/// takes no part. A group larger than the shares need goes where it does the least harm to the shares of its classes. Needs check_hold_out.
void hold_out(PackPlan& plan, const std::vector<ContentId>& contents, double val, double test, uint64_t seed);

/// Leaves a class, by its number, the fewer training images the later it comes; the first ones in the plan's order stay. ratio 0: does
/// nothing.
void cut_long_tail(PackPlan& plan, double ratio);

}  // namespace dinoxx::detail
