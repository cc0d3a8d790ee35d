#pragma once
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "dinoxx/data_pipeline/dataset.hpp"

namespace dinoxx::testing_support {

/// The first `count` training images of a data set as files in `folder`/pictures, and `folder`/list.csv that names them: `heading` behind
/// "path", and what `fields` says of the i-th image, of a class, behind its name.
inline void list_pictures(const std::filesystem::path& data, const std::filesystem::path& folder, uint64_t count,
                          const std::string& heading, const std::function<std::string(uint64_t i, int32_t label)>& fields) {
  const auto set = Dataset::open(data);
  std::string list = "path," + heading + "\n";
  std::vector<uint8_t> bytes;
  std::filesystem::create_directories(folder / "pictures");
  const std::vector<uint64_t> ids = set->ids(Split::kTrain);
  for (uint64_t i = 0; i < count; ++i) {
    set->read(ids.at(i), bytes);
    const std::string name = "pictures/" + std::to_string(i) + ".png";
    std::ofstream(folder / name, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    list += name + "," + fields(i, set->meta(ids[i]).label) + "\n";
  }
  std::ofstream(folder / "list.csv") << list;
}

}  // namespace dinoxx::testing_support
