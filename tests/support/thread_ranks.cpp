#include "thread_ranks.hpp"

#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "comm/thread_communicator.hpp"
#include "dinoxx/base/error.hpp"

namespace dinoxx::testing_support {

void run_thread_ranks(int size, const std::function<void(std::shared_ptr<Communicator>)>& body) {
  const auto group = make_thread_communicators(size);
  std::mutex mutex;
  std::optional<std::string> first_error;
  std::vector<std::thread> threads;
  for (const auto& communicator : group) {
    threads.emplace_back([&, communicator] {
      try {
        body(communicator);
      } catch (const std::exception& error) {
        std::lock_guard lock(mutex);
        if (!first_error) first_error = fmt::format("rank {} of {}: {}", communicator->rank(), communicator->size(), error.what());
        abandon_thread_group(*communicator);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  if (first_error) throw Error(*first_error);
}

}  // namespace dinoxx::testing_support
