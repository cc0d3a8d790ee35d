// main() of every MPI test: GoogleTest under mpirun. Each rank runs all tests; the program fails when any rank failed.
#include <gtest/gtest.h>
#include <mpi.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <string>
#include <thread>

namespace {

int g_rank = 0;
int g_size = 1;

/// Ends the whole job when one test takes too long: ranks that wait for each other would otherwise hang until ctest's timeout and say nothing.
class HangWatchdog {
 public:
  explicit HangWatchdog(std::chrono::seconds limit) : limit_(limit), thread_([this] { watch(); }) {}
  ~HangWatchdog() {
    {
      std::lock_guard lock(mutex_);
      stop_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }
  void begin(std::string what) {
    std::lock_guard lock(mutex_);
    what_ = std::move(what);
    since_ = std::chrono::steady_clock::now();
  }

 private:
  void watch() {
    std::unique_lock lock(mutex_);
    while (!changed_.wait_for(lock, std::chrono::milliseconds(500), [this] { return stop_; })) {
      if (std::chrono::steady_clock::now() - since_ < limit_) {
        continue;
      }
      std::fprintf(stderr, "[rank %d of %d] HANG: %s has not ended after %lld s. The ranks probably called different collectives.\n", g_rank, g_size,
                   what_.c_str(), static_cast<long long>(limit_.count()));
      std::fflush(stderr);
      // MPI may be what hangs: leave without it. mpirun ends the other ranks when one exits without MPI_Finalize; the pause lets their messages out.
      std::this_thread::sleep_for(std::chrono::seconds(2));
      _exit(124);
    }
  }

  std::chrono::seconds limit_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stop_ = false;
  std::string what_ = "start-up";
  std::chrono::steady_clock::time_point since_ = std::chrono::steady_clock::now();
  std::thread thread_;
};

/// Rank 0 prints as GoogleTest does; the others print failures only, with their rank. Tells the watchdog which test runs.
class RankPrinter : public testing::EmptyTestEventListener {
 public:
  RankPrinter(HangWatchdog& watchdog, testing::TestEventListener* rank0) : watchdog_(watchdog), rank0_(rank0) {}
  ~RankPrinter() override { delete rank0_; }

  void OnTestProgramStart(const testing::UnitTest& t) override {
    if (g_rank == 0) rank0_->OnTestProgramStart(t);
  }
  void OnTestStart(const testing::TestInfo& t) override {
    current_ = std::string(t.test_suite_name()) + "." + t.name();
    watchdog_.begin(current_);
    if (g_rank == 0) rank0_->OnTestStart(t);
  }
  void OnTestPartResult(const testing::TestPartResult& r) override {
    if (r.type() == testing::TestPartResult::kSuccess) {
      return;
    }
    // UnitTest::current_test_info() would deadlock: GoogleTest calls this with its lock held.
    std::fprintf(stderr, "[rank %d of %d] %s: %s:%d: %s\n", g_rank, g_size, current_.c_str(), r.file_name() ? r.file_name() : "?", r.line_number(),
                 r.message());
    std::fflush(stderr);
  }
  void OnTestEnd(const testing::TestInfo& t) override {
    if (g_rank == 0) rank0_->OnTestEnd(t);
    watchdog_.begin("what follows " + current_);
  }
  void OnTestProgramEnd(const testing::UnitTest& t) override {
    if (g_rank == 0) rank0_->OnTestProgramEnd(t);
  }

 private:
  HangWatchdog& watchdog_;
  testing::TestEventListener* rank0_;
  std::string current_ = "before the first test";
};

/// The number of ranks that ctest asked for. Missing or different is a failure: an MPI test that finds itself alone has tested nothing.
bool world_size_is_expected() {
  const char* text = std::getenv("DINOXX_TEST_RANKS");
  if (text == nullptr) {
    if (g_rank == 0) {
      std::fprintf(stderr, "DINOXX_TEST_RANKS is not set. Run this program as: DINOXX_TEST_RANKS=2 mpirun -n 2 <program>\n");
    }
    return false;
  }
  if (std::atoi(text) != g_size) {
    std::fprintf(stderr, "[rank %d] expected %s MPI ranks (DINOXX_TEST_RANKS), found %d. Is this mpirun of the MPI that the program is linked with?\n", g_rank,
                 text, g_size);
    return false;
  }
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  int provided = 0;
  MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided);
  MPI_Comm_rank(MPI_COMM_WORLD, &g_rank);
  MPI_Comm_size(MPI_COMM_WORLD, &g_size);
  if (provided < MPI_THREAD_FUNNELED) {
    std::fprintf(stderr, "[rank %d] MPI gives thread level %d, expected at least MPI_THREAD_FUNNELED\n", g_rank, provided);
    MPI_Abort(MPI_COMM_WORLD, 1);
  }
  testing::InitGoogleTest(&argc, argv);
  int failed = 1;
  if (world_size_is_expected()) {
    const char* seconds = std::getenv("DINOXX_TEST_HANG_SECONDS");
    HangWatchdog watchdog(std::chrono::seconds(seconds ? std::atoi(seconds) : 60));
    testing::TestEventListeners& listeners = testing::UnitTest::GetInstance()->listeners();
    testing::TestEventListener* console = listeners.Release(listeners.default_result_printer());
    listeners.Append(new RankPrinter(watchdog, console));
    failed = RUN_ALL_TESTS() != 0 ? 1 : 0;
    if (testing::UnitTest::GetInstance()->test_to_run_count() == 0) {
      std::fprintf(stderr, "[rank %d] no test ran\n", g_rank);
      failed = 1;
    }
    watchdog.begin("the final vote (another rank may have stopped in a test)");
    MPI_Allreduce(MPI_IN_PLACE, &failed, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
  }
  MPI_Finalize();
  return failed;
}
