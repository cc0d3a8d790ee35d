#include "versions.hpp"

#include <dlfcn.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <link.h>

#include <algorithm>
#include <filesystem>

#include "base/files.hpp"
#include "comm/gpu.hpp"
#include "comm/probe/library_versions.hpp"
#include "data_pipeline/format/describe.hpp"
#include "kernels/cpu_level.hpp"
#include "system_text.hpp"

namespace dinoxx::doctor {
namespace {

namespace fs = std::filesystem;

std::string first_loaded(const std::string& stem) {
  const std::vector<std::string> files = loaded_libraries(stem);
  return files.empty() ? "" : files.front();
}

// PMIx comes with MPI, as a plugin: its own word, or the version in the name of its file.
std::string pmix_version(const std::string& file) {
  if (file.empty()) return "not in this process";
  std::string version;
  if (void* library = ::dlopen(file.c_str(), RTLD_LAZY | RTLD_NOLOAD)) {
    if (void* function = ::dlsym(library, "PMIx_Get_version")) version = reinterpret_cast<const char* (*)()>(function)();
    ::dlclose(library);
  }
  if (version.empty()) return fs::path(file).filename().string();
  version = version.substr(0, version.find_first_of(",("));  // "OpenPMIx 4.2.2 (PMIx Standard: 4.1, ...), ..."
  return version.substr(0, version.find_last_not_of(' ') + 1);
}

std::string kernel_driver() {
  const fs::path file = "/proc/driver/nvidia/version";
  std::error_code code;
  const std::string version = fs::exists(file, code) ? driver_version(read_text(file)) : "";
  return version.empty() ? "version unknown" : version;
}

}  // namespace

std::vector<std::string> loaded_libraries(const std::string& stem) {
  struct Search {
    const std::string& stem;
    std::vector<std::string> files;
  } search{stem, {}};
  ::dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* data) {
        auto& search = *static_cast<Search*>(data);
        if (fs::path(info->dlpi_name).filename().string().starts_with(search.stem)) search.files.emplace_back(info->dlpi_name);
        return 0;
      },
      &search);
  return search.files;
}

std::vector<Version> versions(const nlohmann::json& build) {
  std::vector<Version> all;
  const auto word = [&](const char* key) { return build.is_object() ? build.value(key, "") : std::string(); };
  if (build.is_object()) {
    all.push_back({"dinoxx", fmt::format("{} ({}), {}, {}", word("dinoxx"), word("git"), word("compiler"), word("build_type")), ""});
    all.push_back({"LibTorch", word("libtorch"), first_loaded("libtorch_cpu.so")});
  }
  const std::string library = mpi_library_version();  // of Open MPI the part in front of who packed it
  all.push_back({"MPI", fmt::format("{}, standard {}", library.substr(0, library.find(',')), mpi_standard()), first_loaded("libmpi.so")});
  std::string pmix = first_loaded("libpmix.so");
  if (pmix.empty()) pmix = first_loaded("mca_pmix_");
  all.push_back({"PMIx", pmix_version(pmix), pmix, false});
  std::string hdf5 = "libhdf5";
  try {
    hdf5 = hdf5_description();
  } catch (const std::exception& error) {
    hdf5 = error.what();
  }
  all.push_back({"HDF5", hdf5, first_loaded("libhdf5")});
  const GpuVersions gpu = gpu_versions();
  if (!built_with_nccl()) {
    all.push_back({"CUDA", "not built in", ""});
    return all;
  }
  all.push_back({"CUDA", gpu.runtime.empty() ? "unknown" : gpu.runtime, first_loaded("libcudart.so")});
  all.push_back({"NCCL", gpu.nccl.empty() ? "unknown" : gpu.nccl, first_loaded("libnccl.so")});
  all.push_back({"driver", gpu.driver.empty() ? "none" : fmt::format("{}, for CUDA up to {}", kernel_driver(), gpu.driver), ""});
  return all;
}

std::vector<std::string> doubled_libraries() {
  std::vector<std::string> lines;
  const auto look = [&](const char* what, const std::vector<std::string>& stems) {
    std::vector<std::string> files;
    for (const std::string& stem : stems)
      for (const std::string& file : loaded_libraries(stem)) files.push_back(file);
    if (files.size() > 1) lines.push_back(fmt::format("{}: {}", what, fmt::join(files, ", ")));
  };
  look("MPI", {"libmpi.so"});
  look("NCCL", {"libnccl.so"});
  look("HDF5", {"libhdf5.so", "libhdf5_serial.so", "libhdf5_openmpi.so", "libhdf5_mpich.so"});
  look("OpenMP", {"libgomp", "libiomp5", "libomp.so"});
  return lines;
}

std::string processor_features() {
  std::string text = cpu_features();
  // GCC 12 knows no name for it
  std::error_code code;
  if (fs::exists("/proc/cpuinfo", code) && read_text("/proc/cpuinfo").find("amx_bf16") != std::string::npos) text += " amx_bf16";
  return text.empty() ? "none that dinoxx looks for" : text;
}

std::string simd_in_words() {
  return fmt::format(
      "{}{}; DINOXX_SIMD asks for less", level_name(cpu_level()),
      cpu_level() == best_cpu_level() ? ", the processor's" : fmt::format(" of the processor's {}", level_name(best_cpu_level())));
}

}  // namespace dinoxx::doctor
