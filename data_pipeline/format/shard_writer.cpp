#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/crc32c.hpp"
#include "base/json_text.hpp"
#include "content_hash.hpp"
#include "data_pipeline/labels/label_column_json.hpp"
#include "dinoxx/base/error.hpp"
#include "hdf5_util.hpp"
#include "shard.hpp"
#include "shard_layout.hpp"

namespace dinoxx {

static_assert(std::endian::native == std::endian::little, "shards are little-endian and written as they lie in memory");

using detail::Hdf5Handle;

/// The index arrays in the order in which their common checksum is taken: the order of SHARD_FORMAT.md.
struct ShardArrays {
  struct Array {
    const char* name;
    hid_t type;
    const void* data;
    size_t bytes;
    hsize_t columns;  ///< 0: one-dimensional
    hsize_t rows;
  };
  std::vector<Array> arrays;

  ShardArrays(const ShardWriter& w, const std::string& columns_json) {
    const auto add = [this](const char* name, hid_t type, const auto& v, hsize_t columns = 0) {
      if (v.empty()) return;
      arrays.push_back({name, type, v.data(), v.size() * sizeof(v[0]), columns, columns == 0 ? v.size() : v.size() / columns});
    };
    add(detail::kOffset, H5T_STD_U64LE, w.offset_);
    add(detail::kCodec, H5T_STD_U8LE, w.codec_);
    add(detail::kWidth, H5T_STD_U32LE, w.width_);
    add(detail::kHeight, H5T_STD_U32LE, w.height_);
    add(detail::kChannels, H5T_STD_U16LE, w.channels_);
    add(detail::kDtype, H5T_STD_U8LE, w.dtype_);
    add(detail::kCrc, H5T_STD_U32LE, w.crc_);
    add(detail::kKeyBlob, H5T_STD_U8LE, w.key_blob_);
    add(detail::kKeyOffset, H5T_STD_U64LE, w.key_offset_);
    add(detail::kContentId, H5T_STD_U64LE, w.content_id_, 2);
    add(detail::kSplit, H5T_STD_U8LE, w.split_);
    add(detail::kWeight, H5T_IEEE_F32LE, w.weight_);
    add(detail::kLabel, H5T_STD_I32LE, w.label_, w.header_.label_columns.size());
    if (w.header_.has_groups) {
      add(detail::kGroup, H5T_STD_U64LE, w.group_);
      add(detail::kHasGroup, H5T_STD_U8LE, w.has_group_);
    }
    if (!w.mask_blob_.empty()) {
      add(detail::kMaskOffset, H5T_STD_U64LE, w.mask_offset_);
      add(detail::kMaskCrc, H5T_STD_U32LE, w.mask_crc_);
    }
    add(detail::kLabelColumns, H5T_STD_U8LE, columns_json);
  }
  uint32_t crc() const {
    uint32_t c = 0;
    for (const Array& a : arrays) c = crc32c(a.data, a.bytes, c);
    return c;
  }
};

namespace {

[[noreturn]] void write_failed(const std::string& path, int error) {
  fail(path, "to write the shard", std::strerror(error),
       error == ENOSPC || error == EDQUOT ? "Free space on that file system, or choose another --out"
                                          : "Check the path and the file system");
}

class OutputFile {
 public:
  OutputFile(const std::string& path, int flags) : path_(path), fd_(::open(path.c_str(), flags | O_CLOEXEC, 0666)) {
    if (fd_ < 0) write_failed(path_, errno);
  }
  ~OutputFile() {
    if (fd_ >= 0) ::close(fd_);
  }
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;
  /// Takes the disk blocks now. HDF5 keeps a file open, and complains again when the program ends, if it runs out of space half-way: ask
  /// first.
  void reserve(uint64_t bytes) {
    const int error = ::posix_fallocate(fd_, 0, static_cast<off_t>(bytes));
    if (error != 0 && error != EOPNOTSUPP && error != EINVAL) write_failed(path_, error);
  }
  void write_at(const detail::BytePieces& data, uint64_t offset) {
    for (const std::vector<uint8_t>& piece : data.pieces()) {
      for (size_t done = 0; done < piece.size();) {
        const ssize_t n = ::pwrite(fd_, piece.data() + done, piece.size() - done, static_cast<off_t>(offset + done));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) write_failed(path_, n == 0 ? ENOSPC : errno);
        done += static_cast<size_t>(n);
      }
      offset += piece.size();
    }
  }
  void sync_and_close() {
    if (::fsync(fd_) != 0) write_failed(path_, errno);
    const int fd = std::exchange(fd_, -1);
    if (::close(fd) != 0) write_failed(path_, errno);
  }

