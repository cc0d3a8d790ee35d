#include "hdf5_util.hpp"

#include <fmt/format.h>

#include <cstdlib>

#include "dinoxx/base/error.hpp"

namespace dinoxx::detail {
namespace {

std::recursive_mutex& library_mutex() {
  static std::recursive_mutex mutex;
  return mutex;
}

void initialise_once() {
  static const bool done = [] {
    ::setenv("HDF5_USE_FILE_LOCKING", "FALSE", 0);
    H5open();
    hbool_t threadsafe = false;
    if (H5is_library_threadsafe(&threadsafe) < 0 || !threadsafe) {
      fail("HDF5", "a thread-safe library", hdf5_version() + " built without thread safety",
           "Link the serial HDF5 (Debian: libhdf5-dev, pkg-config hdf5-serial), not the one of Open MPI");
    }
    return true;
  }();
  (void)done;
}

}  // namespace

Hdf5Session::Hdf5Session() : lock_(library_mutex()) {
  initialise_once();
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);  // per thread in a thread-safe library, so each time
}

std::string hdf5_error_text() {
  std::string text;
  // upward: from where the error arose; the first entry with words is the cause
  H5Ewalk2(
      H5E_DEFAULT, H5E_WALK_UPWARD,
      [](unsigned, const H5E_error2_t* error, void* out) -> herr_t {
        auto* t = static_cast<std::string*>(out);
        if (t->empty() && error->desc != nullptr) *t = error->desc;
        return 0;
      },
      &text);
  return text.empty() ? "an error without a description" : text;
}

void hdf5_fail(const std::string& path, const std::string& expected, const std::string& advice) {
  fail(path, expected, "HDF5: " + hdf5_error_text(), advice);
}

std::string hdf5_version() {
  unsigned major = 0, minor = 0, release = 0;
  H5get_libversion(&major, &minor, &release);
  return fmt::format("{}.{}.{}", major, minor, release);
}

}  // namespace dinoxx::detail
