// What is deployed: one file that answers without the run and the data, bit for bit as the call that made it.
#include <gmock/gmock.h>

#include <fstream>

#include "base/files.hpp"
#include "dinoxx/data_pipeline/dataset.hpp"
#include "image_files.hpp"
#include "program.hpp"

namespace dinoxx {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;
using testing::Not;
using namespace testing_support;

class SavedClassifier : public testing::Test {
 protected:
  void SetUp() override {
    if (fs::exists(file("pictures"))) return;
    const auto data = Dataset::open(shop_.data());
    std::vector<uint8_t> bytes;
    for (const uint64_t id : data->ids(Split::kTest)) {
      data->read(id, bytes);
      write_bytes(file("pictures/" + std::to_string(id) + ".png"), bytes);
    }
    write_bytes(file("pictures/wide.png"), encode_png({90, 40, std::vector<uint8_t>(90 * 40 * 3, 120)}));
    write_bytes(file("pictures/words.jpg"), std::vector<uint8_t>{'w', 'o', 'r', 'd', 's'});
  }
  std::string file(const std::string& name) { return (shop_.folder / ("deploy_" + name)).string(); }
  std::string model() { return " --checkpoint " + shop_.run().string() + " --data " + shop_.data().string() + " "; }
  std::string pictures() { return " --images " + file("pictures"); }
  /// The plain classifier, made once.
  std::string saved() {
    const std::string name = file("plain.safetensors");
    if (fs::exists(name)) return name;
    const RunResult made = dinoxx_run("predict" + model() + "--save " + name);
    EXPECT_EQ(made.code, 0) << made.output;
    EXPECT_THAT(made.output, HasSubstr("logistic regression (plain) on "));
    EXPECT_THAT(made.output, HasSubstr("validation ("));
    return name;
  }
  Workshop& shop_ = Workshop::get();
};

TEST_F(SavedClassifier, AnswersAsTheCallThatSavedItBitForBit) {
  int number = 0;
  for (const std::string how : {"", "--method logit_adjusted --fit whole", "--method class_weighted --precision bf16 --crop 0.8"}) {
    const std::string name = std::to_string(number++), save = file(name + ".safetensors"), direct = file(name + ".csv"),
                      alone = file(name + "_alone.csv"), two = file(name + "_two.csv");
    const RunResult made = dinoxx_run("predict" + model() + how + pictures() + " --out " + direct + " --save " + save);
    ASSERT_EQ(made.code, 0) << made.output;
    const std::string line = "predict --classifier " + save + pictures() + " --out ";
    const RunResult from_file = dinoxx_run(line + alone);
    ASSERT_EQ(from_file.code, 0) << from_file.output;
    EXPECT_THAT(from_file.output, HasSubstr("unreadable: words.jpg"));
    EXPECT_EQ(read_text(alone), read_text(direct)) << how;
    ASSERT_EQ(dinoxx_run(line + two, 2).code, 0);
    EXPECT_EQ(read_text(two), read_text(direct)) << how;

    json first = json_file(file(name + ".json")), second = json_file(file(name + "_alone.json"));
    EXPECT_EQ(second["classifier"]["file"], save);
    EXPECT_EQ(second["checkpoint"]["file"], "teacher.safetensors") << "no path of the maker's machine";
    EXPECT_FALSE(second["data"].contains("path"));
    EXPECT_THAT(read_text(save), Not(HasSubstr(shop_.folder.path().string())));
    EXPECT_GT(first["head"]["validation"]["images"], 0);
    EXPECT_TRUE(first["head"]["validation"]["bootstrap95"]["balanced_accuracy"].is_array()) << first["head"]["validation"];
    second.erase("classifier");
    for (json* summary : {&first, &second}) {
      summary->erase("run");
      (*summary)["checkpoint"].erase("file");
      (*summary)["data"].erase("path");
    }
    EXPECT_EQ(second, first);
  }
}

TEST_F(SavedClassifier, IsAFileOfWeightsTooAndSaysWhatItIs) {
  const std::string name = saved();
  const RunResult inspected = dinoxx_run("weights inspect " + name);
  EXPECT_EQ(inspected.code, 0) << inspected.output;
  const auto data = Dataset::open(shop_.data());
  EXPECT_THAT(inspected.output, HasSubstr("classifier 8 classes (training images): " + data->class_names()[0] + " ("));
  EXPECT_THAT(inspected.output, HasSubstr("classifier validation ("));
  EXPECT_THAT(inspected.output, HasSubstr("from every training image are unknown"));
  const fs::path teacher = shop_.run() / "checkpoints" / "step_00000006" / "teacher.safetensors";
  const RunResult same = dinoxx_run("weights diff " + teacher.string() + " " + name);
  EXPECT_EQ(same.code, 0) << same.output;
  EXPECT_THAT(same.output, HasSubstr("the same tensors, bit for bit"));
  // as a checkpoint it gives the features of the run
  const std::string embed = "embed --data " + shop_.data().string() + " --split test --checkpoint ";
  ASSERT_EQ(dinoxx_run(embed + name + " --out " + file("a.npy")).code, 0);
  ASSERT_EQ(dinoxx_run(embed + shop_.run().string() + " --out " + file("b.npy")).code, 0);
  EXPECT_TRUE(read_text(file("a.npy")) == read_text(file("b.npy")));
  // saving again replaces it, and nothing else
  EXPECT_EQ(dinoxx_run("predict" + model() + "--save " + name).code, 0);
  fs::copy_file(teacher, file("weights.safetensors"));
  expect_refusal(dinoxx_run("predict" + model() + "--save " + file("weights.safetensors")), 2, {"--save", "a classifier to replace"});
  EXPECT_EQ(read_text(file("weights.safetensors")), read_text(teacher));
}

TEST_F(SavedClassifier, IsRefusedWhenItIsNotWhatWasWritten) {
  const std::string whole = read_text(saved()), out = file("no.csv"), rest = pictures() + " --out " + out;
  const auto with = [&](const std::string& content) {
    std::ofstream(file("changed.safetensors"), std::ios::binary | std::ios::trunc) << content;
    return dinoxx_run("predict --classifier " + file("changed.safetensors") + rest);
  };
  std::string changed = whole;
  changed[changed.size() - 9] ^= 1;  // a tensor
  expect_refusal(with(changed), 1, {"checksum", "damaged"}, out);
  changed = whole;
  const size_t at = changed.find("training_images");
  ASSERT_NE(at, std::string::npos);
  changed[changed.find_first_of("123456789", at)] ^= 1;  // of the metadata: another number
  expect_refusal(with(changed), 1, {"checksum", "damaged"}, out);
  expect_refusal(with(whole.substr(0, whole.size() / 2)), 1, {"changed.safetensors", "damaged"}, out);
  changed = whole;
  const std::string version = "\\\"version\\\":1}";
  ASSERT_NE(changed.find(version), std::string::npos);
  changed.replace(changed.find(version), version.size(), "\\\"version\\\":7}");
  expect_refusal(with(changed), 1, {"version 7", "newer dinoxx"}, out);

  const fs::path teacher = shop_.run() / "checkpoints" / "step_00000006" / "teacher.safetensors";
  expect_refusal(dinoxx_run("predict --classifier " + teacher.string() + rest), 2, {"weights without a classifier", "--save"}, out);
  expect_refusal(dinoxx_run("predict --classifier " + shop_.run().string() + rest), 2, {"a folder"}, out);
  expect_refusal(dinoxx_run("predict --classifier " + file("nothing") + rest), 2, {"--classifier", "Check the path"}, out);
}

TEST_F(SavedClassifier, TakesNoOptionThatItsFileHasDecided) {
  const std::string out = file("no.csv"), line = "predict --classifier " + saved() + pictures() + " --out " + out;
  for (const std::string option : {"--checkpoint x", "--data x", "--method plain", "--precision bf16", "--image-size 32", "--fit whole",
                                   "--cache none", "--save x.safetensors", "--merge-class-names", "--model.heads 2"})
    expect_refusal(dinoxx_run(line + " " + option), 2, {"--classifier", option.substr(0, option.find(' ')), "The file says it"}, out);
  const std::string save = file("never.safetensors");
  expect_refusal(dinoxx_run("predict" + model() + "--save " + file("never.pth")), 2, {"--save", ".safetensors"}, file("never.pth"));
  expect_refusal(dinoxx_run("predict" + model() + "--save " + file("nowhere/c.safetensors")), 2, {"nowhere"}, file("nowhere"));
  expect_refusal(dinoxx_run("predict" + model() + "--save " + save + pictures()), 2, {"--out"}, save);
  expect_refusal(dinoxx_run("predict" + model() + "--save " + save + " --out " + out), 2, {"--images"}, save);
  EXPECT_FALSE(fs::exists(out));
}

}  // namespace
}  // namespace dinoxx
