#include "regular_file.hpp"

#include "dinoxx/base/error.hpp"

namespace dinoxx {

FileDescriptor open_regular(const std::filesystem::path& path) {
  std::error_code code;
  const std::filesystem::file_type type = std::filesystem::status(path, code).type();
  const char* other = type == std::filesystem::file_type::fifo                                                     ? "a named pipe"
                      : type == std::filesystem::file_type::socket                                                 ? "a socket"
                      : type == std::filesystem::file_type::character || type == std::filesystem::file_type::block ? "a device"
                                                                                                                   : nullptr;
  if (other) fail(path.string(), "a file", other, "Write its content to a file first");
  return FileDescriptor(path);
}

}  // namespace dinoxx
