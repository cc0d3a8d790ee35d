#pragma once
#include <gtest/gtest.h>

#include <exception>
#include <functional>
#include <thread>
#include <vector>

#include "dinoxx/comm/thread_communicator.hpp"

namespace dinoxx::testing_support {

/// Runs `work` as `size` ranks that are threads of this process. An exception of a rank ends the group and is a test failure.
inline void on_thread_ranks(int size, const std::function<void(Communicator&)>& work) {
  const auto group = make_thread_communicators(size);
  std::vector<std::thread> threads;
  for (const auto& comm : group) {
    threads.emplace_back([&work, comm] {
      try {
        work(*comm);
      } catch (const std::exception& e) {
        ADD_FAILURE() << "rank " << comm->rank() << " of " << comm->size() << ": " << e.what();
        abandon_thread_group(*comm);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace dinoxx::testing_support
