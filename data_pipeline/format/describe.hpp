#pragma once
#include <filesystem>
#include <string>
#include <vector>

namespace dinoxx {

/// A data folder as text for a person.
struct DataDescription {
  std::string text;                   ///< images, sizes, codecs, origin, and the pre-flight report (preflight.hpp)
  std::vector<std::string> warnings;  ///< of the packer and of the pre-flight report
  std::vector<std::string> notes;     ///< what had to be assumed, Dataset::notes()
};
/// Opens and checks the folder like Dataset::open.
DataDescription describe_data(const std::filesystem::path& data);

/// Version of the HDF5 library and whether it is thread-safe. Error when it is not.
std::string hdf5_description();

}  // namespace dinoxx
