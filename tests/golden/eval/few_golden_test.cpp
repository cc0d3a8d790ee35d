// Few-shot classifiers on given support sets against NumPy and scikit-learn (make_few.py).
#include <ATen/ATen.h>

#include "eval/classify/knn.hpp"
#include "eval/classify/logistic.hpp"
#include "eval/classify/nearest_mean.hpp"
#include "eval/statistics/calibration.hpp"
#include "golden.hpp"

namespace dinoxx::eval {
namespace {

using golden::uniform;

constexpr int64_t kMemory = 240, kQueries = 90, kDim = 24;
constexpr int kClasses = 6;

int32_t label_of(int64_t row) {
  return static_cast<int32_t>(row % kClasses);
}

at::Tensor features(const std::string& name, int64_t rows) {
  const at::Tensor y = at::arange(rows, at::kLong).remainder(kClasses), scale = at::pow(10.0, -at::arange(kDim, at::kDouble) / kDim);
  const at::Tensor x = 0.35 * uniform("few/centres", {kClasses, kDim}).index_select(0, y) + uniform(name, {rows, kDim}) * scale +
                       0.8 * uniform("few/offset", {kDim});
  return normalize_rows(x);
}

TEST(FewGolden, AnswersAccuraciesDistancesAndProbabilities) {
  const golden::Fixture file("few");
  const at::Tensor memory = features("few/memory", kMemory), queries = features("few/queries", kQueries);
  const at::Tensor mean = memory.mean(0), centred = centre_and_normalize(memory, mean),
                   centred_queries = centre_and_normalize(queries, mean);
  for (const int shots : {1, 2, 5})
    for (int draw = 0; draw < 3; ++draw) {
      const std::string key = fmt::format("{}.{}", shots, draw);
      const at::Tensor support = file.tensor(key + ".support");
      std::vector<int32_t> labels;
      for (int64_t i = 0; i < support.size(0); ++i) labels.push_back(label_of(support[i].item<int64_t>()));
      const auto compare = [&](const std::string& method, const at::Tensor& scores, const at::Tensor& values) {
        SCOPED_TRACE(key + " " + method);
        const std::vector<int32_t> answers = predict(scores);
        const at::Tensor expected = file.tensor(key + "." + method + ".answers");
        int64_t right = 0;
        for (int64_t i = 0; i < kQueries; ++i) {
          EXPECT_EQ(answers[i], expected[i].item<int64_t>()) << i;
          right += answers[i] == label_of(i);
        }
        EXPECT_EQ(static_cast<double>(right) / kQueries, file.tensor(key + "." + method + ".accuracy")[0].item<double>());
        EXPECT_TRUE(golden::near("values", values.narrow(0, 0, 20), file.tensor(key + "." + method + ".values"), 1e-9));
      };
      // a score is minus the squared distance; -1 stands for a class without images
      const auto distances = [](const at::Tensor& scores) { return at::where(at::isinf(scores), -1.0, -scores); };
      const at::Tensor plain = nearest_mean_scores(memory.index_select(0, support), labels, kClasses, queries);
      compare("nearest_mean", plain, distances(plain));
      const at::Tensor simple = nearest_mean_scores(centred.index_select(0, support), labels, kClasses, centred_queries);
      compare("simpleshot", simple, distances(simple));
      LogisticRegression regression(memory.index_select(0, support), labels, kClasses);
      const at::Tensor logits = regression.fit(1.0, {.max_iterations = 1000, .tolerance = 1e-22}).model.logits(queries).contiguous();
      std::vector<double> p = softmax_rows({logits.data_ptr<double>(), static_cast<size_t>(logits.numel())}, kClasses);
      compare("logistic", logits, at::from_blob(p.data(), {kQueries, kClasses}, at::kDouble));
    }
}

}  // namespace
}  // namespace dinoxx::eval
