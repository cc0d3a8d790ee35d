#pragma once
#include <filesystem>
#include <string>

namespace dinoxx {

/// What a data folder holds, as text for a person: images per split and class, sizes, codecs, shards, origin. Opens and checks it like Dataset::open.
std::string describe_data(const std::filesystem::path& data);

/// Version of the HDF5 library and whether it is thread-safe. Error when it is not.
std::string hdf5_description();

}  // namespace dinoxx
