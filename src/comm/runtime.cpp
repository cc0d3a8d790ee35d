#include "dinoxx/comm/runtime.hpp"

#include <mpi.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <string_view>
#include <utility>

#include "dinoxx/base/error.hpp"
#include "dinoxx/comm/mpi_communicator.hpp"
#include "dinoxx/comm/self_communicator.hpp"

namespace dinoxx {

namespace {

// A whole number in the environment; -1 for nothing, and for what is none.
int number_in(const char* variable) {
  const char* text = std::getenv(variable);
  if (!text) return -1;
  char* end = nullptr;
  const long number = std::strtol(text, &end, 10);
  return end != text && *end == '\0' && number >= 0 ? static_cast<int>(number) : -1;
}

// Under srun without PMI the MPI library ends the process in its own words.
void refuse_no_pmi(const LaunchedTasks& tasks) {
  if (tasks.count <= 1 || std::string_view(tasks.variable) != "SLURM_STEP_NUM_TASKS") return;
  for (char** variable = environ; *variable != nullptr; ++variable)
    if (std::string_view(*variable).starts_with("PMI")) return;
  fail_usage("MPI start-up",
             fmt::format("{} ranks ({}={}) with PMI, by which they find each other", tasks.count, tasks.variable, tasks.count),
             "no PMI in the environment", "Start with srun --mpi=pmix (srun --mpi=list says what there is)");
}

}  // namespace

LaunchedTasks launched_tasks() {
  // The innermost launcher counts: mpirun inside a Slurm step starts its daemons by srun, whose variables the ranks inherit.
  constexpr std::pair<const char*, const char*> kLaunchers[] = {{"OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"},
                                                                {"PMI_SIZE", "PMI_RANK"},
                                                                {"MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_RANK"},
                                                                {"SLURM_STEP_NUM_TASKS", "SLURM_PROCID"}};
  for (const auto& [count, rank] : kLaunchers)
    if (number_in(count) >= 1) return {number_in(count), count, std::max(number_in(rank), 0)};
  return {};
}

MpiRuntime::MpiRuntime(int* argc, char*** argv) {
  const LaunchedTasks tasks = launched_tasks();
  if (tasks.count == 1) return;
  int already = 0;
  MPI_Initialized(&already);
  if (already) fail("MpiRuntime", "MPI not yet initialised", "a second runtime", "Create one in main and pass it on");

  int provided = MPI_THREAD_SINGLE;
  refuse_no_pmi(tasks);
  MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &provided);
  initialized_ = true;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
  MPI_Comm_size(MPI_COMM_WORLD, &size_);
  std::string found;
  if (size_ < tasks.count) {
    found = fmt::format("MPI counts {} rank(s)", size_);
  } else if (provided < MPI_THREAD_FUNNELED) {
    found = fmt::format("thread support level {}", provided);
  }
  if (!found.empty()) {
    MPI_Finalize();  // the destructor does not run for an object that was never complete
    if (size_ < tasks.count) {
      fail("MPI start-up", fmt::format("{} ranks ({}={})", tasks.count, tasks.variable, tasks.count), found,
           "The launcher and this program's MPI do not know each other, and every task would take itself for rank 0. Use the mpirun of the "
           "MPI that dinoxx "
           "was built with, or under Slurm 'srun --mpi=pmix'");
    }
    fail("MPI start-up", "MPI_THREAD_FUNNELED", found, "Build dinoxx with an MPI that has thread support");
  }
  MPI_Comm node = MPI_COMM_NULL;
  MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &node);
  MPI_Comm_rank(node, &local_rank_);
  MPI_Comm_size(node, &local_size_);
  MPI_Comm_free(&node);
}

MpiRuntime::~MpiRuntime() {
  // While an error unwinds, the other ranks may be waiting in a collective: MPI_Finalize would wait for them. Without it the launcher ends
  // them.
  if (initialized_ && std::uncaught_exceptions() == 0) MPI_Finalize();
}

std::shared_ptr<Communicator> MpiRuntime::make_communicator() const {
  return initialized_ ? make_mpi_communicator() : make_self_communicator();
}

void MpiRuntime::abort(int code) const {
  std::cout.flush();
  std::cerr.flush();
  std::fflush(nullptr);
  if (initialized_) MPI_Abort(MPI_COMM_WORLD, code);
  std::_Exit(code);
}

}  // namespace dinoxx
