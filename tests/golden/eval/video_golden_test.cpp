// The measures of DAVIS and label propagation against NumPy and SciPy (make_video.py).
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <string>

#include "eval/correspondence/label_propagation.hpp"
#include "eval/correspondence/video_scores.hpp"
#include "golden.hpp"

namespace dinoxx::eval {
namespace {

std::vector<uint8_t> bytes(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.to(at::kByte).contiguous();
  return {flat.data_ptr<uint8_t>(), flat.data_ptr<uint8_t>() + flat.numel()};
}

TEST(VideoGolden, MeasuresOfMasksAreThoseOfDistanceTransforms) {
  const golden::Fixture file("video");
  for (const char* name : {"small", "wide", "tall"}) {
    const at::Tensor truth = file.tensor(std::string(name) + ".truth");
    const int64_t height = truth.size(0), width = truth.size(1);
    for (const char* kind : {"same", "shifted", "other", "near", "none", "all"}) {
      const std::string key = std::string(name) + "." + kind;
      const std::vector<uint8_t> a = bytes(truth), b = bytes(file.tensor(key));
      const at::Tensor scores = at::tensor(
          {region_similarity(a, b), boundary_measure(a, b, width, height), boundary_measure(a, b, width, height, 0.03)}, at::kDouble);
      EXPECT_TRUE(golden::near(key, scores, file.tensor(key + ".scores"), 1e-9));
    }
  }
}

TEST(VideoGolden, MeanRecallAndDecayOfASeries) {
  const golden::Fixture file("video");
  for (const int n : {4, 5, 6, 7, 30, 300}) {
    const std::string name = "series" + std::to_string(n);
    const at::Tensor values = (golden::uniform(name, {n}) + 1) / 2;
    const std::optional<SeriesScores> scores = series_scores({values.data_ptr<double>(), static_cast<size_t>(n)});
    ASSERT_TRUE(scores && scores->decay);
    EXPECT_TRUE(golden::near(name, at::tensor({scores->mean, scores->recall, *scores->decay}, at::kDouble), file.tensor(name), 1e-9));
  }
}

TEST(VideoGolden, LabelsAndMasksOfEveryFrameAreThoseOfTheWholeAffinity) {
  const golden::Fixture file("video");
  const at::Tensor labels = file.tensor("labels");
  const std::vector<uint8_t> objects{3, 7}, first = bytes(file.tensor("first"));
  EXPECT_TRUE(at::equal(labels_of_patches(first, 77, 53, 7, 9, objects), labels));
  const auto frame = [](int t) {
    return golden::uniform("frame" + std::to_string(t), {7, 9, 6}) + 0.5 * golden::uniform("still", {7, 9, 6});
  };
  LabelPropagation propagation({/*last_frames=*/3, /*top_k=*/5, /*radius=*/2, /*temperature=*/0.1}, frame(0), labels);
  for (int t = 1; t < 9; ++t) {
    const at::Tensor soft = propagation.next(frame(t));
    EXPECT_TRUE(golden::near("soft", soft, file.tensor("soft" + std::to_string(t)), 1e-9)) << t;
    const std::string mask = "mask" + std::to_string(t);
    if (!file.has(mask)) continue;
    EXPECT_EQ(mask_of_labels(soft, 8, 77, 53, objects), bytes(file.tensor(mask))) << t;
  }
}

}  // namespace
}  // namespace dinoxx::eval
