// Progress of long work, for a person who waits. Work that is cut into blocks or tasks (blocks.hpp) is counted for the ProgressScope of the
// thread that starts it; without one nothing happens. The counts travel no further than this process.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace dinoxx::eval {

struct ProgressState;

// While it lives, `show` is called every `seconds` from a thread of its own with a line about the work of the thread that made it. Nothing
// at all with an empty `show`.
class ProgressScope {
 public:
  ProgressScope(std::function<void(const std::string& line)> show, double seconds);
  ~ProgressScope();
  ProgressScope(const ProgressScope&) = delete;
  ProgressScope& operator=(const ProgressScope&) = delete;

 private:
  std::unique_ptr<ProgressState> state_;
  ProgressState* outer_;
};

// What follows belongs to `name`. With `images`: it is `parts` blocks of this rank, and stands for so many images of all ranks. Without:
// each list of tasks is counted for itself.
void progress_phase(const std::string& name, int64_t parts = 0, int64_t images = 0);

// For who does the work: the state of this thread (may be null), parts that begin and a part that is done (from any thread).
ProgressState* current_progress();
void expect_parts(ProgressState* state, int64_t parts);
void part_is_done(ProgressState* state);

}  // namespace dinoxx::eval
