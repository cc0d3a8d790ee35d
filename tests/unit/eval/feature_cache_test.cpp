// Features on disk: the same bits as computed ones, and nothing that goes wrong with a file matters.
#include "eval/features/feature_cache.hpp"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <sys/resource.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <fstream>
#include <thread>

#include "dinoxx/comm/self_communicator.hpp"
#include "eval/features/blocks.hpp"
#include "eval/run/protocols.hpp"
#include "support/small_vit.hpp"
#include "support/synthetic_images.hpp"
#include "support/temporary_folder.hpp"
#include "support/thread_ranks.hpp"

namespace dinoxx::eval {
namespace {

namespace fs = std::filesystem;
using namespace dinoxx::testing_support;
using nlohmann::json;
using testing::HasSubstr;

const ExtractOptions kOptions{{0, 16}, imagenet_normalization(), 1};

std::vector<fs::path> files_in(const fs::path& folder) {
  std::vector<fs::path> files;
  if (fs::exists(folder))
    for (const auto& entry : fs::directory_iterator(folder)) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

struct Setting {
  TemporaryFolder temporary;
  fs::path folder = temporary / "features";
  std::shared_ptr<MemoryDataset> data = class_dataset(131, 70, 3, 16, 20);
  EvalData chosen = choose_eval_data(*data, std::nullopt, 0);
  std::unique_ptr<Backbone> network = small_backbone(1, 5);
  std::atomic<int> embedded{0};  // images
  std::vector<Embedder> embedders{counted(backbone_embedder("teacher", "", *network)), counted(pixel_embedder(16))};
  std::vector<std::string> said;

  Embedder counted(Embedder embedder) {
    const auto inner = embedder.embed;
    embedder.embed = [this, inner](const at::Tensor& images) {
      embedded += static_cast<int>(images.size(0));
      return inner(images);
    };
    return embedder;
  }
  FeatureCache cache(uint64_t limit = FeatureCache::kDefaultLimit) {
    return FeatureCache(folder, limit, [this](const std::string& text) { said.push_back(text); });
  }
  // Rows of all lists of all embedders, one after the other.
  std::vector<at::Tensor> embed(Communicator& comm, FeatureCache* cache) {
    LocalFeatures local = embed_all(*data, chosen, true, embedders, kOptions, comm, cache);
    std::vector<at::Tensor> all;
    for (size_t e = 0; e < embedders.size(); ++e) {
      const SplitFeatures features = take_features(local, e, chosen, comm);
      for (const at::Tensor& rows : {features.memory, features.queries, features.validation}) all.push_back(rows);
    }
    return all;
  }
  // What a new evaluation gets, and how many images it embeds for it.
  std::pair<std::vector<at::Tensor>, int> again() {
    const auto self = make_self_communicator();
    embedded = 0;
    FeatureCache fresh = cache();
    return {embed(*self, &fresh), embedded.load()};
  }
};

void expect_equal(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(at::equal(a[i], b[i])) << i;
}

constexpr int kImages = 131 + 70 + 20;

TEST(FeatureCacheTest, ASecondEvaluationEmbedsNothingAndGetsTheSameBitsAtAnyNumberOfRanks) {
  Setting s;
  const auto self = make_self_communicator();
  const std::vector<at::Tensor> expected = s.embed(*self, nullptr);
  EXPECT_FALSE(fs::exists(s.folder));
  run_thread_ranks(3, [&](std::shared_ptr<Communicator> comm) {
    FeatureCache cache(s.folder);
    const auto rows = s.embed(*comm, &cache);
    if (comm->rank() == 0) {
      EXPECT_EQ(cache.report()["written"].size(), 6u);
      expect_equal(rows, expected);
    }
  });
  EXPECT_EQ(files_in(s.folder).size(), 6u);
  s.embedded = 0;
  for (const int ranks : {1, 2, 4}) {
    run_thread_ranks(ranks, [&](std::shared_ptr<Communicator> comm) {
      FeatureCache cache(s.folder);
      expect_equal(s.embed(*comm, &cache), expected);
      if (comm->rank() == 0) {
        EXPECT_EQ(
            cache.report()["read"].dump(),
            R"(["teacher, 131 images","raw, 131 images","teacher, 70 images","raw, 70 images","teacher, 20 images","raw, 20 images"])");
        EXPECT_TRUE(cache.report()["written"].empty());
      }
    });
  }
  EXPECT_EQ(s.embedded, 0);
}

TEST(FeatureCacheTest, OneEmbedderOrListThatIsMissingIsMadeAlone) {
  Setting s;
  const auto [expected, all] = s.again();
  EXPECT_EQ(all, 2 * kImages);
  fs::path largest;  // raw, memory
  for (const fs::path& file : files_in(s.folder))
    if (largest.empty() || fs::file_size(file) > fs::file_size(largest)) largest = file;
  fs::remove(largest);
  const auto [rows, embedded] = s.again();
  EXPECT_EQ(embedded, 131);
  expect_equal(rows, expected);
}

TEST(FeatureCacheTest, OtherWeightsImagesOrTransformsAreOtherEntries) {
  Setting s;
  const auto expected = s.again().first;
  const auto self = make_self_communicator();
  const auto found = [&](const Embedder& embedder, std::span<const uint64_t> ids, const ExtractOptions& options) {
    return s.cache().read(*s.data, ids, embedder, options, *self).has_value();
  };
  const Embedder& teacher = s.embedders[0];
  EXPECT_TRUE(found(teacher, s.chosen.memory, kOptions));
  EXPECT_FALSE(found(teacher, std::span(s.chosen.memory).first(130), kOptions));
  ExtractOptions other = kOptions;
  other.transform.resize = 18;
  EXPECT_FALSE(found(teacher, s.chosen.memory, other));
  other = kOptions;
  other.normalization.mean[0] += 0.01f;
  EXPECT_FALSE(found(teacher, s.chosen.memory, other));
  other = kOptions;
  other.normalization.std[2] += 0.01f;
  EXPECT_FALSE(found(teacher, s.chosen.memory, other));
  at::Tensor weight = s.network->parameters()[3].tensor;
  const at::Tensor before = weight.flatten()[0].detach().clone();
  {
    const at::NoGradGuard none;
    weight.flatten()[0] += 1e-6;
  }
  EXPECT_FALSE(found(teacher, s.chosen.memory, kOptions));
  {
    const at::NoGradGuard none;
    weight.flatten()[0].copy_(before);
  }
  EXPECT_TRUE(found(teacher, s.chosen.memory, kOptions));
  const auto deeper = small_backbone(2, 5);
  EXPECT_FALSE(found(backbone_embedder("teacher", "", *deeper), s.chosen.memory, kOptions));
  EXPECT_TRUE(s.said.empty());
}

TEST(FeatureCacheTest, DamagedAndForeignEntriesAreSaidAndMadeAgain) {
  Setting s;
  const auto expected = s.again().first;
  const std::vector<fs::path> files = files_in(s.folder);
  ASSERT_EQ(files.size(), 6u);
  const auto whole = [](const fs::path& file) {
    std::ifstream in(file, std::ios::binary);
    return std::string{std::istreambuf_iterator<char>(in), {}};
  };
  const auto put = [](const fs::path& file, const std::string& content) { std::ofstream(file, std::ios::binary) << content; };
  const std::string good = whole(files[0]);
  std::string flipped = good, swapped = whole(files[1]);
  flipped[good.size() - 3] ^= 1;
  for (const auto& [content, word] : std::vector<std::pair<std::string, std::string>>{{flipped, "checksum"},
                                                                                      {swapped, "something else"},
                                                                                      {good.substr(0, good.size() / 2), ""},
                                                                                      {"", ""},
                                                                                      {"no tensors at all", ""}}) {
    put(files[0], content);
    s.said.clear();
    const auto [rows, embedded] = s.again();
    EXPECT_GT(embedded, 0);
    EXPECT_LT(embedded, kImages);
    expect_equal(rows, expected);
    ASSERT_EQ(s.said.size(), 1u);
    EXPECT_THAT(s.said[0], HasSubstr(files[0].filename().string()));
    EXPECT_THAT(s.said[0], HasSubstr(word));
    EXPECT_EQ(whole(files[0]), good);  // repaired
  }
}

TEST(FeatureCacheTest, TheOldestGoWhenThereIsNoRoomAndWhatNeverFitsIsSaid) {
  Setting s;
  const auto self = make_self_communicator();
  const at::Tensor rows = at::rand({131, s.embedders[0].dim});
  const auto keep = [&](FeatureCache& cache, int skip) {
    cache.write(*s.data, std::span(s.chosen.memory).subspan(static_cast<size_t>(skip)), s.embedders[0], kOptions,
                rows.narrow(0, skip, 131 - skip), *self);
  };
  {
    FeatureCache cache = s.cache();
    for (int skip = 0; skip < 3; ++skip) keep(cache, skip);
  }
  std::vector<fs::path> files = files_in(s.folder);
  ASSERT_EQ(files.size(), 3u);
  const auto now = fs::file_time_type::clock::now();
  for (int i = 0; i < 3; ++i) fs::last_write_time(files[static_cast<size_t>(i)], now - std::chrono::hours(10 - i));
  std::ofstream(s.folder / "of_the_user.safetensors") << std::string(100000, 'x');  // not ours: neither counted nor removed
  std::ofstream(s.folder / (std::string(32, 'a') + ".safetensors.host.1.new")) << "left by a writer that was killed";
  fs::last_write_time(s.folder / (std::string(32, 'a') + ".safetensors.host.1.new"), now - std::chrono::hours(30));
  const uint64_t each = fs::file_size(files[0]);
  FeatureCache tight = s.cache(3 * each + each / 2);
  keep(tight, 3);
  EXPECT_FALSE(fs::exists(files[0]));
  EXPECT_TRUE(fs::exists(files[1]) && fs::exists(files[2]) && fs::exists(s.folder / "of_the_user.safetensors"));
  EXPECT_EQ(files_in(s.folder).size(), 4u);
  EXPECT_TRUE(s.said.empty());

  FeatureCache narrow = s.cache(each + each / 2);
  keep(narrow, 4);  // all others go
  keep(narrow, 5);  // but not what this evaluation has just written
  EXPECT_EQ(files_in(s.folder).size(), 2u);
  ASSERT_EQ(s.said.size(), 1u);
  EXPECT_THAT(s.said[0], HasSubstr("limit"));
  FeatureCache none = s.cache(each / 2);
  keep(none, 6);
  EXPECT_EQ(s.said.size(), 2u);
  EXPECT_EQ(none.report()["notes"].size(), 1u);
}

TEST(FeatureCacheTest, AFolderThatCannotBeWrittenAndAFullDiskEndNoEvaluation) {
  Setting s;
  const auto expected = s.again().first;
  fs::remove_all(s.folder);
  std::ofstream(s.folder) << "a file where the folder should be";
  expect_equal(s.again().first, expected);
  EXPECT_THAT(s.said.at(0), HasSubstr("not kept"));
  fs::remove(s.folder);
  s.said.clear();

  // no file may grow beyond a kilobyte: what a full disk does
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit small = before;
  small.rlim_cur = 1024;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const auto rows = s.again().first;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, handler);
  expect_equal(rows, expected);
  EXPECT_EQ(s.said.size(), 6u);
  EXPECT_TRUE(files_in(s.folder).empty());
}

TEST(FeatureCacheTest, TwoWritersOfOneEntryDoNoHarm) {
  Setting s;
  const auto expected = s.again().first;
  fs::remove_all(s.folder);
  fs::create_directories(s.folder);
  const auto self = make_self_communicator();
  std::atomic<bool> ended{false};
  std::atomic<int> wrong{0};
  // a reader sees no entry or the whole one
  std::thread reader([&] {
    const auto alone = make_self_communicator();
    while (!ended) {
      FeatureCache cache(s.folder);
      const auto found = cache.read(*s.data, s.chosen.memory, s.embedders[1], kOptions, *alone);
      if (!cache.report()["notes"].empty() || (found && !at::equal(found->rows[0], expected[3]))) ++wrong;
    }
  });
  std::vector<std::thread> writers;
  for (int w = 0; w < 2; ++w) {
    writers.emplace_back([&] {
      const auto alone = make_self_communicator();
      for (int i = 0; i < 10; ++i) {
        FeatureCache cache(s.folder);
        cache.write(*s.data, s.chosen.memory, s.embedders[1], kOptions, expected[3], *alone);
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  ended = true;
  reader.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(files_in(s.folder).size(), 1u);
}

}  // namespace
}  // namespace dinoxx::eval
