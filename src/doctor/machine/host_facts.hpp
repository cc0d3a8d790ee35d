#pragma once
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

namespace dinoxx::doctor {

/// A limit of the process (getrlimit): what holds now, and up to where the process may raise it. -1: none.
struct Limit {
  int64_t soft = -1, hard = -1;
};

/// What a rank knows of its process and its machine. Every field is a value that can be sent to other ranks; what could not be looked at is
/// empty, 0 or -1, and named in `unknown`.
struct HostFacts {
  int rank = 0, local_rank = 0;
  std::string host;
  std::string launcher;  ///< "mpirun", "srun", "another launcher", or empty

  std::vector<int> cpus;                ///< that the process may run on
  int online = 0;                       ///< cores of the machine
  int allocated = 0;                    ///< of these in the control group and the job that the process is in; 0: not known
  double quota = 0;                     ///< cores' worth of time that the control group allows; 0: no limit
  std::vector<std::vector<int>> numa;   ///< cores of each NUMA node of the machine
  std::string cpu_model, cpu_features;  ///< of the processor
  std::string simd;                     ///< level of the kernels in use

  int gpus = 0;                 ///< visible to the process
  int gpu = -1;                 ///< number of the one that it takes
  std::string gpu_name;         ///< of its model
  std::string gpu_address;      ///< on the PCI bus
  std::string gpu_id;           ///< equal for two processes on one GPU
  int gpu_numa = -1;            ///< NUMA node that it is attached to
  std::string gpus_unusable;    ///< why the machine's GPUs cannot be used, if so
  std::string pcie, pcie_best;  ///< link of the GPU now (idle GPUs slow it down) and at most, "32.0 GT/s PCIe x16"

  int threads = 1;           ///< compute threads that the run takes
  int workers = 1;           ///< loader threads that the run takes
  bool own_workers = false;  ///< data.workers was set by the user
  bool on_gpu = false;       ///< the networks are on the GPU

  Limit files, locked_memory, core_size, processes;
  int64_t shm_size = -1, shm_free = -1;               ///< bytes of /dev/shm
  int64_t memory_free = 0;                            ///< bytes
  std::vector<std::string> rdma;                      ///< InfiniBand and RoCE devices
  std::vector<std::pair<std::string, double>> links;  ///< network interfaces that are up, and their megabits a second; 0: not known

  std::vector<std::pair<std::string, std::string>> versions;  ///< name and version of what the ranks must have in common
  std::vector<std::string> unknown;                           ///< what could not be looked at, and why
};

/// Where the system tells of itself; tests have folders of their own.
struct SystemRoots {
  std::filesystem::path proc = "/proc", sys = "/sys";
};

/// Which process this is, as its command knows.
struct Process {
  int rank = 0, local_rank = 0;
  int gpu = -1;          ///< number of the GPU that the run has taken; -1: none was taken yet
  nlohmann::json build;  ///< what the program was built from, as in run records
};

/// This process and its machine: files of the system and a few calls, some milliseconds. Where no GPU was taken yet, the one that a run
/// would take. Fields that belong to a run (threads, workers, on_gpu) stay as they are.
HostFacts host_facts(const Process& process, const SystemRoots& roots = {});

/// For other ranks and for --json.
nlohmann::json json_of(const HostFacts& facts);
/// Throws as nlohmann::json for a value that json_of() did not make.
HostFacts facts_of(const nlohmann::json& json);

}  // namespace dinoxx::doctor
