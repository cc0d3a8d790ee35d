#include <unistd.h>

#include "base/files.hpp"
#include "dinoxx/base/error.hpp"
#include "feature_file_forms.hpp"
#include "hdf5_util.hpp"

namespace dinoxx::detail {
namespace {

namespace fs = std::filesystem;

class Hdf5Features : public FeatureFile {
 public:
  Hdf5Features(const fs::path& path, FeatureFileInfo info)
      : path_(path), temporary_(path.string() + ".tmp." + std::to_string(::getpid())), info_(std::move(info)) {
    const Hdf5Session session;
    try {
      begin();
    } catch (...) {
      discard();
      throw;
    }
  }
  ~Hdf5Features() override {
    const Hdf5Session session;
    discard();
  }
  void append(std::span<const float> rows) override {
    const Hdf5Session session;
    const hsize_t start[2] = {written_, 0}, count[2] = {rows.size() / dim(), dim()};
    const Hdf5Handle file_space(check(H5Dget_space(features_.get())), H5Sclose);
    check(H5Sselect_hyperslab(file_space.get(), H5S_SELECT_SET, start, nullptr, count, nullptr));
    const Hdf5Handle memory_space(check(H5Screate_simple(2, count, nullptr)), H5Sclose);
    check(H5Dwrite(features_.get(), H5T_NATIVE_FLOAT, memory_space.get(), file_space.get(), H5P_DEFAULT, rows.data()));
    written_ += count[0];
  }
  void commit() override {
    check_row_count(path_, info_.ids.size(), written_);
    {
      const Hdf5Session session;
      check(features_.reset());
      check(file_.reset());
    }
    sync_path(temporary_);
    std::error_code code;
    fs::rename(temporary_, path_, code);
    if (code) fail(path_.string(), "to rename the finished file into place", code.message(), "Check the path and the file system");
    temporary_.clear();
    sync_path(fs::absolute(path_).parent_path());
  }

 private:
  hsize_t dim() const { return static_cast<hsize_t>(info_.dim); }
  template <class T>
  T check(T result) const {
    if (result < 0) hdf5_fail(path_.string(), "to write the file", "Check the free space and the file system");
    return result;
  }
  void begin() {
    file_ = Hdf5Handle(check(H5Fcreate(temporary_.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT)), H5Fclose);
    for (const auto& [name, value] : info_.attributes) attribute(name, value);
    std::vector<int32_t> labels;
    std::vector<uint8_t> splits;
    std::vector<std::string> keys;
    for (const uint64_t id : info_.ids) {
      labels.push_back(info_.dataset.meta(id).label);
      splits.push_back(static_cast<uint8_t>(info_.dataset.meta(id).split));
      keys.push_back(info_.dataset.key(id));
    }
    array("ids", H5T_STD_U64LE, H5T_NATIVE_UINT64, info_.ids.size(), info_.ids.data());
    array("labels", H5T_STD_I32LE, H5T_NATIVE_INT32, labels.size(), labels.data());
    array("splits", H5T_STD_U8LE, H5T_NATIVE_UINT8, splits.size(), splits.data());
    strings("keys", keys);
    strings("classes", info_.dataset.class_names());
    const hsize_t shape[2] = {info_.ids.size(), dim()};
    const Hdf5Handle space(check(H5Screate_simple(2, shape, nullptr)), H5Sclose);
    features_ = create("features", H5T_IEEE_F32LE, space.get());
  }
  Hdf5Handle create(const char* name, hid_t type, hid_t space) {
    const Hdf5Handle plist(check(H5Pcreate(H5P_DATASET_CREATE)), H5Pclose);
    check(H5Pset_obj_track_times(plist.get(), false));  // equal features make equal files
    return Hdf5Handle(check(H5Dcreate2(file_.get(), name, type, space, H5P_DEFAULT, plist.get(), H5P_DEFAULT)), H5Dclose);
  }
  void array(const char* name, hid_t stored, hid_t native, hsize_t count, const void* values) {
    const Hdf5Handle space(check(H5Screate_simple(1, &count, nullptr)), H5Sclose);
    const Hdf5Handle set = create(name, stored, space.get());
    if (count > 0) check(H5Dwrite(set.get(), native, H5S_ALL, H5S_ALL, H5P_DEFAULT, values));
  }
  Hdf5Handle utf8(size_t size) {
    Hdf5Handle type(check(H5Tcopy(H5T_C_S1)), H5Tclose);
    check(H5Tset_size(type.get(), size));
    check(H5Tset_cset(type.get(), H5T_CSET_UTF8));
    return type;
  }
  void strings(const char* name, const std::vector<std::string>& values) {
    const Hdf5Handle type = utf8(H5T_VARIABLE);
    std::vector<const char*> pointers;
    for (const std::string& value : values) pointers.push_back(value.c_str());
    array(name, type.get(), type.get(), pointers.size(), pointers.data());
  }
  void attribute(const std::string& name, const std::string& value) {
    const Hdf5Handle type = utf8(H5T_VARIABLE);
    const Hdf5Handle space(check(H5Screate(H5S_SCALAR)), H5Sclose);
    const Hdf5Handle a(check(H5Acreate2(file_.get(), name.c_str(), type.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT)), H5Aclose);
    const char* text = value.c_str();
    check(H5Awrite(a.get(), type.get(), &text));
  }
  void discard() {
    features_.reset();
    file_.reset();
    std::error_code ignored;
    if (!temporary_.empty()) fs::remove(temporary_, ignored);
  }

  fs::path path_;
  std::string temporary_;
  FeatureFileInfo info_;
  Hdf5Handle file_, features_;
  hsize_t written_ = 0;
};

}  // namespace

std::unique_ptr<FeatureFile> create_hdf5_features(const fs::path& path, FeatureFileInfo info) {
  return std::make_unique<Hdf5Features>(path, std::move(info));
}

}  // namespace dinoxx::detail