 private:
  std::string path_;
  int fd_;
};

/// Creates HDF5 objects; every failure becomes an Error.
class Hdf5Output {
 public:
  explicit Hdf5Output(const std::string& path) : path_(path) {
    const Hdf5Handle access(check(H5Pcreate(H5P_FILE_ACCESS)), H5Pclose);
    check(H5Pset_libver_bounds(access.get(), H5F_LIBVER_V18, H5F_LIBVER_V110));  // checksummed headers, and old readers can open it
    check(H5Pset_alignment(access.get(), 65536, 4096));                          // large arrays begin on a page
    file_ = Hdf5Handle(check(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access.get())), H5Fclose);
    const Hdf5Handle group(check(H5Gcreate2(file_.get(), "/samples", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT)), H5Gclose);
  }
  void write_array(const ShardArrays::Array& a) {
    const hsize_t dims[2] = {a.rows, a.columns};
    const Hdf5Handle space(check(H5Screate_simple(a.columns == 0 ? 1 : 2, dims, nullptr)), H5Sclose);
    const Hdf5Handle set = create(a.name, a.type, space.get());
    check(H5Dwrite(set.get(), a.type, H5S_ALL, H5S_ALL, H5P_DEFAULT, a.data));
  }
  /// Space for `bytes` bytes in one piece, unfilled; returns its address in the file.
  uint64_t reserve_blob(const char* name, uint64_t bytes) {
    const hsize_t dims[1] = {bytes};
    const Hdf5Handle space(check(H5Screate_simple(1, dims, nullptr)), H5Sclose);
    const Hdf5Handle set = create(name, H5T_STD_U8LE, space.get());
    const haddr_t address = H5Dget_offset(set.get());
    if (address == HADDR_UNDEF) detail::hdf5_fail(path_, "the address of a contiguous dataset", "");
    return address;
  }
  void attribute(const char* name, uint64_t value) {
    const Hdf5Handle space(check(H5Screate(H5S_SCALAR)), H5Sclose);
    const Hdf5Handle a(check(H5Acreate2(file_.get(), name, H5T_STD_U64LE, space.get(), H5P_DEFAULT, H5P_DEFAULT)), H5Aclose);
    check(H5Awrite(a.get(), H5T_NATIVE_UINT64, &value));
  }
  void attribute(const char* name, std::string_view text) {
    std::string value(text.substr(0, 60000));  // attributes lie in the object header, which holds 64 KiB
    if (value.empty()) value.push_back(' ');
    const Hdf5Handle type(check(H5Tcopy(H5T_C_S1)), H5Tclose);
    check(H5Tset_size(type.get(), value.size()));
    check(H5Tset_cset(type.get(), H5T_CSET_UTF8));
    check(H5Tset_strpad(type.get(), H5T_STR_NULLPAD));
    const Hdf5Handle space(check(H5Screate(H5S_SCALAR)), H5Sclose);
    const Hdf5Handle a(check(H5Acreate2(file_.get(), name, type.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT)), H5Aclose);
    check(H5Awrite(a.get(), type.get(), value.data()));
  }
  void close() { check(file_.reset()); }

 private:
  template <class T>
  T check(T result) const {
    if (result < 0) detail::hdf5_fail(path_, "to write the shard", "Check the free space and the file system");
    return result;
  }
  Hdf5Handle create(const char* name, hid_t type, hid_t space) {
    const Hdf5Handle plist(check(H5Pcreate(H5P_DATASET_CREATE)), H5Pclose);
    check(H5Pset_layout(plist.get(), H5D_CONTIGUOUS));
    check(H5Pset_alloc_time(plist.get(), H5D_ALLOC_TIME_EARLY));
    check(H5Pset_fill_time(plist.get(), H5D_FILL_TIME_NEVER));
    return Hdf5Handle(check(H5Dcreate2(file_.get(), name, type, space, H5P_DEFAULT, plist.get(), H5P_DEFAULT)), H5Dclose);
  }
  std::string path_;
  Hdf5Handle file_;
};

std::string columns_as_json(const std::vector<LabelColumn>& columns) {
  nlohmann::json json = nlohmann::json::array();
  for (const LabelColumn& column : columns) json.push_back(column_as_json(column));
  return json_text(json);
}

}  // namespace

ShardWriter::ShardWriter(ShardHeader header) : header_(std::move(header)) {}

