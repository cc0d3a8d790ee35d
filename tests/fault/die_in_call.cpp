// Loaded in front of the C library (LD_PRELOAD): a process that dies, as by SIGKILL, in the middle of writing files. DIE_IN = "RANK CALL
// TEXT":
//   RANK  of Open MPI's world, or "all"
//   CALL  write: when half of the bytes of a call are written; rename, remove: in front of it; renamed, removed: behind it
//   TEXT  in the path of the file; of rename the new path
#include <dlfcn.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <string>

namespace {

struct Order {
  std::string call, text;
};

Order order_for_this_process() {
  const char* order = getenv("DIE_IN");
  const char* self = getenv("OMPI_COMM_WORLD_RANK");
  std::istringstream words(order ? order : "");
  std::string rank;
  Order found;
  words >> rank >> found.call >> found.text;
  return self && (rank == "all" || rank == self) ? found : Order();
}

bool is_time(const char* call, const std::string& path) {
  static const Order order = order_for_this_process();
  return order.call == call && path.find(order.text) != std::string::npos;
}

[[noreturn]] void die() {
  kill(getpid(), SIGKILL);
  for (;;) pause();
}

template <class F>
F next(const char* name) {
  return reinterpret_cast<F>(dlsym(RTLD_NEXT, name));
}

std::string path_of(int file) {
  char path[4096];
  const ssize_t length = readlink(("/proc/self/fd/" + std::to_string(file)).c_str(), path, sizeof path);
  return {path, length > 0 ? static_cast<size_t>(length) : 0};
}

}  // namespace

extern "C" {

ssize_t write(int file, const void* bytes, size_t count) {
  static const auto real = next<ssize_t (*)(int, const void*, size_t)>("write");
  if (is_time("write", path_of(file))) {
    (void)!real(file, bytes, count / 2);
    die();
  }
  return real(file, bytes, count);
}

int rename(const char* from, const char* to) noexcept {
  static const auto real = next<int (*)(const char*, const char*)>("rename");
  if (is_time("rename", to)) die();
  const int result = real(from, to);
  if (is_time("renamed", to)) die();
  return result;
}

int remove(const char* path) noexcept {
  static const auto real = next<int (*)(const char*)>("remove");
  if (is_time("remove", path)) die();
  const int result = real(path);
  if (is_time("removed", path)) die();
  return result;
}

}  // extern "C"
