// What the heads of [guide] learn: columns of the data set as classes and as numbers, and which columns are refused.
#include "train/start/guide_targets.hpp"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <cmath>

#include "config/config.hpp"
#include "dinoxx/base/error.hpp"
#include "memory_dataset.hpp"
#include "method/guides/guide_config.hpp"

namespace dinoxx {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// Images with the columns "label" and "label_NAME", whose labels are given by id.
class Columns : public testing_support::MemoryDataset {
 public:
  explicit Columns(int images, int of_test = 0) {
    for (int i = 0; i < images + of_test; ++i) add(i < images ? Split::kTrain : Split::kTest, i % 2);
    column("label", {"cat", "dog"}, [](uint64_t id) { return static_cast<int32_t>(id % 2); });
  }
  template <class LabelOf>
  void column(const std::string& name, std::vector<std::string> classes, LabelOf label_of) {
    columns_.push_back({name, std::move(classes)});
    labels_.emplace_back();
    for (uint64_t id = 0; id < size(); ++id) labels_.back().push_back(label_of(id));
  }
  const std::vector<LabelColumn>& label_columns() const override { return columns_; }
  int32_t label(uint64_t id, size_t column) const override { return labels_.at(column).at(id); }
  GuideTargets targets(const std::vector<GuideColumn>& columns) const { return {columns, *this, ids(Split::kTrain)}; }