void ShardWriter::add(const SampleRecord& record, std::span<const uint8_t> bytes, std::span<const uint8_t> mask) {
  if (record.labels.size() != header_.label_columns.size()) {
    fail(record.key, fmt::format("{} labels", header_.label_columns.size()), std::to_string(record.labels.size()), "");
  }
  blob_.append(bytes);
  mask_blob_.append(mask);
  key_blob_.insert(key_blob_.end(), record.key.begin(), record.key.end());
  offset_.push_back(blob_.size());
  mask_offset_.push_back(mask_blob_.size());
  key_offset_.push_back(key_blob_.size());
  codec_.push_back(static_cast<uint8_t>(record.image.codec));
  dtype_.push_back(record.image.bits > 8 ? 1 : 0);
  split_.push_back(static_cast<uint8_t>(record.split));
  channels_.push_back(static_cast<uint16_t>(record.image.channels));
  width_.push_back(static_cast<uint32_t>(record.image.width));
  height_.push_back(static_cast<uint32_t>(record.image.height));
  crc_.push_back(crc32c(bytes.data(), bytes.size()));
  mask_crc_.push_back(crc32c(mask.data(), mask.size()));
  content_id_.insert(content_id_.end(), record.content_id.begin(), record.content_id.end());
  group_.push_back(record.group.value_or(0));
  has_group_.push_back(record.group ? 1 : 0);
  weight_.push_back(record.weight);
  label_.insert(label_.end(), record.labels.begin(), record.labels.end());
}

ShardInfo ShardWriter::finish(const std::filesystem::path& path, uint64_t index) {
  const std::string columns = columns_as_json(header_.label_columns);
  const ShardArrays index_arrays(*this, columns);
  const uint32_t meta_crc = index_arrays.crc();
  detail::Hash128 id = detail::hash128(&meta_crc, sizeof meta_crc, size());
  uint64_t expected_bytes = blob_.size() + mask_blob_.size();
  for (const ShardArrays::Array& a : index_arrays.arrays) {
    id = detail::hash128(a.data, a.bytes, id[0] ^ std::rotl(id[1], 32));
    expected_bytes += a.bytes;
  }

  ShardInfo info;
  info.file = path.filename().string();
  info.uuid = detail::hash_uuid(id);
  info.n = size();
  info.payload_bytes = payload_bytes();

  OutputFile(path.string(), O_WRONLY | O_CREAT | O_TRUNC).reserve(expected_bytes + (uint64_t{256} << 10));
  uint64_t blob_at = 0, mask_at = 0;
  {
    const detail::Hdf5Session session;
    Hdf5Output out(path.string());
    out.attribute("format", kShardFormat);
    out.attribute("format_version", static_cast<uint64_t>(format_version(header_.has_groups)));
    out.attribute("shard_uuid", info.uuid);
    out.attribute("shard_index", index);
    out.attribute("n_samples", info.n);
    out.attribute("payload_bytes", info.payload_bytes);
    out.attribute("meta_crc32c", uint64_t{meta_crc});
    out.attribute("color_space", "sRGB");
    out.attribute("shuffle_seed", header_.shuffle_seed);
    out.attribute("created_utc", header_.created_utc);
    out.attribute("packer_version", header_.packer_version);
    out.attribute("packer_command", header_.packer_command);
    out.attribute("provenance", header_.provenance);
    for (const ShardArrays::Array& a : index_arrays.arrays) out.write_array(a);
    blob_at = out.reserve_blob(detail::kBlob, blob_.size());
    if (!mask_blob_.empty()) mask_at = out.reserve_blob(detail::kMaskBlob, mask_blob_.size());
    out.close();
  }
  OutputFile payload(path.string(), O_WRONLY);
  payload.write_at(blob_, blob_at);
  if (!mask_blob_.empty()) payload.write_at(mask_blob_, mask_at);
  payload.sync_and_close();

  const FileDescriptor written(path);
  info.file_bytes = written.size();
  std::vector<std::byte> chunk(size_t{1} << 20);
  for (uint64_t at = 0; at < info.file_bytes;) {
    const std::span<std::byte> part(chunk.data(), static_cast<size_t>(std::min<uint64_t>(chunk.size(), info.file_bytes - at)));
    written.read_at(part, at);
    info.file_crc32c = crc32c(part.data(), part.size(), info.file_crc32c);
    at += part.size();
  }
  *this = ShardWriter(std::move(header_));
  return info;
}

}  // namespace dinoxx
