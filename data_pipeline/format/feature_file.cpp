#include "feature_file_forms.hpp"

#include <fmt/format.h>

#include <bit>

#include "base/csv.hpp"
#include "base/files.hpp"
#include "dinoxx/base/error.hpp"

namespace dinoxx {
namespace {

namespace fs = std::filesystem;

static_assert(std::endian::native == std::endian::little, "\"<f4\" is how rows lie in memory");

// NumPy's format 1.0 (numpy.lib.format): magic, version, length of the header, and the header as a Python literal padded so that the
// numbers begin at a multiple of 64.
std::string npy_header(uint64_t rows, int64_t dim) {
  std::string header = fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {}), }}", rows, dim);
  constexpr size_t kBefore = 10;
  header.append(63 - (kBefore + header.size()) % 64, ' ');
  header += '\n';
  std::string start("\x93NUMPY\x01\x00", 8);
  start += static_cast<char>(header.size() & 0xff);
  start += static_cast<char>(header.size() >> 8);
  return start + header;
}

class NpyFeatures : public FeatureFile {
 public:
  NpyFeatures(const fs::path& path, FeatureFileInfo info)
      : path_(path), info_(std::move(info)), numbers_(path), table_(fs::path(path).replace_extension(".csv")) {
    numbers_.write(npy_header(info_.ids.size(), info_.dim));
  }
  void append(std::span<const float> rows) override {
    numbers_.write({reinterpret_cast<const char*>(rows.data()), rows.size_bytes()});
    written_ += rows.size();
  }
  void commit() override {
    detail::check_row_count(path_, info_.ids.size(), written_ / static_cast<uint64_t>(info_.dim));
    const std::vector<std::string>& classes = info_.dataset.class_names();
    table_.write("row,id,key,split,label\n");
    for (size_t row = 0; row < info_.ids.size(); ++row) {
      const uint64_t id = info_.ids[row];
      const SampleMeta& meta = info_.dataset.meta(id);
      const bool named = meta.label >= 0 && static_cast<size_t>(meta.label) < classes.size();
      const std::string fields[] = {std::to_string(row), std::to_string(id), info_.dataset.key(id), std::string(split_name(meta.split)),
                                    meta.label < 0 ? ""
                                    : named        ? classes[static_cast<size_t>(meta.label)]
                                                   : std::to_string(meta.label)};
      table_.write(csv_row(fields));
    }
    table_.commit();
    numbers_.commit();
  }

 private:
  fs::path path_;
  FeatureFileInfo info_;
  AtomicFile numbers_, table_;
  uint64_t written_ = 0;
};

}  // namespace

void detail::check_row_count(const fs::path& path, uint64_t expected, uint64_t found) {
  if (expected != found) fail(path.string(), fmt::format("{} rows", expected), std::to_string(found), "This is a defect of dinoxx.");
}

std::unique_ptr<FeatureFile> create_feature_file(const fs::path& path, FeatureFileInfo info) {
  const std::string ending = path.extension().string();
  const bool hdf5 = ending == ".h5" || ending == ".hdf5";
  if (!hdf5 && ending != ".npy")
    fail_usage("output file", "a name that ends in .npy or .h5", fmt::format("\"{}\"", path.string()), "The ending says the format.");
  const fs::path folder = fs::absolute(path).parent_path();
  if (!fs::is_directory(folder))
    fail_usage("output file", "a folder that is there", fmt::format("no {}", folder.string()), "Make it first.");
  if (hdf5) return detail::create_hdf5_features(path, std::move(info));
  return std::make_unique<NpyFeatures>(path, std::move(info));
}

}  // namespace dinoxx
