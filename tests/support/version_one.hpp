// Shards and data folders as the first version of the format had them.
#pragma once
#include <gtest/gtest.h>
#include <hdf5.h>

#include <filesystem>
#include <string>

#include "base/crc32c.hpp"
#include "base/files.hpp"
#include "data_pipeline/format/manifest.hpp"
#include "data_pipeline/format/shard.hpp"
#include "dinoxx/base/error.hpp"
#include "image_files.hpp"

namespace dinoxx::testing_support {

/// Takes away what version 1 did not have: which images have a group.
inline void make_version_one_shard(const std::filesystem::path& path) {
  const auto write_number = [&](const char* name, uint64_t value, bool without_array = false) {
    const hid_t file = H5Fopen(path.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
    ASSERT_GE(file, 0);
    if (without_array) H5Ldelete(file, "/samples/has_group", H5P_DEFAULT);
    const hid_t attribute = H5Aopen(file, name, H5P_DEFAULT);
    H5Awrite(attribute, H5T_NATIVE_UINT64, &value);
    H5Aclose(attribute);
    H5Fclose(file);
  };
  write_number("format_version", 1, /*without_array=*/true);
  std::string words;
  try {
    ShardReader shard(path);
  } catch (const Error& error) {
    words = error.what();  // "... found <CRC of the arrays that are left>. ..."
  }
  const size_t found = words.find("found ");
  ASSERT_NE(found, std::string::npos) << words;
  write_number("meta_crc32c", std::stoul(words.substr(found + 6, 8), nullptr, 16));
}

/// The same of a packed folder, with its manifest.
inline void make_version_one_data(const std::filesystem::path& data) {
  Manifest manifest = read_data_manifest(data);
  for (ShardInfo& info : manifest.shards) {
    make_version_one_shard(data / info.file);
    info.file_bytes = std::filesystem::file_size(data / info.file);
    const std::string bytes = read_text(data / info.file);
    info.file_crc32c = crc32c(bytes.data(), bytes.size());
  }
  std::string text = manifest.to_json();
  const std::string version = "\"format_version\": 2";
  ASSERT_NE(text.find(version), std::string::npos);
  write_words(data / "manifest.json", text.replace(text.find(version), version.size(), "\"format_version\": 1"));
}

}  // namespace dinoxx::testing_support
