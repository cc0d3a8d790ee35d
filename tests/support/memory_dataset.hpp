#pragma once
#include <algorithm>
#include <map>
#include <utility>

#include "dinoxx/base/error.hpp"
#include "dinoxx/data_pipeline/dataset.hpp"

namespace dinoxx::testing_support {

/// A data set that lives in memory: what a test says it holds.
class MemoryDataset : public Dataset {
 public:
  /// A sample with its encoded bytes (may be empty when nothing reads them). Returns its id.
  uint64_t add(Split split, int32_t label, std::vector<uint8_t> bytes = {}, uint32_t width = 8, uint32_t height = 8) {
    SampleMeta meta;
    meta.split = split;
    meta.label = label;
    meta.width = width;
    meta.height = height;
    meta.codec = Codec::kPng;
    metas_.push_back(meta);
    bytes_.push_back(std::move(bytes));
    content_ids_.push_back({});
    return metas_.size() - 1;
  }
  uint64_t add_image(Split split, int32_t label, const Image& image) {
    return add(split, label, encode_png(image), static_cast<uint32_t>(image.width), static_cast<uint32_t>(image.height));
  }
  void set_class_names(std::vector<std::string> names) { class_names_ = std::move(names); }
  void set_group(uint64_t id, std::optional<uint64_t> group) { metas_[id].group = group; }
  void set_content_id(uint64_t id, std::array<uint64_t, 2> content) { content_ids_[id] = content; }
  /// Encoded as a gray PNG.
  void set_mask(uint64_t id, std::vector<uint8_t> mask) { masks_[id] = std::move(mask); }
  void set_bytes(uint64_t id, std::vector<uint8_t> bytes) { bytes_[id] = std::move(bytes); }

  uint64_t size() const override { return metas_.size(); }
  const std::string& fingerprint() const override { return fingerprint_; }
  const std::vector<std::string>& class_names() const override { return class_names_; }
  const SampleMeta& meta(uint64_t id) const override { return metas_.at(id); }
  std::string key(uint64_t id) const override { return "image" + std::to_string(id) + ".png"; }
  void read(uint64_t id, std::vector<uint8_t>& bytes) const override { bytes = bytes_.at(id); }
  void read_mask(uint64_t id, std::vector<uint8_t>& bytes) const override {
    const auto found = masks_.find(id);
    bytes = found == masks_.end() ? std::vector<uint8_t>() : found->second;
  }
  bool has_masks() const override { return !masks_.empty(); }
  bool has_split(Split split) const override { return !ids(split).empty(); }
  bool has_groups() const override {
    return std::any_of(metas_.begin(), metas_.end(), [](const SampleMeta& meta) { return meta.group.has_value(); });
  }
  std::array<uint64_t, 2> content_id(uint64_t id) const override { return content_ids_.at(id); }
  std::vector<uint64_t> ids(Split split) const override {
    std::vector<uint64_t> result;
    for (uint64_t id = 0; id < metas_.size(); ++id) {
      if (metas_[id].split == split) result.push_back(id);
    }
    return result;
  }

 private:
  std::string fingerprint_ = "memory";
  std::vector<std::string> class_names_;
  std::vector<SampleMeta> metas_;
  std::vector<std::vector<uint8_t>> bytes_;
  std::map<uint64_t, std::vector<uint8_t>> masks_;
  std::vector<std::array<uint64_t, 2>> content_ids_;
};

}  // namespace dinoxx::testing_support
