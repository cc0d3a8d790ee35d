#include <fmt/format.h>

#include <algorithm>

#include "base/crc32c.hpp"
#include "dinoxx/base/error.hpp"
#include "hdf5_util.hpp"
#include "shard.hpp"
#include "shard_layout.hpp"

namespace dinoxx {
namespace {

using detail::Hdf5Handle;

constexpr const char* kAdvice = "Copy the file again from its source, or pack again";

template <class T>
hid_t native_type();
template <>
hid_t native_type<uint8_t>() {
  return H5T_NATIVE_UINT8;
}
template <>
hid_t native_type<uint16_t>() {
  return H5T_NATIVE_UINT16;
}
template <>
hid_t native_type<uint32_t>() {
  return H5T_NATIVE_UINT32;
}
template <>
hid_t native_type<uint64_t>() {
  return H5T_NATIVE_UINT64;
}
template <>
hid_t native_type<int32_t>() {
  return H5T_NATIVE_INT32;
}
template <>
hid_t native_type<float>() {
  return H5T_NATIVE_FLOAT;
}

/// A dataset whose bytes lie in the file as they are.
struct Span {
  uint64_t address = 0;
  uint64_t bytes = 0;
};

/// The HDF5 side of opening: everything is checked before it is believed.
class Hdf5Input {
 public:
  Hdf5Input(const std::string& path, const FileDescriptor& file) : path_(path), disk_(file), file_bytes_(file.size()) {
    { const FileDescriptor spare(path); }  // HDF5 needs one more, and takes the limit on open files for another format
    const htri_t is_hdf5 = H5Fis_hdf5(path.c_str());
    if (is_hdf5 <= 0) fail(path, "an HDF5 file", fmt::format("{} bytes that are none", file_bytes_), "Is it a dinoxx shard (shard-*.h5)?");
    file_ = Hdf5Handle(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose);
    if (!file_) detail::hdf5_fail(path, "a complete HDF5 file", kAdvice);
  }

  std::string text_attribute(const char* name) {
    const Hdf5Handle a(H5Aopen(file_.get(), name, H5P_DEFAULT), H5Aclose);
    if (!a) return {};
    const Hdf5Handle type(H5Aget_type(a.get()), H5Tclose);
    if (H5Tget_class(type.get()) != H5T_STRING || H5Tis_variable_str(type.get()) != 0) return {};
    std::string value(H5Tget_size(type.get()), '\0');
    if (H5Aread(a.get(), type.get(), value.data()) < 0) detail::hdf5_fail(path_, fmt::format("attribute {}", name), kAdvice);
    value.resize(std::min(value.size(), value.find_last_not_of('\0') + 1));
    return value;
  }
  uint64_t number_attribute(const char* name) {
    const Hdf5Handle a(H5Aopen(file_.get(), name, H5P_DEFAULT), H5Aclose);
    if (!a) fail(path_, fmt::format("attribute {}", name), "none", kAdvice);
    const Hdf5Handle type(H5Aget_type(a.get()), H5Tclose), space(H5Aget_space(a.get()), H5Sclose);
    uint64_t value = 0;
    if (H5Tget_class(type.get()) != H5T_INTEGER || H5Sget_simple_extent_npoints(space.get()) != 1 ||
        H5Aread(a.get(), H5T_NATIVE_UINT64, &value) < 0) {
      fail(path_, fmt::format("attribute {} to be one whole number", name), "something else", kAdvice);
    }
    return value;
  }

  bool exists(const char* name) { return H5Lexists(file_.get(), name, H5P_DEFAULT) > 0; }

