#include "streams.hpp"

#include <algorithm>
#include <map>

namespace fakegpu {
namespace {

struct Streams {
  std::mutex mutex;
  std::map<const void*, Tasks> tasks;
};

Streams& streams() {
  static Streams* s = new Streams;
  return *s;
}

void drop_finished(Tasks& tasks) {
  std::erase_if(tasks, [](const auto& task) { return task->finished(); });
}

}  // namespace

void Task::finish() {
  {
    const std::lock_guard lock(mutex_);
    finished_ = true;
  }
  ended_.notify_all();
}

bool Task::finished() const {
  const std::lock_guard lock(mutex_);
  return finished_;
}

void Task::wait() const {
  std::unique_lock lock(mutex_);
  ended_.wait(lock, [&] { return finished_; });
}

Tasks pending(const void* stream) {
  Streams& s = streams();
  const std::lock_guard lock(s.mutex);
  Tasks& tasks = s.tasks[stream];
  drop_finished(tasks);
  return tasks;
}

void put_on_stream(const void* stream, const std::shared_ptr<const Task>& task) {
  Streams& s = streams();
  const std::lock_guard lock(s.mutex);
  s.tasks[stream].push_back(task);
}

void stream_waits_for(const void* stream, const Tasks& tasks) {
  Streams& s = streams();
  const std::lock_guard lock(s.mutex);
  Tasks& own = s.tasks[stream];
  drop_finished(own);
  for (const auto& task : tasks)
    if (!task->finished() && std::find(own.begin(), own.end(), task) == own.end()) own.push_back(task);
}

void forget_stream(const void* stream) {
  Streams& s = streams();
  const std::lock_guard lock(s.mutex);
  s.tasks.erase(stream);
}

Tasks pending_everywhere() {
  Streams& s = streams();
  const std::lock_guard lock(s.mutex);
  Tasks all;
  for (auto& [stream, tasks] : s.tasks) {
    drop_finished(tasks);
    all.insert(all.end(), tasks.begin(), tasks.end());
  }
  return all;
}

bool all_finished(const Tasks& tasks) {
  return std::all_of(tasks.begin(), tasks.end(), [](const auto& task) { return task->finished(); });
}

void wait_for(const Tasks& tasks) {
  for (const auto& task : tasks) task->wait();
}

}  // namespace fakegpu
