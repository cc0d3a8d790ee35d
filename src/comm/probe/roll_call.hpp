#pragma once
#include <vector>

namespace dinoxx {

/// Ranks that have not come to this call within `seconds` of rank 0, rising; empty when all have. The answer is for rank 0: the others send
/// it a message and go on at once. Unlike a collective it ends when a rank is stuck, and says which one. Every rank of an MPI program calls
/// it as often as the others, on the thread that initialised MPI; without MPI nobody is absent.
std::vector<int> absent_ranks(double seconds);

}  // namespace dinoxx