  /// Second extent of a two-dimensional dataset.
  uint64_t columns(const char* name) {
    const Hdf5Handle set(H5Dopen2(file_.get(), name, H5P_DEFAULT), H5Dclose);
    const Hdf5Handle space(set ? H5Dget_space(set.get()) : -1, H5Sclose);
    hsize_t dims[2] = {0, 0};
    if (!space || H5Sget_simple_extent_ndims(space.get()) != 2 || H5Sget_simple_extent_dims(space.get(), dims, nullptr) < 0 ||
        dims[1] == 0) {
      fail(path_, fmt::format("{} to have rows and columns", name), "another extent", kAdvice);
    }
    return dims[1];
  }

  /// Checks layout and extent, and gives the place in the file. `rows`: expected first extent, 0 = any. `columns`: expected second extent,
  /// 0 = one-dimensional.
  template <class T>
  Span locate(const char* name, uint64_t rows, uint64_t columns) {
    const Hdf5Handle set(H5Dopen2(file_.get(), name, H5P_DEFAULT), H5Dclose);
    if (!set) fail(path_, fmt::format("dataset {}", name), "none", kAdvice);
    const Hdf5Handle plist(H5Dget_create_plist(set.get()), H5Pclose), type(H5Dget_type(set.get()), H5Tclose),
        space(H5Dget_space(set.get()), H5Sclose);
    const auto refuse = [&](const std::string& expected, const std::string& found) {
      fail(path_, fmt::format("{} {}", name, expected), found, kAdvice);
    };
    if (H5Pget_layout(plist.get()) != H5D_CONTIGUOUS) refuse("to be contiguous", "another layout");
    if (H5Pget_nfilters(plist.get()) != 0) refuse("to have no filters", "some");
    if (H5Pget_external_count(plist.get()) != 0) refuse("to lie in this file", "external storage");
    if (H5Tequal(type.get(), native_type<T>()) <= 0) refuse("to have the type of the format", "another type");
    hsize_t dims[2] = {0, 0};
    const int rank = H5Sget_simple_extent_ndims(space.get());
    if (rank != (columns == 0 ? 1 : 2)) refuse(fmt::format("to have {} dimensions", columns == 0 ? 1 : 2), std::to_string(rank));
    H5Sget_simple_extent_dims(space.get(), dims, nullptr);
    if ((rows != 0 && dims[0] != rows) || (columns != 0 && dims[1] != columns)) {
      refuse(fmt::format("to have {} rows", rows), std::to_string(dims[0]));
    }
    const uint64_t columns_or_one = columns == 0 ? 1 : columns;
    // no overflow: what does not fit the file was refused by its size
    if (dims[0] > file_bytes_ / sizeof(T) / columns_or_one)
      refuse(fmt::format("to fit into {} bytes", file_bytes_), fmt::format("{} rows", dims[0]));
    Span span{0, dims[0] * columns_or_one * sizeof(T)};
    const haddr_t address = H5Dget_offset(set.get());
    if (H5Dget_storage_size(set.get()) != span.bytes)
      refuse(fmt::format("to take {} bytes", span.bytes), std::to_string(H5Dget_storage_size(set.get())));
    if (address == HADDR_UNDEF) refuse("to have an address", "none");
    span.address = address;
    if (span.address > file_bytes_ || span.bytes > file_bytes_ - span.address) {
      refuse(fmt::format("to end within {} bytes", file_bytes_), fmt::format("{} + {}", span.address, span.bytes));
    }
    return span;
  }

  /// Reads an index array and adds it to the checksum of all of them.
  template <class T>
  std::vector<T> read(const char* name, uint64_t rows, uint64_t columns, uint32_t& crc, Span* where = nullptr) {
    const Span span = locate<T>(name, rows, columns);
    std::vector<T> values(span.bytes / sizeof(T));
    disk_.read_at(std::as_writable_bytes(std::span<T>(values)), span.address);
    crc = crc32c(values.data(), span.bytes, crc);
    if (where != nullptr) *where = span;
    return values;
  }

