#include "data_pipeline/loader/loader.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <thread>

#include "data_pipeline/augment/view_profiles.hpp"
#include "dinoxx/base/error.hpp"
#include "memory_dataset.hpp"

namespace dinoxx {
namespace {

using testing_support::make_dataset;
using testing_support::MemoryDataset;

constexpr int kCount = 41;  // no multiple of the batch: batches straddle epochs
ViewPlan small_plan() {
  return dino_v1_views({.global_size = 24, .local_size = 16, .local_count = 2, .local_scale_min = 0.2});
}

// What a consumer sees of a batch, in an order that does not depend on the number of ranks: per view, per sample.
struct Content {
  std::vector<uint64_t> positions, ids;
  std::vector<std::vector<float>> views;  // [view] -> samples in order
  bool operator==(const Content& other) const {
    if (positions != other.positions || ids != other.ids || views.size() != other.views.size()) return false;
    for (size_t v = 0; v < views.size(); ++v) {
      if (views[v].size() != other.views[v].size() ||
          std::memcmp(views[v].data(), other.views[v].data(), views[v].size() * sizeof(float)) != 0)
        return false;
    }
    return true;
  }
  void append(const Batch& batch) {
    positions.insert(positions.end(), batch.positions.begin(), batch.positions.end());
    ids.insert(ids.end(), batch.sample_ids.begin(), batch.sample_ids.end());
    size_t view = 0;
    for (const CropGroup& group : batch.groups) {
      EXPECT_EQ(group.first_view, static_cast<int>(view));
      EXPECT_EQ(reinterpret_cast<uintptr_t>(group.pixels.data()) % 64, 0u);
      const size_t per_view = batch.positions.size() * 3 * static_cast<size_t>(group.size) * static_cast<size_t>(group.size);
      EXPECT_EQ(group.pixels.size(), static_cast<size_t>(group.views) * per_view);
      for (int v = 0; v < group.views; ++v, ++view) {
        views.resize(std::max(views.size(), view + 1));
        const auto part = group.pixels.subspan(static_cast<size_t>(v) * per_view, per_view);
        views[view].insert(views[view].end(), part.begin(), part.end());
      }
    }
  }
};

// `batches` global batches from `position`, gathered over `ranks` loaders with `workers` threads each.
std::vector<Content> load(std::shared_ptr<const Dataset> dataset, int ranks, int workers, uint64_t position, int batches,
                          LoaderConfig config = {}) {
  std::vector<Content> out(static_cast<size_t>(batches));
  config.seed = 7;
  config.global_batch = 12;
  config.world_size = ranks;
  config.workers = workers;
  for (int rank = 0; rank < ranks; ++rank) {
    config.rank = rank;
    Loader loader(dataset, dataset->ids(Split::kTrain), small_plan(), config);
    loader.start(position);
    for (Content& content : out) content.append(loader.next());
  }
  return out;
}

// Even where they have the size of the views in front of them: another network looks at them.
TEST(Loader, GramCropsAreAGroupOfTheirOwn) {
  const auto dataset = make_dataset(kCount);
  const ViewPlan plan =
      profile_views("dinov3", {.global_size = 24, .local_size = 16, .local_count = 2, .local_scale_min = 0.2, .gram_size = 16});
  Loader loader(dataset, dataset->ids(Split::kTrain), plan, {.seed = 7, .global_batch = 3});
  loader.start(0);
  const Batch& batch = loader.next();
  ASSERT_EQ(batch.groups.size(), 3u);
  EXPECT_TRUE(batch.groups[1].first_view == 2 && batch.groups[1].views == 2 && batch.groups[1].size == 16);
  EXPECT_TRUE(batch.groups[2].first_view == 4 && batch.groups[2].views == 2 && batch.groups[2].size == 16);
  std::vector<float> expected(3 * 16 * 16);
  for (uint32_t g = 0; g < 2; ++g) {
    for (size_t slot = 0; slot < 3; ++slot) {
      std::vector<uint8_t> bytes;
      Image image;
      dataset->read(batch.sample_ids[slot], bytes);
      decode_image(bytes, image);
      make_view(image, plan.views[4 + g], plan.normalization.value(), 7, batch.positions[slot], 4 + g, expected.data());
      EXPECT_TRUE(std::equal(expected.begin(), expected.end(),
                             batch.groups[2].pixels.begin() + static_cast<ptrdiff_t>((g * 3 + slot) * expected.size())));
    }
  }
}

TEST(Loader, BatchesDoNotDependOnWorkersRanksOrRestarts) {
  const auto dataset = make_dataset(kCount);
  const std::vector<Content> reference = load(dataset, 1, 1, 0, 9);
  for (const int ranks : {1, 2, 3, 4}) {
    for (const int workers : {1, 2, 8})
      EXPECT_EQ(load(dataset, ranks, workers, 0, 9), reference) << ranks << " ranks, " << workers << " workers";
  }
  const std::vector<Content> rest = load(dataset, 2, 2, 5 * 12, 4);
  for (size_t i = 0; i < rest.size(); ++i) EXPECT_EQ(rest[i], reference[5 + i]);
  LoaderConfig cached;
  cached.cache_decoded = true;
  EXPECT_EQ(load(dataset, 2, 2, 0, 9, cached), reference);
  LoaderConfig ring;
  ring.ring = 2;
  EXPECT_EQ(load(dataset, 1, 3, 0, 9, ring), reference);
}

TEST(Loader, VisitsEachSampleOncePerEpochAcrossBatches) {
  const auto dataset = make_dataset(kCount);
  std::vector<int> seen(kCount, 0);
  uint64_t position = 0;
  for (const Content& batch : load(dataset, 2, 2, 0, kCount)) {  // kCount batches of 12 are 12 epochs
    for (size_t i = 0; i < batch.ids.size(); ++i) {
      EXPECT_EQ(batch.positions[i], position++);
      ++seen[batch.ids[i]];
    }
  }
  EXPECT_THAT(seen, testing::Each(12));
}

TEST(Loader, ContentIsMakeViewOfTheSampledImage) {
  const auto dataset = make_dataset(kCount);
  const ViewPlan plan = small_plan();
  LoaderConfig config;
  config.seed = 7;
  config.global_batch = 12;
  Loader loader(dataset, dataset->ids(Split::kTrain), plan, config);
  loader.start(24);
  const Batch& batch = loader.next();
  const Sampler sampler(kCount, 7);
  for (size_t slot = 0; slot < 12; ++slot) {
    EXPECT_EQ(batch.sample_ids[slot], sampler.row(24 + slot));
    std::vector<uint8_t> bytes;
    Image image;
    dataset->read(batch.sample_ids[slot], bytes);
    decode_image(bytes, image);
    std::vector<float> expected(3 * 16 * 16);
    make_view(image, plan.views[3], plan.normalization.value(), 7, 24 + slot, 3, expected.data());
    const float* got = batch.groups[1].pixels.data() + (12 + slot) * expected.size();  // second local view
    EXPECT_EQ(std::memcmp(got, expected.data(), expected.size() * sizeof(float)), 0);
  }
}

TEST(Loader, CanBeStartedAgainElsewhere) {
  const auto dataset = make_dataset(kCount);
  const std::vector<Content> reference = load(dataset, 1, 1, 0, 6);
  LoaderConfig config;
  config.seed = 7;
  config.global_batch = 12;
  config.workers = 3;
  Loader loader(dataset, dataset->ids(Split::kTrain), small_plan(), config);
  for (const size_t first : {2u, 0u, 4u}) {
    loader.start(first * 12);
    for (size_t i = first; i < 6; ++i) {
      Content content;
      content.append(loader.next());
      EXPECT_EQ(content, reference[i]);
    }
  }
}

TEST(Loader, WorksNoFurtherAheadThanTheRing) {
  const auto dataset = make_dataset(kCount);
  LoaderConfig config;
  config.global_batch = 4;
  config.ring = 3;
  config.workers = 4;
  Loader loader(dataset, dataset->ids(Split::kTrain), small_plan(), config);
  loader.start(0);
  loader.next();
  for (int i = 0; i < 200 && dataset->reads() < 12; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_EQ(dataset->reads(), 12u);  // three slabs of four; the first is in the consumer's hands
  loader.next();
  for (int i = 0; i < 200 && dataset->reads() < 16; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_EQ(dataset->reads(), 16u);
}

TEST(Loader, CacheReadsEachSampleOnce) {
  const auto dataset = make_dataset(kCount);
  LoaderConfig config;
  config.cache_decoded = true;
  load(dataset, 1, 1, 0, 14, config);
  EXPECT_EQ(dataset->reads(), static_cast<uint64_t>(kCount));
}

TEST(Loader, ReplacesBadSamplesByPositionAndNamesThem) {
  const auto make_bad = [] {
    std::vector<std::vector<uint8_t>> encoded;
    encoded.reserve(kCount);
    for (int i = 0; i < kCount; ++i) encoded.push_back(encode_png(testing_support::make_image(20, 20, static_cast<uint32_t>(i))));
    encoded[5].resize(encoded[5].size() / 2);
    auto dataset = std::make_shared<MemoryDataset>(std::move(encoded));
    dataset->unreadable = {9};
    dataset->fails_once = {3, 4};
    return dataset;
  };
  LoaderConfig config;
  config.max_bad_fraction = 0.1;
  const std::vector<Content> one = load(make_bad(), 1, 1, 0, 8, config), four = load(make_bad(), 4, 2, 0, 8, config);
  EXPECT_EQ(one, four);
  const Sampler sampler(kCount, 7);
  int replaced = 0, recovered = 0;
  for (const Content& batch : one) {
    for (size_t i = 0; i < batch.ids.size(); ++i) {
      const uint64_t wanted = sampler.row(batch.positions[i]);
      EXPECT_NE(batch.ids[i], 5u);
      EXPECT_NE(batch.ids[i], 9u);
      if (wanted == 5 || wanted == 9) {
        ++replaced;
      } else {
        EXPECT_EQ(batch.ids[i], wanted);
        recovered += wanted == 3 || wanted == 4;
      }
    }
  }
  EXPECT_GE(replaced, 4);
  EXPECT_GE(recovered, 4);

  config.seed = 7;
  config.global_batch = 12;
  config.workers = 2;
  const auto dataset = make_bad();
  Loader loader(dataset, dataset->ids(Split::kTrain), small_plan(), config);
  loader.start(0);
  for (int i = 0; i < 8; ++i) loader.next();
  const LoaderStats stats = loader.stats();
  EXPECT_GE(stats.bad_samples, static_cast<uint64_t>(replaced));
  ASSERT_EQ(stats.new_bad.size(), 2u);
  for (const BadSample& bad : stats.new_bad) {
    EXPECT_TRUE(bad.id == 5 || bad.id == 9);
    EXPECT_EQ(bad.key, "image-" + std::to_string(bad.id));
    if (bad.id == 9) {
      EXPECT_EQ(bad.reason, "unreadable on purpose");
    }
    EXPECT_FALSE(bad.reason.empty());
  }
  EXPECT_TRUE(loader.stats().new_bad.empty());
}

TEST(Loader, TooManyBadSamplesReachTheConsumerAsAnError) {
  const auto dataset = make_dataset(kCount);
  for (uint64_t id = 0; id < kCount; id += 2) dataset->unreadable.insert(id);
  LoaderConfig config;
  config.global_batch = 8;
  config.workers = 2;
  Loader loader(dataset, dataset->ids(Split::kTrain), small_plan(), config);
  loader.start(0);
  try {
    for (int i = 0; i < 5; ++i) loader.next();
    FAIL() << "half of the samples are bad";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("unreadable on purpose"));
    EXPECT_THAT(error.what(), testing::HasSubstr("image-"));
  }
}

// One unreadable sample, none allowed: only the batch that holds it fails, the ones before and after are delivered.
TEST(Loader, ErrorBelongsToItsBatch) {
  const Sampler sampler(kCount, 7);
  const auto dataset = make_dataset(kCount);
  dataset->unreadable = {sampler.row(17)};
  LoaderConfig config;
  config.seed = 7;
  config.global_batch = 8;
  config.workers = 3;
  config.max_bad_fraction = 0.0;
  Loader loader(dataset, dataset->ids(Split::kTrain), small_plan(), config);
  loader.start(0);
  EXPECT_NO_THROW(loader.next());
  EXPECT_NO_THROW(loader.next());
  EXPECT_THROW(loader.next(), Error);
  EXPECT_EQ(loader.next().first_position, 24u);
}

TEST(Loader, JoinsQuicklyInAnyState) {
  const auto dataset = make_dataset(kCount);
  for (const bool begin : {false, true}) {
    LoaderConfig config;
    config.global_batch = 16;
    config.workers = 8;
    auto loader = std::make_unique<Loader>(dataset, dataset->ids(Split::kTrain), small_plan(), config);
    if (begin) loader->start(0);
    loader.reset();  // the test's time limit is the check: a lost wake-up would hang
  }
}

TEST(Loader, StatsCountBytesAndTime) {
  const auto dataset = make_dataset(kCount);
  LoaderConfig config;
  config.global_batch = 8;
  Loader loader(dataset, dataset->ids(Split::kTrain), small_plan(), config);
  loader.start(0);
  loader.next();
  const LoaderStats stats = loader.stats();
  EXPECT_GT(stats.bytes_read, 8u * 500u);
  EXPECT_GT(stats.decode_seconds, 0.0);
  EXPECT_GT(stats.augment_seconds, 0.0);
  EXPECT_GE(stats.wait_seconds, 0.0);
  EXPECT_EQ(stats.bad_samples, 0u);
  EXPECT_EQ(batch_bytes(small_plan(), 8, true), 8u * 3u * (2u * 24u * 24u + 2u * 16u * 16u));
  EXPECT_EQ(batch_bytes(small_plan(), 8, false), 4 * batch_bytes(small_plan(), 8, true));
}

TEST(Loader, TheBatchAheadIsTheOneThatComesNext) {
  const auto dataset = make_dataset(20);
  LoaderConfig config;
  config.global_batch = 4;
  Loader loader(dataset, dataset->ids(Split::kTrain), small_plan(), config);
  EXPECT_EQ(loader.ahead(), nullptr);
  loader.start(0);
  for (int t = 0; t < 6; ++t) {
    loader.next();
    const Batch* ahead = nullptr;
    while (!ahead) ahead = loader.ahead();
    const uint64_t position = ahead->first_position;
    const std::vector<float> pixels(ahead->groups[0].pixels.begin(), ahead->groups[0].pixels.end());
    const Batch& next = loader.next();
    EXPECT_EQ(&next, ahead);
    EXPECT_EQ(next.first_position, position);
    EXPECT_TRUE(std::equal(pixels.begin(), pixels.end(), next.groups[0].pixels.begin()));
  }
}

TEST(Loader, BytesAreThePixelsBeforeNormalisation) {
  const auto dataset = make_dataset(20);
  LoaderConfig config;
  config.global_batch = 4;
  const auto ids = dataset->ids(Split::kTrain);
  Loader floats(dataset, ids, small_plan(), config);
  config.bytes = true;
  std::vector<std::vector<uint8_t>> memory;
  config.allocate = [&](size_t bytes) {
    memory.emplace_back(bytes + 64);
    return std::shared_ptr<void>(std::shared_ptr<void>(), memory.back().data());
  };
  Loader loader(dataset, ids, small_plan(), config);
  ASSERT_EQ(memory.size(), static_cast<size_t>(config.ring));
  const ChannelScale by = channel_scale(small_plan().normalization.value());
  floats.start(8);
  loader.start(8);
  for (int t = 0; t < 4; ++t) {
    const Batch &expected = floats.next(), &batch = loader.next();
    ASSERT_EQ(batch.groups.size(), expected.groups.size());
    for (size_t g = 0; g < batch.groups.size(); ++g) {
      const CropGroup& group = batch.groups[g];
      EXPECT_TRUE(group.pixels.empty());
      EXPECT_TRUE(expected.groups[g].bytes.empty());
      ASSERT_EQ(group.bytes.size(), expected.groups[g].pixels.size());
      const size_t plane = static_cast<size_t>(group.size) * static_cast<size_t>(group.size);
      size_t wrong = 0;
      for (size_t i = 0; i < group.bytes.size(); ++i) {
        const size_t channel = i / plane % 3;
        const volatile float scaled = static_cast<float>(group.bytes[i]) * by.scale[channel];  // rounded before the shift
        wrong += scaled + by.shift[channel] != expected.groups[g].pixels[i];
      }
      EXPECT_EQ(wrong, 0u) << "batch " << t << ", group " << g;
    }
  }
}

TEST(Loader, RefusesWhatCannotWork) {
  const auto dataset = make_dataset(10);
  const auto ids = dataset->ids(Split::kTrain);
  const auto refused = [&](auto change, const char* text) {
    LoaderConfig config;
    config.global_batch = 8;
    ViewPlan plan = small_plan();
    std::vector<uint64_t> some = ids;
    change(config, plan, some);
    try {
      Loader loader(dataset, some, plan, config);
      ADD_FAILURE() << "accepted: " << text;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr(text));
    }
  };
  using C = LoaderConfig;
  using P = ViewPlan;
  using I = std::vector<uint64_t>;
  refused([](C& c, P&, I&) { c.global_batch = 11; }, "at most the 10 samples");
  refused([](C& c, P&, I&) { c.world_size = 3; }, "a multiple of the 3 ranks");
  refused([](C& c, P&, I&) { c.global_batch = 0; }, "batch size");
  refused([](C& c, P&, I&) { c.rank = 1; }, "rank 1 of 1");
  refused([](C& c, P&, I&) { c.workers = 0; }, "loader workers");
  refused([](C& c, P&, I&) { c.ring = 1; }, "loader ring");
  refused([](C& c, P&, I&) { c.max_bad_fraction = -1; }, "bad fraction");
  refused([](C&, P&, I& i) { i.clear(); }, "at least one sample");
  refused([](C&, P&, I& i) { i[3] = 10; }, "sample ids below 10");
  refused([](C&, P& p, I&) { p.views.clear(); }, "at least one view");
  refused([](C&, P& p, I&) { p.normalization.reset(); }, "mean and standard deviation to normalise by");
  refused([](C&, P& p, I&) { p.views[1].scale_min = 2.0; }, "global2");
  LoaderConfig config;
  config.global_batch = 4;
  Loader loader(dataset, ids, small_plan(), config);
  EXPECT_THROW(loader.next(), Error);
}

}  // namespace
}  // namespace dinoxx
