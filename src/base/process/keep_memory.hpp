#pragma once

namespace dinoxx {

/// From now on the C library keeps large blocks that are freed, up to 2 GB, and hands them out again, in place of returning each to the
/// kernel. A training step frees and takes the same hundreds of megabytes of activations; faulting their pages in anew takes a tenth of the
/// step of a small convolutional network on a CPU. Of this process, for good. Without effect where the C library is not glibc.
void keep_freed_memory();

}  // namespace dinoxx
