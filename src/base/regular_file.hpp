#pragma once
#include "files.hpp"

namespace dinoxx {

/// Opens for reading what is to be mapped or read at places. Error for a pipe, a device or a socket, which would block or have no places.
FileDescriptor open_regular(const std::filesystem::path& path);

}  // namespace dinoxx
