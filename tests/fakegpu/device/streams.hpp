// Streams and events. Kernels take no time here, and copies are made in the host's call; what a stream can be busy with is collectives,
// which wait for other ranks. So a stream is the list of the collectives that it has not seen end, and an event is a copy of that list.
#pragma once
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

namespace fakegpu {

/// Something that ends later.
class Task {
 public:
  void finish();
  bool finished() const;
  void wait() const;

 private:
  mutable std::mutex mutex_;
  mutable std::condition_variable ended_;
  bool finished_ = false;
};
using Tasks = std::vector<std::shared_ptr<const Task>>;

/// All that was put on the stream and has not ended. Null is the default stream.
Tasks pending(const void* stream);
void put_on_stream(const void* stream, const std::shared_ptr<const Task>& task);
void stream_waits_for(const void* stream, const Tasks& tasks);
void forget_stream(const void* stream);
/// Of all streams.
Tasks pending_everywhere();

bool all_finished(const Tasks& tasks);
void wait_for(const Tasks& tasks);

}  // namespace fakegpu
