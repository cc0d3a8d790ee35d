// Pickles, archives and indexes by hand, and what the reader of weight files says of them.
#pragma once
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

#include "dinoxx/base/error.hpp"
#include "formats/weight_file.hpp"
#include "source_dir.hpp"
#include "support/temporary_folder.hpp"
#include "zip_builder.hpp"

namespace dinoxx::testing_support {

inline const std::filesystem::path golden = golden_dir() / "weight_files";

/// Why the file is refused, "accepted" where it is not.
inline std::string refusal(const std::filesystem::path& path) {
  try {
    WeightFile::open(path);
  } catch (const Error& error) {
    EXPECT_THAT(error.what(),
                testing::AllOf(testing::HasSubstr(path.string()), testing::HasSubstr("expected"), testing::HasSubstr("found")));
    return error.what();
  }
  return "accepted";
}

inline std::string little(uint64_t value, size_t bytes) {
  return std::string(reinterpret_cast<const char*>(&value), bytes);
}

// --- pieces of pickles
inline std::string text(const std::string& content) {
  return "X" + little(content.size(), 4) + content;
}
inline std::string global(const std::string& module, const std::string& name) {
  return "c" + module + "\n" + name + "\n";
}
inline std::string integer(int64_t value) {
  return std::string("\x8a\x08") + little(static_cast<uint64_t>(value), 8);
}
inline std::string tuple(const std::string& items) {
  return "(" + items + "t";
}
inline std::string storage(int64_t count, const std::string& key = "0", const std::string& type = global("torch", "FloatStorage")) {
  return tuple(text("storage") + type + text(key) + text("cpu") + integer(count)) + "Q";
}
inline std::string tensor_of(const std::string& storage, const std::string& offset, const std::string& shape, const std::string& strides,
                             const std::string& hooks = "}") {
  return global("torch._utils", "_rebuild_tensor_v2") + tuple(storage + offset + shape + strides + "\x89" + hooks) + "R";
}
inline std::string tensor(int64_t offset, const std::string& shape, const std::string& strides) {
  return tensor_of(storage(4), integer(offset), shape, strides);
}
inline std::string good_tensor() {
  return tensor(0, tuple(integer(4)), tuple(integer(1)));
}
/// {"a": value}
inline std::string dict(const std::string& value) {
  return "}" + text("a") + value + "s";
}
inline std::string pickle_of(const std::string& body) {
  return "\x80\x02" + body + ".";
}
inline std::string repeated(const std::string& part, size_t count) {
  std::string result;
  result.reserve(part.size() * count);
  for (size_t i = 0; i < count; ++i) result += part;
  return result;
}

/// As torch.save writes it: `pickle`, and a storage of 16 bytes.
inline ZipBuilder archive_of(const std::string& pickle) {
  ZipBuilder zip;
  zip.add("archive/data.pkl", pickle);
  zip.add("archive/byteorder", "little");
  zip.add("archive/data/0", "0123456789abcdef");
  zip.add("archive/version", "3\n");
  return zip;
}

class HostileTest : public testing::Test {
 protected:
  std::string open(const ZipBuilder& zip) {
    zip.write(folder_ / "hostile.pth");
    return refusal(folder_ / "hostile.pth");
  }
  std::string open(const std::string& pickle) { return open(archive_of(pickle)); }
  std::string open_index(const std::string& text) {
    std::ofstream(folder_ / "model.safetensors.index.json", std::ios::binary) << text;
    return refusal(folder_ / "model.safetensors.index.json");
  }
  void expect(const std::string& body, const std::string& message) {
    EXPECT_THAT(open(pickle_of(body)), testing::HasSubstr(message)) << testing::PrintToString(body.substr(0, 300));
  }
  TemporaryFolder folder_;
};

}  // namespace dinoxx::testing_support
