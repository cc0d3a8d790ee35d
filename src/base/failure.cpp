#include "failure.hpp"

#include <fmt/format.h>

#include <atomic>
#include <cstdlib>
#include <new>
#include <system_error>

#include "dinoxx/base/error.hpp"
#include "machine.hpp"

namespace dinoxx {
namespace {

std::atomic<size_t> failed_allocation{0};

constexpr const char* kLessMemory =
    "Lower what the work holds at once: train.batch_size, views.local_count, data.ring or data.workers of a training, --image-size or "
    "--threads "
    "of other commands; or use fewer ranks on this machine, a smaller network, or more machines";

std::string out_of_memory(double wanted) {
  const std::string more = wanted > 0 ? human_bytes(wanted) + " more" : "more";
  // measured when the exception has arrived, behind the end of what the work held
  return fmt::format("out of memory on {}: expected {}, found less: this process has held up to {}, and {} are free since it gave up. {}.",
                     host_name(), more, human_bytes(static_cast<double>(peak_memory())),
                     human_bytes(static_cast<double>(available_memory())), kLessMemory);
}

}  // namespace

void note_failed_allocation(size_t bytes) {
  failed_allocation.store(bytes);
}

std::string failure_text(const std::exception& error, const std::string& unknown) {
  if (dynamic_cast<const Error*>(&error)) return error.what();
  if (dynamic_cast<const std::bad_alloc*>(&error)) return out_of_memory(static_cast<double>(failed_allocation.load()));
  const std::string text = error.what();
  const std::string own = text.substr(0, text.find("\nException raised from"));
  if (own.find("DefaultCPUAllocator") != std::string::npos || own.find("can't allocate memory") != std::string::npos) {
    const std::string before = "tried to allocate ";
    const size_t at = own.find(before);
    return out_of_memory(at == std::string::npos ? 0 : std::strtod(own.c_str() + at + before.size(), nullptr));
  }
  if (own.find("CUDA out of memory") != std::string::npos)
    return fmt::format(
        "{} In a training lower train.batch_size or views.local_count, set model.recompute block, or use more GPUs; --check says what a "
        "step "
        "needs. In other commands lower --threads (each has a block of images on the GPU) or --image-size.",
        own);
  if (const auto* system = dynamic_cast<const std::system_error*>(&error);
      system && system->code() == std::errc::resource_unavailable_try_again)
    return fmt::format(
        "threads on {}: expected to start one more, found \"{}\". Raise the limit of processes (ulimit -u) or of memory, or lower "
        "train.threads "
        "and data.workers.",
        host_name(), own);
  return unknown + own;
}

}  // namespace dinoxx
