#pragma once
#include <cstdint>
#include <memory>

#include "dinoxx/comm/communicator.hpp"

namespace dinoxx {

/// A duplicate of MPI_COMM_WORLD, so that its traffic never meets that of another communicator. Collective; MPI must be initialised. Every
/// call has to be made by the thread that initialised MPI (checked). Collectives above `piece_bytes` travel as several: MPI counts are
/// 32-bit; tests set it low.
std::shared_ptr<Communicator> make_mpi_communicator(int64_t piece_bytes = int64_t{1} << 30);

}  // namespace dinoxx
