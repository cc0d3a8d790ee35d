// What a person with a folder of pictures runs: dinoxx embed and dinoxx predict, whole and with bad input.
#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <set>
#include <sstream>

#include "base/files.hpp"
#include "dinoxx/data_pipeline/dataset.hpp"
#include "dinoxx/data_pipeline/image.hpp"
#include "program.hpp"

namespace dinoxx {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;
using namespace testing_support;

struct Npy {
  std::string header;
  size_t rows = 0, columns = 0;
  std::vector<float> values;
};

// NumPy's format 1.0, read as numpy.load reads it.
Npy read_npy(const fs::path& path) {
  const std::string bytes = read_text(path);
  Npy npy;
  if (bytes.size() < 10 || bytes.substr(0, 8) != std::string("\x93NUMPY\x01\x00", 8)) {
    ADD_FAILURE() << "not a .npy of format 1.0";
    return npy;
  }
  const size_t length = static_cast<uint8_t>(bytes[8]) + 256u * static_cast<uint8_t>(bytes[9]);
  EXPECT_EQ((10 + length) % 64, 0u);
  npy.header = bytes.substr(10, length);
  EXPECT_TRUE(npy.header.ends_with('\n'));
  EXPECT_THAT(npy.header, HasSubstr("'descr': '<f4'"));
  EXPECT_THAT(npy.header, HasSubstr("'fortran_order': False"));
  const size_t shape = std::min(npy.header.find("'shape': ("), npy.header.size());
  EXPECT_EQ(std::sscanf(npy.header.c_str() + shape, "'shape': (%zu, %zu)", &npy.rows, &npy.columns), 2);
  if (bytes.size() != 10 + length + npy.rows * npy.columns * 4) {
    ADD_FAILURE() << "a .npy of " << bytes.size() << " bytes for " << npy.rows << " rows of " << npy.columns;
    return npy;
  }
  npy.values.resize(npy.rows * npy.columns);
  std::memcpy(npy.values.data(), bytes.data() + 10 + length, npy.values.size() * 4);
  return npy;
}

class FolderOfPictures : public testing::Test {
 protected:
  Workshop& shop_ = Workshop::get();
  std::string model() { return " --checkpoint " + shop_.run().string() + " --data " + shop_.data().string() + " "; }
  std::string file(const std::string& name) { return (shop_.folder / name).string(); }
  void write(const std::string& name, const std::vector<uint8_t>& bytes) {
    const fs::path path = shop_.folder / name;
    fs::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  }
};

TEST_F(FolderOfPictures, EmbedWritesEveryImageOnceInTheOrderOfIds) {
  const auto data = Dataset::open(shop_.data());
  const RunResult all = dinoxx_run("embed" + model() + "--out " + file("all.npy"));
  ASSERT_EQ(all.code, 0) << all.output;
  EXPECT_THAT(all.output, HasSubstr("320 images, 32 features each, rows of length 1"));
  const Npy rows = read_npy(file("all.npy"));
  ASSERT_EQ(rows.rows, data->size());
  ASSERT_EQ(rows.columns, 32u);
  const auto table = read_table(file("all.csv"));
  ASSERT_EQ(table.size(), data->size() + 1);
  EXPECT_EQ(table[0], (std::vector<std::string>{"row", "id", "key", "split", "label"}));
  std::set<std::vector<float>> different;
  for (size_t row = 0; row < rows.rows; ++row) {
    double square = 0;
    for (size_t d = 0; d < rows.columns; ++d) square += std::pow(rows.values[row * rows.columns + d], 2);
    EXPECT_NEAR(square, 1, 1e-5);
    different.emplace(rows.values.begin() + static_cast<int64_t>(row * 32), rows.values.begin() + static_cast<int64_t>(row * 32 + 32));
    const SampleMeta& meta = data->meta(row);
    EXPECT_EQ(table[row + 1], (std::vector<std::string>{std::to_string(row), std::to_string(row), data->key(row),
                                                        std::string(split_name(meta.split)), data->class_names()[meta.label]}));
  }
  EXPECT_GT(different.size(), 300u);

  // a split is those rows of all of them, and a raw row is a multiple of the normalised one
  const RunResult test = dinoxx_run("embed" + model() + "--split test --normalize no --threads 2 --out " + file("test.npy"));
  ASSERT_EQ(test.code, 0) << test.output;
  EXPECT_THAT(test.output, HasSubstr("not normalised"));
  const Npy raw = read_npy(file("test.npy"));
  const std::vector<uint64_t> ids = data->ids(Split::kTest);
  ASSERT_EQ(raw.rows, ids.size());
  for (size_t row = 0; row < ids.size(); ++row) {
    double length = 0;
    for (size_t d = 0; d < 32; ++d) length += std::pow(raw.values[row * 32 + d], 2);
    length = std::sqrt(length);
    EXPECT_GT(std::abs(length - 1), 1e-3);
    for (size_t d = 0; d < 32; ++d) EXPECT_NEAR(raw.values[row * 32 + d] / length, rows.values[ids[row] * 32 + d], 1e-5);
  }
}

TEST_F(FolderOfPictures, EmbedIsTheSameAtAnyNumberOfRanks) {
  for (const std::string ending : {"npy", "h5"}) {
    const fs::path out = shop_.folder / ("ranks." + ending);  // one name: the command stands in the file
    ASSERT_EQ(dinoxx_run("embed" + model() + "--out " + out.string()).code, 0);
    const std::string alone = read_text(out);
    fs::remove(out);
    const RunResult two = dinoxx_run("embed" + model() + "--out " + out.string(), 2);
    ASSERT_EQ(two.code, 0) << two.output;
    EXPECT_TRUE(read_text(out) == alone) << ending;
  }
}

TEST_F(FolderOfPictures, EmbedRefusesWhatItCannotUse) {
  expect_refusal(dinoxx_run("embed"), 2, {"--checkpoint"});
  expect_refusal(dinoxx_run("embed" + model()), 2, {"--out", ".npy"});
  expect_refusal(dinoxx_run("embed" + model() + "--out " + file("f.txt")), 2, {".npy or .h5", "f.txt"}, file("f.txt"));
  expect_refusal(dinoxx_run("embed" + model() + "--out " + file("nowhere/f.npy")), 2, {"nowhere"}, file("nowhere"));
  expect_refusal(dinoxx_run("embed" + model() + "--split tset --out " + file("f.npy")), 2, {"tset"}, file("f.npy"));
  expect_refusal(dinoxx_run("embed" + model() + "--image-size 33 --out " + file("f.npy")), 2, {"patch size 8"}, file("f.npy"));
  expect_refusal(dinoxx_run("embed" + model() + "--optim.lr 1 --out " + file("f.npy"), 2), 2, {"key of training"}, file("f.npy"));
  fs::copy(shop_.data(), file("cut"), fs::copy_options::recursive);
  fs::resize_file(shop_.folder / "cut" / "shard-00000.h5", 5000);
  expect_refusal(dinoxx_run("embed --checkpoint " + shop_.run().string() + " --data " + file("cut") + " --out " + file("f.h5")), 1,
                 {"shard-00000.h5"}, file("f.h5"));
  for (const auto& entry : fs::directory_iterator(shop_.folder.path()))
    EXPECT_THAT(entry.path().string(), testing::Not(HasSubstr(".tmp.")));
}

TEST_F(FolderOfPictures, PredictClassifiesAFolderAndNamesWhatItCannotRead) {
  const auto data = Dataset::open(shop_.data());
  // pictures that the head has learned from, one larger than the network's input, and two that are none
  std::vector<uint8_t> bytes;
  for (const uint64_t id : data->ids(Split::kTrain)) {
    if (id >= 70) break;
    data->read(id, bytes);
    write("pictures/deep/er/" + std::to_string(1000 + id) + ".png", bytes);
  }
  Image large{90, 40, std::vector<uint8_t>(90 * 40 * 3, 120)};
  write("pictures/large.png", encode_png(large));
  write("pictures/cut.png", std::vector<uint8_t>(bytes.begin(), bytes.begin() + 60));
  write("pictures/words.jpg", {'w', 'o', 'r', 'd', 's'});

  const std::string line = "predict" + model() + "--images " + file("pictures") + " --out ";
  const RunResult one = dinoxx_run(line + file("one.csv"));
  ASSERT_EQ(one.code, 0) << one.output;
  EXPECT_THAT(one.output, HasSubstr("unreadable: words.jpg"));
  EXPECT_THAT(one.output, HasSubstr("unreliable"));  // the toy set has a long tail
  const auto table = read_table(file("one.csv"));
  const size_t classes = data->class_names().size();
  ASSERT_FALSE(table.empty());
  ASSERT_EQ(table[0].size(), 8 + classes);
  const json summary = json_file(file("one.json"));
  EXPECT_EQ(summary["images"]["read"], table.size() - 3);
  EXPECT_EQ(summary["images"]["unreadable"].size(), 2u);
  std::vector<int64_t> training(classes);
  for (const uint64_t id : data->ids(Split::kTrain)) ++training[data->meta(id).label];
  size_t right = 0, known = 0;
  for (size_t row = 1; row < table.size(); ++row) {
    const std::vector<std::string>& fields = table[row];
    ASSERT_GE(fields.size(), 5u) << "row " << row;
    if (fields[0] == "cut.png" || fields[0] == "words.jpg") {
      EXPECT_EQ(fields[1], "");
      EXPECT_NE(fields[4], "");
      continue;
    }
    ASSERT_EQ(fields.size(), 8 + classes) << "row " << row;
    double sum = 0, largest = 0;
    size_t answer = 0;
    for (size_t c = 0; c < classes; ++c) {
      EXPECT_EQ(table[0][5 + c], "p:" + data->class_names()[c]);
      const double p = std::stod(fields[5 + c]);
      sum += p;
      if (p > largest) answer = c;
      largest = std::max(largest, p);
    }
    EXPECT_NEAR(sum, 1, 1e-4);
    EXPECT_EQ(fields[7 + classes], data->class_names()[answer]);
    if (fields[0] == "large.png" && fields[5 + classes] == "yes") {
      EXPECT_EQ(fields[1] + fields[2] + fields[3], "");
      continue;
    }
    EXPECT_EQ(fields[5 + classes], "");  // learned from: known
    EXPECT_EQ(fields[1], data->class_names()[answer]);
    EXPECT_NEAR(std::stod(fields[2]), largest, 1e-6);
    EXPECT_EQ(fields[3], std::to_string(training[answer]));
    if (fields[0] == "large.png") continue;
    ++known;
    right += fields[1] == data->class_names()[data->meta(std::stoull(fields[0].substr(fields[0].rfind('/') + 1)) - 1000).label];
  }
  EXPECT_GT(known, 50u);
  EXPECT_GT(right * 3, known);  // of 8 classes, and these it has learned from
  json untrusted = json::array();
  for (size_t c = 0; c < classes; ++c)
    if (training[c] < 20) untrusted.push_back(data->class_names()[c]);
  EXPECT_EQ(summary["untrusted"], untrusted);

  const RunResult two = dinoxx_run(line + file("two.csv"), 2);
  ASSERT_EQ(two.code, 0) << two.output;
  EXPECT_EQ(read_text(file("two.csv")), read_text(file("one.csv")));
  json other = json_file(file("two.json")), first = summary;
  other.erase("run");
  first.erase("run");
  EXPECT_EQ(other, first);
}

// The head of predict is that of eval: test images give the answers of predictions_linear.csv.
TEST_F(FolderOfPictures, PredictAnswersAsLogisticRegressionOfEvalDoes) {
  const auto data = Dataset::open(shop_.data());
  std::vector<uint8_t> bytes;
  for (const uint64_t id : data->ids(Split::kTest)) {
    data->read(id, bytes);
    write("tests/" + std::to_string(10000 + id) + ".png", bytes);
  }
  for (const std::string method : {"plain", "logit_adjusted"}) {
    const RunResult run =
        dinoxx_run("predict" + model() + "--images " + file("tests") + " --method " + method + " --out " + file(method + ".csv"));
    ASSERT_EQ(run.code, 0) << run.output;
  }
  // the words of the release before: accepted, with one note each; files have the same names as ever
  const RunResult eval = dinoxx_run("eval" + model() + "--suite linear --baselines none --out " + file("linear"));
  ASSERT_EQ(eval.code, 0) << eval.output;
  EXPECT_THAT(eval.output, HasSubstr("note: --suite is now called --protocol"));
  EXPECT_THAT(eval.output, HasSubstr("\"linear\" is now called \"logistic\""));
  const auto answers = read_table(file("linear/predictions_linear.csv"));
  for (const std::string method : {"plain", "logit_adjusted"}) {
    const auto table = read_table(file(method + ".csv"));
    ASSERT_FALSE(answers.empty());
    const auto column = std::find(answers[0].begin(), answers[0].end(), "teacher:" + method) - answers[0].begin();
    ASSERT_EQ(table.size(), answers.size());
    const auto closest = std::find(table[0].begin(), table[0].end(), "closest") - table[0].begin();
    for (size_t row = 1; row < table.size(); ++row)
      EXPECT_EQ(table[row].at(static_cast<size_t>(closest)), answers[row].at(static_cast<size_t>(column))) << method;
  }
}

// With the fitted head on disk no image of DATA is read: here all of its training images are damaged.
TEST_F(FolderOfPictures, PredictKeepsTheHeadForTheNextCall) {
  const auto data = Dataset::open(shop_.data());
  std::vector<uint8_t> bytes;
  for (const uint64_t id : data->ids(Split::kTest)) {
    if (fs::exists(file("four/3.png"))) break;
    data->read(id, bytes);
    for (int i = 0; i < 4; ++i)
      if (const std::string name = "four/" + std::to_string(i) + ".png"; !fs::exists(file(name))) {
        write(name, bytes);
        break;
      }
  }
  const std::string pictures = " --images " + file("four"), cache = " --cache " + file("heads");
  const RunResult first = dinoxx_run("predict" + model() + pictures + cache + " --out " + file("first.csv"), 2);
  ASSERT_EQ(first.code, 0) << first.output;
  EXPECT_EQ(json_file(file("first.json"))["run"]["head"]["stored_before"], false);

  fs::copy(shop_.data(), file("ruined"), fs::copy_options::recursive);
  for (const auto& entry : fs::directory_iterator(file("ruined"))) {
    if (entry.path().extension() != ".h5") continue;
    std::string shard = read_text(entry.path());
    for (const uint64_t id : data->ids(Split::kTrain)) {
      data->read(id, bytes);
      const size_t at = shard.find(std::string(bytes.begin(), bytes.end()));
      if (at != std::string::npos) shard[at + bytes.size() / 2] ^= 0x10;
    }
    std::ofstream(entry.path(), std::ios::binary | std::ios::trunc) << shard;
  }
  const std::string line = "predict --checkpoint " + shop_.run().string() + " --data " + file("ruined") + pictures;
  const RunResult second = dinoxx_run(line + cache + " --out " + file("second.csv"));
  ASSERT_EQ(second.code, 0) << second.output;
  EXPECT_THAT(second.output, HasSubstr("the head is that of an earlier call"));
  EXPECT_EQ(read_text(file("second.csv")), read_text(file("first.csv")));
  EXPECT_EQ(dinoxx_run(line + " --cache none --out " + file("third.csv")).code, 1);                     // has to read them
  EXPECT_EQ(dinoxx_run(line + cache + " --method logit_adjusted --out " + file("third.csv")).code, 1);  // another head
}

TEST_F(FolderOfPictures, EvalListsLeaksAndContradictoryLabelsWithTheirPaths) {
  const auto data = Dataset::open(shop_.data());
  const std::vector<uint64_t> ids = data->ids(Split::kTrain);
  std::vector<uint8_t> bytes;
  for (size_t i = 0; i < 40; ++i) {
    data->read(ids[i], bytes);
    const std::string label = i % 2 == 0 ? "even/" : "odd/", name = std::to_string(i) + ".png";
    write("leaky/" + std::string(i < 30 ? "train/" : "test/") + label + name, bytes);
    if (i == 4 || i == 7) write("leaky/test/" + label + "copy" + name, bytes);
    if (i == 9) write("leaky/train/even/other" + name, bytes);
  }
  ASSERT_EQ(dinoxx_run("pack --from-folder " + file("leaky") + " --out " + file("leaky_data")).code, 0);
  const RunResult run = dinoxx_run("eval --checkpoint " + shop_.run().string() + " --data " + file("leaky_data") +
                                   " --protocol logistic --baselines none --out " + file("leaky_eval"));
  ASSERT_EQ(run.code, 0) << run.output;
  EXPECT_THAT(run.output, HasSubstr("test images that are leaks"));
  const std::string leaks = read_text(file("leaky_eval/leaks.csv")), suspects = read_text(file("leaky_eval/suspects.csv"));
  EXPECT_THAT(leaks, HasSubstr("test/even/copy4.png,test,even,identical pixels,,train/even/4.png,train,even\n"));
  EXPECT_THAT(leaks, HasSubstr("test/odd/copy7.png,test,odd,identical pixels,,train/odd/7.png,train,odd\n"));
  EXPECT_THAT(suspects, HasSubstr("train/odd/9.png,train,odd,even,identical pixels under another label,train/even/other9.png\n"));
  const json results = json_file(file("leaky_eval/results.json"));
  EXPECT_GE(results["checks"]["leaks"]["queries"], 2);
  EXPECT_EQ(results["data"]["name"], "leaky");
  const std::string page = read_text(file("leaky_eval/report.html"));
  EXPECT_THAT(page, HasSubstr("Evaluation on leaky"));
  EXPECT_THAT(page, HasSubstr("test/odd/copy7.png</th><td>test</td><td>identical pixels</td><td></td><td>train/odd/7.png</td>"));
}

TEST_F(FolderOfPictures, ClassesWhoseNamesAreOneAreMergedWhenAsked) {
  const auto data = Dataset::open(shop_.data());
  const std::vector<uint64_t> ids = data->ids(Split::kTrain);
  std::vector<uint8_t> bytes;
  for (size_t i = 0; i < 40; ++i) {
    data->read(ids[i], bytes);
    const std::string label = i % 2 == 0 ? "even/" : i % 4 == 1 ? "odd/" : "Odd /";
    write("named/" + std::string(i < 30 ? "train/" : "test/") + label + std::to_string(i) + ".png", bytes);
  }
  ASSERT_EQ(dinoxx_run("pack --from-folder " + file("named") + " --out " + file("named_data")).code, 0);
  const std::string of = " --checkpoint " + shop_.run().string() + " --data " + file("named_data");
  const RunResult apart = dinoxx_run("eval" + of + " --baselines none --out " + file("apart")),
                  merged = dinoxx_run("eval" + of + " --baselines none --merge-class-names --out " + file("merged"));
  ASSERT_EQ(apart.code, 0) << apart.output;
  ASSERT_EQ(merged.code, 0) << merged.output;
  EXPECT_THAT(apart.output, HasSubstr("--merge-class-names"));
  EXPECT_EQ(json_file(file("apart/results.json"))["suites"]["knn"]["results"][0]["classes"].size(), 3u);
  EXPECT_EQ(json_file(file("merged/results.json"))["suites"]["knn"]["results"][0]["classes"].size(), 2u);
  const RunResult predicted =
      dinoxx_run("predict" + of + " --merge-class-names --images " + file("named/test/even") + " --out " + file("named.csv"));
  ASSERT_EQ(predicted.code, 0) << predicted.output;
  EXPECT_EQ(json_file(file("named.json"))["classes"].size(), 2u);
}

TEST_F(FolderOfPictures, AWholePictureIsSeenWhenAsked) {
  write("wide/a/1.png", encode_png({90, 40, std::vector<uint8_t>(90 * 40 * 3, 90)}));
  write("wide/b/2.png", encode_png({90, 40, std::vector<uint8_t>(90 * 40 * 3, 190)}));
  ASSERT_EQ(dinoxx_run("pack --from-folder " + file("wide") + " --out " + file("wide_data")).code, 0);
  const std::string line = "embed --checkpoint " + shop_.run().string() + " --data " + file("wide_data");
  const RunResult crop = dinoxx_run(line + " --out " + file("crop.npy")),
                  whole = dinoxx_run(line + " --fit whole --out " + file("whole.npy"));
  ASSERT_EQ(crop.code, 0) << crop.output;
  ASSERT_EQ(whole.code, 0) << whole.output;
  EXPECT_THAT(crop.output, HasSubstr("the centre crop shows 33 % of the images' area"));  // (32 / 37)^2 * 40 / 90
  EXPECT_THAT(whole.output, HasSubstr("whole image resized to 32 x 32"));
  EXPECT_THAT(whole.output, testing::Not(HasSubstr("centre crop shows")));
  EXPECT_THAT(whole.output, HasSubstr("facts of the network and its input: "));
  const RunResult predicted = dinoxx_run("predict" + model() + "--fit whole --images " + file("wide") + " --out " + file("wide.csv"));
  ASSERT_EQ(predicted.code, 0) << predicted.output;
  EXPECT_THAT(predicted.output, HasSubstr("facts of the network and its input: "));
  EXPECT_THAT(json_file(file("wide.json"))["images"]["transform"].dump(), HasSubstr("whole image resized to 32 x 32"));
  expect_refusal(dinoxx_run(line + " --fit pad --out " + file("no.npy")), 2, {"crop or whole"}, file("no.npy"));
}

TEST_F(FolderOfPictures, PredictOfNoReadableImageFails) {
  write("none/1.gif", {'G', 'I', 'F', '8'});
  const RunResult run = dinoxx_run("predict" + model() + "--images " + file("none") + " --out " + file("none.csv"));
  EXPECT_EQ(run.code, 1) << run.output;
  EXPECT_THAT(run.output, HasSubstr("expected an image that can be read, found none of 1"));
  fs::create_directories(file("empty"));
  const RunResult empty = dinoxx_run("predict" + model() + "--images " + file("empty") + " --out " + file("empty.csv"));
  EXPECT_EQ(empty.code, 2) << empty.output;
  EXPECT_THAT(empty.output, testing::Not(HasSubstr("--from-folder")));
}

TEST_F(FolderOfPictures, PredictRefusesWhatItCannotUse) {
  const std::string out = " --out " + file("no.csv");
  write("some/a.png", encode_png({8, 8, std::vector<uint8_t>(192)}));
  const std::string some = "--images " + file("some");
  expect_refusal(dinoxx_run("predict" + model() + out), 2, {"--images"});
  expect_refusal(dinoxx_run("predict" + model() + some), 2, {"--out"});
  expect_refusal(dinoxx_run("predict" + model() + some + " --out " + file("no.txt")), 2, {".csv"}, file("no.txt"));
  expect_refusal(dinoxx_run("predict" + model() + some + " --method plan" + out), 2, {"Did you mean plain"}, file("no.csv"));
  expect_refusal(dinoxx_run("predict" + model() + "--images " + file("nothing") + out), 2, {"nothing there"}, file("no.csv"));
  fs::create_directory(file("empty"));
  expect_refusal(dinoxx_run("predict" + model() + "--images " + file("empty") + out, 2), 2, {"empty folder"}, file("no.csv"));
  ASSERT_EQ(dinoxx_run("pack --from-folder " + file("some") + " --out " + file("unlabelled")).code, 0);
  expect_refusal(dinoxx_run("predict --checkpoint " + shop_.run().string() + " --data " + file("unlabelled") + " " + some + out), 2,
                 {"two classes"}, file("no.csv"));
}

}  // namespace
}  // namespace dinoxx