 private:
  std::vector<LabelColumn> columns_;
  std::vector<std::vector<int32_t>> labels_;
};

std::string refusal(const Columns& data, const std::vector<GuideColumn>& columns) {
  try {
    data.targets(columns);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(GuideTargets, AreClassesAndScaledNumbersOfTheImagesInTheirOrder) {
  Columns data(8, /*of_test=*/1);
  data.column("label_site", {"north", "south", "east"}, [](uint64_t id) { return id == 3 ? -1 : static_cast<int32_t>(id % 3); });
  // 2, 4, 6 and not known; the image of the test split has 1000, which counts for nothing
  data.column("label_dose", {"2", "4.0", "6", "1e3"}, [](uint64_t id) {
    return id == 8 ? 3 : id % 4 == 3 ? -1 : static_cast<int32_t>(id % 4);
  });
  const GuideTargets targets = data.targets({{"site", false, true}, {"dose", true, false}});
  EXPECT_THAT(targets.outputs(), ElementsAre(3, 1));
  const std::vector<at::Tensor> found = targets.of(std::vector<uint64_t>{5, 3, 0, 6});
  ASSERT_EQ(found.size(), 2u);
  EXPECT_TRUE(found[0].equal(at::tensor({2, -1, 0, 0}, at::kLong)));
  EXPECT_EQ(found[1].scalar_type(), at::kFloat);
  const float step = static_cast<float>(2 / std::sqrt(8.0 / 3));  // known: 2, 4, 6 twice each
  EXPECT_NEAR(found[1][0].item<float>(), 0, 1e-6);
  EXPECT_TRUE(std::isnan(found[1][1].item<float>()));
  EXPECT_NEAR(found[1][2].item<float>(), -step, 1e-6);
  EXPECT_NEAR(found[1][3].item<float>(), step, 1e-6);
  ASSERT_EQ(targets.notes().size(), 2u);
  EXPECT_THAT(targets.notes()[0], HasSubstr("guide forgets site (3 classes, known of 7 of 8 training images)"));
  EXPECT_THAT(targets.notes()[1], HasSubstr("guide learns dose (numbers, known of 6 of 8 training images)"));
}

TEST(GuideTargets, ColumnsThatSayNothingAreRefused) {
  Columns data(6, /*of_test=*/1);
  data.column("label_site", {"north", "south"}, [](uint64_t id) { return id == 6 ? 1 : 0; });  // the other is in the test split alone
  data.column("label_none", {"north", "south"}, [](uint64_t id) { return id == 6 ? 1 : -1; });
  data.column("label_dose", {"3", "3.0", "many"}, [](uint64_t id) { return static_cast<int32_t>(id % 2); });
  data.column("label_word", {"3", "many"}, [](uint64_t id) { return static_cast<int32_t>(id % 2); });
  EXPECT_THAT(refusal(data, {{"plate", false, true}}),
              HasSubstr("guide.forget: expected one of its label columns: label, site, none, dose, word, found \"plate\""));
  EXPECT_THAT(refusal(data, {{"site", false, false}}),
              HasSubstr("guide.learn: expected two different values or more in column site on the training images, found \"north\" on each "
                        "of 6 images"));
  EXPECT_THAT(refusal(data, {{"none", false, false}}), HasSubstr("no value"));
  EXPECT_THAT(refusal(data, {{"label", false, false}, {"label_word", false, false}, {"word", false, true}}),
              HasSubstr("guide.forget: expected each column once, in guide.learn or in guide.forget, found word again"));
  EXPECT_THAT(refusal(data, {{"word", true, true}}), HasSubstr("\"many\" (image1.png). Leave out \":number\""));
  EXPECT_THAT(refusal(data, {{"dose", true, true}}), HasSubstr("\"many\""));
  Columns same(4);
  same.column("label_dose", {"3", "3.0"}, [](uint64_t id) { return static_cast<int32_t>(id % 2); });
  EXPECT_THAT(refusal(same, {{"dose", true, true}}), HasSubstr("3 on each of 4 images"));
}

TEST(GuideTargets, SayWhatSpeaksAgainstThem) {
  Columns data(12);
  data.column("label_site", {"a", "b"}, [](uint64_t id) { return static_cast<int32_t>(id % 2); });  // as the label
  data.column("label_patient", {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"},
              [](uint64_t id) { return static_cast<int32_t>(id); });
  data.column("label_day", {"a", "b", "c"}, [](uint64_t id) { return static_cast<int32_t>(id / 4); });
  const GuideTargets targets = data.targets({{"site", false, true}, {"patient", false, false}, {"day", false, true}});
  EXPECT_THAT(targets.notes()[0], HasSubstr("it goes with label (Cramér's V 1.00)"));
  EXPECT_THAT(targets.notes()[1], HasSubstr("less than two images a class"));
  EXPECT_THAT(targets.notes()[1], HasSubstr("patient:number"));
  EXPECT_THAT(targets.notes()[2], testing::Not(HasSubstr(";")));
  // against the textbook's sum over cells: 10, 20, 30, 5 images give chi^2 = 10.6 of 65
  std::vector<int32_t> a, b;
  const auto add = [&](int count, int32_t row, int32_t column) {
    for (int i = 0; i < count; ++i) a.push_back(row), b.push_back(column);
  };
  add(10, 0, 0), add(20, 0, 1), add(30, 1, 0), add(5, 1, 1), add(7, -1, 0), add(7, 1, -1);
  double chi = 0;
  const double cells[2][2] = {{10, 20}, {30, 5}}, rows[2] = {30, 35}, columns[2] = {40, 25};
  for (int i = 0; i < 2; ++i)
    for (int j = 0; j < 2; ++j) chi += std::pow(cells[i][j] - rows[i] * columns[j] / 65, 2) / (rows[i] * columns[j] / 65);
  EXPECT_NEAR(association(a, b), std::sqrt(chi / 65), 1e-12);
}

TEST(GuideColumns, AreReadFromTheTwoKeys) {
  const auto of = [](const std::string& learn, const std::string& forget) {
    Config config = default_config();
    config.guide->learn = learn;
    config.guide->forget = forget;
    return guide_columns(config);
  };
  EXPECT_TRUE(of("", "").empty());
  const std::vector<GuideColumn> columns = of("kind, dose:number", "site");
  ASSERT_EQ(columns.size(), 3u);
  EXPECT_EQ(columns[1].name, "dose");
  EXPECT_TRUE(columns[1].number && !columns[1].forget && columns[2].forget && !columns[2].number);
  EXPECT_THROW(of("kind,", ""), UsageError);
  EXPECT_THROW(of("kind,,site", ""), UsageError);
  EXPECT_THROW(of("kind", "site,kind"), UsageError);
  EXPECT_THROW(of(":number", ""), UsageError);
}

}  // namespace
}  // namespace dinoxx
