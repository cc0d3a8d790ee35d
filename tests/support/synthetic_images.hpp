#pragma once
#include "base/rng.hpp"
#include "support/memory_dataset.hpp"

namespace dinoxx::testing_support {

/// An image whose class shows in its colours, with noise: class c brightens channel c % 3 by an amount that grows with c.
inline Image class_image(int label, uint64_t id, int width = 16, int height = 16) {
  CounterRng rng(99, id, 0, Purpose::kEval);
  Image image{width, height, std::vector<uint8_t>(static_cast<size_t>(width) * height * 3)};
  for (int i = 0; i < width * height * 3; ++i) {
    const int base = i % 3 == label % 3 ? 120 + 40 * (label / 3) : 40;
    image.data[i] = static_cast<uint8_t>(base + rng.below(60));
  }
  return image;
}

/// `train` and `test` images of `classes` classes, ids interleaved over classes.
inline std::shared_ptr<MemoryDataset> class_dataset(int train, int test, int classes, int size = 16, int val = 0) {
  auto data = std::make_shared<MemoryDataset>();
  std::vector<std::string> names;
  for (int c = 0; c < classes; ++c) names.push_back("class" + std::to_string(c));
  data->set_class_names(names);
  const auto add = [&](Split split, int count) {
    for (int i = 0; i < count; ++i) data->add_image(split, i % classes, class_image(i % classes, data->size(), size, size));
  };
  add(Split::kTrain, train);
  add(Split::kVal, val);
  add(Split::kTest, test);
  return data;
}

}  // namespace dinoxx::testing_support
