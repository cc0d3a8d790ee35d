#pragma once
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace dinoxx::detail {

/// Calls produce(i) for i in [0, n) on `threads` threads and consume(i, result) on the calling thread in order of i. At most `window` results wait, which bounds
/// the memory. An exception of either side stops everything and is thrown here; produce exceptions come at their turn.
template <class Result, class Produce, class Consume>
void ordered_parallel(uint64_t n, unsigned threads, uint64_t window, const Produce& produce, const Consume& consume) {
  struct Slot {
    Result result{};
    std::exception_ptr error;
    bool ready = false;
  };
  std::vector<Slot> slots(window);
  std::mutex mutex;
  std::condition_variable filled, freed;
  uint64_t next = 0, consumed = 0;
  bool stop = false;

  const auto work = [&] {
    for (;;) {
      uint64_t i = 0;
      {
        std::unique_lock lock(mutex);
        freed.wait(lock, [&] { return stop || next >= n || next < consumed + window; });
        if (stop || next >= n) return;
        i = next++;
      }
      Slot done;
      try {
        done.result = produce(i);
      } catch (...) {
        done.error = std::current_exception();
      }
      done.ready = true;
      const std::lock_guard lock(mutex);
      slots[i % window] = std::move(done);
      filled.notify_one();
    }
  };

  std::vector<std::thread> pool;
  struct Joiner {
    std::vector<std::thread>& pool;
    std::mutex& mutex;
    std::condition_variable& freed;
    bool& stop;
    ~Joiner() {
      {
        const std::lock_guard lock(mutex);
        stop = true;
      }
      freed.notify_all();
      for (std::thread& thread : pool) thread.join();
    }
  } joiner{pool, mutex, freed, stop};
  for (unsigned t = 0; t < threads; ++t) pool.emplace_back(work);

  for (uint64_t i = 0; i < n; ++i) {
    Slot slot;
    {
      std::unique_lock lock(mutex);
      filled.wait(lock, [&] { return slots[i % window].ready; });
      slot = std::move(slots[i % window]);
      slots[i % window] = Slot{};
      ++consumed;
    }
    freed.notify_all();
    if (slot.error) std::rethrow_exception(slot.error);
    consume(i, std::move(slot.result));
  }
}

}  // namespace dinoxx::detail
