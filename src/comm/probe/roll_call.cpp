#include "roll_call.hpp"

#include <mpi.h>

#include <chrono>
#include <thread>

namespace dinoxx {

std::vector<int> absent_ranks(double seconds) {
  constexpr int kFirstTag = 7000, kTags = 1000;
  int initialized = 0;
  MPI_Initialized(&initialized);
  if (!initialized) return {};
  static int calls = 0;  // a message that comes too late must not answer the next call
  const int tag = kFirstTag + calls++ % kTags;
  int rank = 0, size = 1;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  if (rank != 0) {
    // no payload: it fits into any eager buffer, and need not be waited for
    MPI_Request request = MPI_REQUEST_NULL;
    MPI_Isend(nullptr, 0, MPI_BYTE, 0, tag, MPI_COMM_WORLD, &request);
    MPI_Request_free(&request);
    return {};
  }
  std::vector<MPI_Request> requests(static_cast<size_t>(size), MPI_REQUEST_NULL);
  for (int r = 1; r < size; ++r) MPI_Irecv(nullptr, 0, MPI_BYTE, r, tag, MPI_COMM_WORLD, &requests[static_cast<size_t>(r)]);
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  int all = 0;
  for (;;) {
    MPI_Testall(size, requests.data(), &all, MPI_STATUSES_IGNORE);
    if (all || std::chrono::steady_clock::now() >= end) break;
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
  std::vector<int> absent;
  if (all) return absent;
  for (int r = 1; r < size; ++r) {
    MPI_Request& request = requests[static_cast<size_t>(r)];
    int done = 0;
    if (request == MPI_REQUEST_NULL) continue;
    MPI_Test(&request, &done, MPI_STATUS_IGNORE);
    if (done) continue;
    absent.push_back(r);
    MPI_Cancel(&request);
    MPI_Request_free(&request);
  }
  return absent;
}

}  // namespace dinoxx