 private:
  std::string path_;
  const FileDescriptor& disk_;
  uint64_t file_bytes_;
  Hdf5Handle file_;
};

void check_offsets(const std::string& path, const char* name, const std::vector<uint64_t>& offset, uint64_t end) {
  if (offset.front() != 0 || offset.back() != end || !std::is_sorted(offset.begin(), offset.end())) {
    fail(path, fmt::format("{} to rise from 0 to {}", name, end), fmt::format("{} to {}", offset.front(), offset.back()), kAdvice);
  }
}

}  // namespace

ShardReader::ShardReader(const std::filesystem::path& path) : file_(path) {
  const detail::Hdf5Session session;
  const std::string& name = file_.path();
  Hdf5Input in(name, file_);
  const std::string format = in.text_attribute("format");
  if (format != kShardFormat) {
    fail(name, fmt::format("format \"{}\"", kShardFormat), format.empty() ? "an HDF5 file without that attribute" : '"' + format + '"',
         "Make shards with dinoxx pack");
  }
  const uint64_t version = in.number_attribute("format_version");
  if (version < 1 || version > kShardFormatVersion) {
    fail(name, fmt::format("format version 1 to {}", kShardFormatVersion), std::to_string(version),
         "Pack again with this version of dinoxx, or use the newer program");
  }
  const uint64_t n = in.number_attribute("n_samples");
  if (n == 0 || n > (uint64_t{1} << 40)) fail(name, "samples", std::to_string(n), kAdvice);
  uuid_ = in.text_attribute("shard_uuid");
  provenance_ = in.text_attribute("provenance");

  uint32_t crc = 0;
  Span where;
  offset_ = in.read<uint64_t>(detail::kOffset, n + 1, 0, crc);
  const auto codec = in.read<uint8_t>(detail::kCodec, n, 0, crc);
  const auto width = in.read<uint32_t>(detail::kWidth, n, 0, crc);
  const auto height = in.read<uint32_t>(detail::kHeight, n, 0, crc);
  in.read<uint16_t>(detail::kChannels, n, 0, crc);
  in.read<uint8_t>(detail::kDtype, n, 0, crc);
  crc_ = in.read<uint32_t>(detail::kCrc, n, 0, crc);
  const uint64_t key_bytes = in.read<uint8_t>(detail::kKeyBlob, 0, 0, crc, &where).size();
  key_blob_at_ = where.address;
  check_offsets(name, detail::kKeyOffset, in.read<uint64_t>(detail::kKeyOffset, n + 1, 0, crc, &where), key_bytes);
  key_offset_at_ = where.address;
  in.read<uint64_t>(detail::kContentId, n, 2, crc, &where);
  content_id_at_ = where.address;
  const auto split = in.read<uint8_t>(detail::kSplit, n, 0, crc);
  const auto weight = in.read<float>(detail::kWeight, n, 0, crc);
  if (in.exists(detail::kLabel)) {
    columns_ = in.columns(detail::kLabel);
    label_ = in.read<int32_t>(detail::kLabel, n, columns_, crc);
  }
  std::vector<uint64_t> group;
  std::vector<uint8_t> has_group;
  has_groups_ = in.exists(detail::kGroup);
  if (has_groups_) group = in.read<uint64_t>(detail::kGroup, n, 0, crc);
  if (has_groups_ && version > 1) has_group = in.read<uint8_t>(detail::kHasGroup, n, 0, crc);
  if (in.exists(detail::kMaskOffset)) {
    mask_offset_ = in.read<uint64_t>(detail::kMaskOffset, n + 1, 0, crc);
    mask_crc_ = in.read<uint32_t>(detail::kMaskCrc, n, 0, crc);
  }
  const auto columns_json = in.read<uint8_t>(detail::kLabelColumns, 0, 0, crc);
  label_columns_json_.assign(columns_json.begin(), columns_json.end());
  if (const uint64_t expected = in.number_attribute("meta_crc32c"); crc != expected) {
    fail(name, fmt::format("index arrays with CRC32C {:08x}", expected), fmt::format("{:08x}", crc), kAdvice);
  }

  const Span blob = in.locate<uint8_t>(detail::kBlob, offset_.back(), 0);
  blob_at_ = blob.address;
  check_offsets(name, detail::kOffset, offset_, blob.bytes);
  if (!mask_offset_.empty()) {
    const Span masks = in.locate<uint8_t>(detail::kMaskBlob, mask_offset_.back(), 0);
    mask_blob_at_ = masks.address;
    check_offsets(name, detail::kMaskOffset, mask_offset_, masks.bytes);
  }
  if (in.number_attribute("payload_bytes") != payload_bytes())
    fail(name, "payload_bytes to agree with the offsets", "another number", kAdvice);

  meta_.resize(n);
  for (uint64_t i = 0; i < n; ++i) {
    if (codec[i] > static_cast<uint8_t>(Codec::kPng) || split[i] > static_cast<uint8_t>(Split::kTest)) {
      fail(name, "codec 0 or 1 and split 0 to 2", fmt::format("codec {} and split {} in row {}", codec[i], split[i], i), kAdvice);
    }
    meta_[i] = {columns_ == 0 ? -1 : label_[i * columns_],
                static_cast<Split>(split[i]),
                {},
                weight[i],
                width[i],
                height[i],
                static_cast<Codec>(codec[i])};
    if (!has_groups_) continue;
    if (has_group.empty() ? group[i] != 0 : has_group[i] != 0)
      meta_[i].group = group[i];
    else if (has_group.empty())
      ++unclear_groups_;
  }
  if (columns_ <= 1) {  // the only column is in meta_
    label_.clear();
    label_.shrink_to_fit();
  }
}

int32_t ShardReader::label(uint64_t row, size_t column) const {
  if (column >= columns_) return -1;
  return columns_ == 1 ? meta_[row].label : label_[row * columns_ + column];
}

std::array<uint64_t, 2> ShardReader::content_id(uint64_t row) const {
  std::array<uint64_t, 2> id{};
  file_.read_at(std::as_writable_bytes(std::span<uint64_t>(id)), content_id_at_ + row * sizeof id);
  return id;
}

std::string ShardReader::key(uint64_t row) const {
  std::array<uint64_t, 2> range{};
  file_.read_at(std::as_writable_bytes(std::span<uint64_t>(range)), key_offset_at_ + row * sizeof(uint64_t));
  if (range[0] > range[1] || range[1] - range[0] > (uint64_t{1} << 20)) fail(path(), "the name of a sample", "damaged offsets", kAdvice);
  std::string key(range[1] - range[0], '\0');
  file_.read_at(std::as_writable_bytes(std::span<char>(key)), key_blob_at_ + range[0]);
  return key;
}

void ShardReader::read_checked(uint64_t row, uint64_t address, const std::vector<uint64_t>& offset, const std::vector<uint32_t>& crc,
                               const char* what, std::vector<uint8_t>& bytes) const {
  bytes.resize(offset[row + 1] - offset[row]);
  file_.read_at(std::as_writable_bytes(std::span<uint8_t>(bytes)), address + offset[row]);
  if (const uint32_t found = crc32c(bytes.data(), bytes.size()); found != crc[row]) {
    fail(fmt::format("{}: {} {} ({})", path(), what, row, key(row)), fmt::format("CRC32C {:08x}", crc[row]), fmt::format("{:08x}", found),
         kAdvice);
  }
}

void ShardReader::read(uint64_t row, std::vector<uint8_t>& bytes) const {
  read_checked(row, blob_at_, offset_, crc_, "row", bytes);
}

void ShardReader::read_mask(uint64_t row, std::vector<uint8_t>& bytes) const {
  if (mask_offset_.empty()) {
    bytes.clear();
    return;
  }
  read_checked(row, mask_blob_at_, mask_offset_, mask_crc_, "mask of row", bytes);
}

}  // namespace dinoxx
