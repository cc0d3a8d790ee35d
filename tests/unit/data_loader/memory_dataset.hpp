#pragma once
#include <atomic>
#include <memory>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "dinoxx/data_pipeline/dataset.hpp"

namespace dinoxx::testing_support {

/// Encoded images in memory; single samples can be made to fail always, or at their first read.
class MemoryDataset : public Dataset {
 public:
  explicit MemoryDataset(std::vector<std::vector<uint8_t>> encoded) : encoded_(std::move(encoded)), meta_(encoded_.size()) {}

  uint64_t size() const override { return encoded_.size(); }
  const std::string& fingerprint() const override { return name_; }
  const std::vector<std::string>& class_names() const override { return classes_; }
  const SampleMeta& meta(uint64_t id) const override { return meta_.at(id); }
  std::string key(uint64_t id) const override { return "image-" + std::to_string(id); }
  void read(uint64_t id, std::vector<uint8_t>& bytes) const override {
    reads_.fetch_add(1);
    {
      const std::lock_guard lock(mutex_);
      if (fails_once.erase(id) > 0) throw std::runtime_error("transient read failure");
    }
    if (unreadable.contains(id)) throw std::runtime_error("unreadable on purpose");
    bytes = encoded_.at(id);
  }
  void read_mask(uint64_t, std::vector<uint8_t>& bytes) const override { bytes.clear(); }
  bool has_split(Split split) const override { return split == Split::kTrain; }
  std::vector<uint64_t> ids(Split) const override {
    std::vector<uint64_t> out(encoded_.size());
    for (uint64_t i = 0; i < out.size(); ++i) out[i] = i;
    return out;
  }
  uint64_t reads() const { return reads_.load(); }

  std::set<uint64_t> unreadable;          ///< set before use
  mutable std::set<uint64_t> fails_once;  ///< set before use

 private:
  std::vector<std::vector<uint8_t>> encoded_;
  std::vector<SampleMeta> meta_;
  std::string name_ = "memory";
  std::vector<std::string> classes_;
  mutable std::atomic<uint64_t> reads_{0};
  mutable std::mutex mutex_;
};

/// A smooth image with some texture; differs by `seed`.
inline Image make_image(int width, int height, uint32_t seed) {
  Image image{width, height, std::vector<uint8_t>(static_cast<size_t>(width) * static_cast<size_t>(height) * 3)};
  uint32_t state = seed * 2654435761u + 12345u;
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (int c = 0; c < 3; ++c) {
        state = state * 1664525u + 1013904223u;
        const uint32_t base = (static_cast<uint32_t>(x) * (3 + seed % 5) + static_cast<uint32_t>(y) * (2 + seed % 3) +
                               static_cast<uint32_t>(c) * 70 + seed * 31) &
                              255u;
        image.data[(static_cast<size_t>(y) * static_cast<size_t>(width) + static_cast<size_t>(x)) * 3 + static_cast<size_t>(c)] =
            static_cast<uint8_t>((base * 3 + (state >> 24)) / 4);
      }
    }
  }
  return image;
}

inline std::shared_ptr<MemoryDataset> make_dataset(int count) {
  std::vector<std::vector<uint8_t>> encoded;
  for (int i = 0; i < count; ++i) encoded.push_back(encode_png(make_image(24 + i % 7, 20 + i % 5, static_cast<uint32_t>(i))));
  return std::make_shared<MemoryDataset>(std::move(encoded));
}

}  // namespace dinoxx::testing_support
