// What `dinoxx eval` says to input that it cannot use: exit code, a telling word, and nothing left behind.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>

#include "base/files.hpp"
#include "dinoxx/data_pipeline/dataset.hpp"
#include "dinoxx/data_pipeline/image.hpp"
#include "formats/safetensors.hpp"
#include "program.hpp"

namespace dinoxx {
namespace {

namespace fs = std::filesystem;
using namespace testing_support;

class BadEvalInput : public testing::Test {
 protected:
  Workshop& shop_ = Workshop::get();
  fs::path out_ = shop_.folder / "refused";

  RunResult eval(const std::string& checkpoint, const std::string& data, const std::string& more = "", int ranks = 0,
                 const std::string& before = "") {
    return dinoxx_run("eval --checkpoint " + checkpoint + " --data " + data + " --cache none --out " + out_.string() + " " + more, ranks,
                      before);
  }
  RunResult eval_with(const std::string& more, int ranks = 0) { return eval(shop_.run().string(), shop_.data().string(), more, ranks); }
  std::string file(const std::string& name) { return (shop_.folder / name).string(); }

  // A data folder of `count` small images whose paths begin with `pattern`, which may hold {} for the number.
  std::string packed(const std::string& name, const std::vector<std::string>& paths, const std::string& more = "") {
    const fs::path images = shop_.folder / (name + "_images");
    for (size_t i = 0; i < paths.size(); ++i) {
      const fs::path path = images / paths[i];
      fs::create_directories(path.parent_path());
      Image image{32, 32, std::vector<uint8_t>(32 * 32 * 3)};
      for (size_t p = 0; p < image.data.size(); ++p) image.data[p] = static_cast<uint8_t>((p * (i + 3)) % 251);
      const std::vector<uint8_t> png = encode_png(image);
      std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(png.data()), static_cast<std::streamsize>(png.size()));
    }
    const RunResult result = dinoxx_run("pack --from-folder " + images.string() + " --out " + file(name) + " " + more);
    EXPECT_EQ(result.code, 0) << result.output;
    return file(name);
  }
  static std::vector<std::string> numbered(const std::string& folder, int count) {
    std::vector<std::string> paths;
    for (int i = 0; i < count; ++i) paths.push_back(folder + "/" + std::to_string(i) + ".png");
    return paths;
  }
};

TEST_F(BadEvalInput, CommandLine) {
  expect_refusal(dinoxx_run("eval"), 2, {"--checkpoint"});
  expect_refusal(dinoxx_run("eval --checkpoint " + shop_.run().string()), 2, {"--data"});
  expect_refusal(dinoxx_run("eval --checkpoint " + shop_.run().string() + " --data " + shop_.data().string()), 2, {"--out"});
  expect_refusal(eval_with("--chekpoint-step 3"), 2, {"chekpoint-step", "Did you mean --checkpoint-step"}, out_);
  expect_refusal(eval_with("--protocol knm"), 2, {"knm", "Did you mean knn"}, out_);
  expect_refusal(eval_with("--protocol knn,logistik"), 2, {"Did you mean logistic"}, out_);
  expect_refusal(eval_with("--baselines rw"), 2, {"rw", "Did you mean raw"}, out_);
  expect_refusal(eval_with("--split train"), 2, {"--split", "test or val"}, out_);
  expect_refusal(eval_with("--precision fp16"), 2, {"fp16", "bf16"}, out_);
  expect_refusal(eval_with("--threads 0"), 2, {"--threads"}, out_);
  expect_refusal(eval_with("--threads two"), 2, {"two"}, out_);
  expect_refusal(eval_with("--image-size 33"), 2, {"--image-size", "patch size 8"}, out_);
  expect_refusal(eval_with("--optim.lr 0.1"), 2, {"--optim.lr", "key of training"}, out_);
  expect_refusal(eval_with("--eval.knn_k 0"), 2, {"knn_k"}, out_);
  expect_refusal(eval_with("--checkpoint-step 5"), 2, {"--checkpoint-step", "3, 6"}, out_);
  expect_refusal(eval_with("stray"), 2, {}, out_);
  expect_refusal(eval_with("--protocol knm", 2), 2, {"Did you mean knn"}, out_);  // also under mpirun
}

TEST_F(BadEvalInput, DataThatIsNotThereOrNotWhole) {
  const std::string run = shop_.run().string();
  expect_refusal(eval(run, file("no_data")), 2, {"no_data", "Pack"}, out_);
  fs::create_directory(file("empty_data"));
  const RunResult empty = eval(run, file("empty_data"));
  EXPECT_NE(empty.code, 0);
  expect_refusal(empty, empty.code, {"empty_data"}, out_);

  fs::copy(shop_.data(), file("cut_data"), fs::copy_options::recursive);
  const fs::path shard = shop_.folder / "cut_data" / "shard-00000.h5";
  fs::resize_file(shard, fs::file_size(shard) / 2);
  expect_refusal(eval(run, file("cut_data")), 1, {"shard-00000.h5"}, out_);
  std::ofstream(shard) << "not a shard";
  expect_refusal(eval(run, file("cut_data")), 1, {"shard-00000.h5"}, out_);
  fs::remove(shard);
  expect_refusal(eval(run, file("cut_data"), "", 2), 1, {"shard-00000.h5"}, out_);
  std::ofstream(shop_.folder / "cut_data" / "manifest.json") << "{}";
  expect_refusal(eval(run, file("cut_data")), 1, {"manifest.json"}, out_);
}

TEST_F(BadEvalInput, LabelsThatCannotBeScored) {
  const std::string run = shop_.run().string();
  const std::string unlabelled = packed("unlabelled", numbered(".", 12));
  expect_refusal(eval(run, unlabelled), 2, {"labels"}, out_);
  const std::string one_class = packed("one_class", numbered("oak", 30));
  expect_refusal(eval(run, one_class), 2, {"one class only"}, out_);
  expect_refusal(eval(run, one_class, "", 2), 2, {"one class only"}, out_);

  std::vector<std::string> paths = numbered("train/oak", 6);
  for (const std::string& path : numbered("train/elm", 6)) paths.push_back(path);
  for (const std::string& path : numbered("test/elm", 2)) paths.push_back(path);
  const std::string no_val = packed("no_val", paths);
  expect_refusal(eval(run, no_val, "--split val"), 2, {"a val split"}, out_);

  // and the same set is fine without the split that it lacks; 12 images of memory leave k = 10 as the headline
  const RunResult fine = eval(run, no_val);
  EXPECT_EQ(fine.code, 0) << fine.output;
  EXPECT_NE(fine.output.find("headline k is 10 instead of 20"), std::string::npos) << fine.output;
  fs::remove_all(out_);
}

TEST_F(BadEvalInput, CheckpointsThatAreForeignOrDamaged) {
  const std::string data = shop_.data().string();
  expect_refusal(eval(file("no_run"), data), 2, {"no_run"}, out_);
  fs::create_directory(file("empty_run"));
  expect_refusal(eval(file("empty_run"), data), 2, {"run folder with checkpoints"}, out_);
  expect_refusal(eval(data, data), 2, {"teacher.safetensors"}, out_);  // --checkpoint and --data mixed up

  std::ofstream(file("text.safetensors")) << "this is no tensor file, whatever its name says";
  expect_refusal(eval(file("text.safetensors"), data), 1, {"text.safetensors"}, out_);
  std::ofstream(file("zero.safetensors"));
  expect_refusal(eval(file("zero.safetensors"), data), 1, {"zero.safetensors"}, out_);
  const std::vector<float> numbers(12);
  const TensorView other{DType::kF32, {3, 4}, std::as_bytes(std::span(numbers))};
  write_safetensors(file("other.safetensors"), {{"encoder.weight", other}});
  expect_refusal(eval(file("other.safetensors"), data), 2, {"other.safetensors", "a backbone that dinoxx knows"}, out_);

  const fs::path teacher = shop_.run() / "checkpoints" / "step_00000006" / "teacher.safetensors";
  expect_refusal(eval(teacher.string(), data, "--model.depth 3"), 1, {"blocks.2", "missing"}, out_);
  expect_refusal(eval(teacher.string(), data, "--model.heads 5"), 2, {"heads"}, out_);
  expect_refusal(eval(teacher.string(), data, "--checkpoint-step 6"), 2, {"--checkpoint-step"}, out_);

  fs::copy(shop_.run(), file("flipped_run"), fs::copy_options::recursive);
  const fs::path flipped = shop_.folder / "flipped_run" / "checkpoints" / "step_00000006" / "teacher.safetensors";
  {
    std::fstream bytes(flipped, std::ios::in | std::ios::out | std::ios::binary);
    bytes.seekp(-5, std::ios::end);
    bytes.put('\x55');
  }
  expect_refusal(eval(file("flipped_run"), data), 1, {"teacher.safetensors", "checksum"}, out_);
  expect_refusal(eval(file("flipped_run"), data, "", 2), 1, {"checksum"}, out_);
  fs::resize_file(flipped, fs::file_size(flipped) - 100);
  expect_refusal(eval(file("flipped_run"), data), 1, {"teacher.safetensors"}, out_);
  fs::remove(flipped);
  const RunResult gone = eval(file("flipped_run"), data);
  EXPECT_NE(gone.code, 0);
  expect_refusal(gone, gone.code, {"teacher.safetensors"}, out_);
}

TEST_F(BadEvalInput, OutputThatCannotBeWritten) {
  std::ofstream(file("a_file")) << "x";
  const std::string line = "eval --checkpoint " + shop_.run().string() + " --data " + shop_.data().string() + " --out ";
  expect_refusal(dinoxx_run(line + file("a_file")), 1, {"a_file"});
  expect_refusal(dinoxx_run(line + file("a_file") + "/inside", 2), 1, {"a_file"});
  expect_refusal(dinoxx_run(line + "/proc/dinoxx"), 1, {"/proc/dinoxx"});
}

// Bytes that are no UTF-8 in paths: JSON cannot hold them, and the numbers are written all the same.
TEST_F(BadEvalInput, PathsThatAreNoText) {
  const std::string data = file("d\xE9ta"), run = file("r\xFCn");
  fs::copy(shop_.data(), data, fs::copy_options::recursive);
  fs::copy(shop_.run(), run, fs::copy_options::recursive);
  const RunResult result = eval(run, data, "--baselines none");
  ASSERT_EQ(result.code, 0) << result.output;
  const nlohmann::json results = json_file(out_ / "results.json");
  EXPECT_EQ(results["data"]["path"], file("d\\xe9ta"));
  EXPECT_NE(results["checkpoint"].dump().find("r\\\\xfcn"), std::string::npos) << results["checkpoint"];
  EXPECT_THAT(result.output, testing::HasSubstr("facts of the network and its input: "));
  fs::create_directories(file("b\xEElder"));
  std::vector<uint8_t> bytes;
  const auto set = Dataset::open(shop_.data());
  for (const uint64_t id : {0u, 1u}) {
    set->read(id, bytes);
    std::ofstream(file("b\xEElder") + "/bl\xE4tt" + std::to_string(id) + ".png", std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  }
  const std::string of = " --checkpoint " + run, picture = file("b\xEElder") + "/bl\xE4tt0.png";
  for (const std::string& line : {"embed" + of + " --data " + data + " --out " + file("\xE9.h5"),
                                  "predict" + of + " --data " + data + " --images " + file("b\xEElder") + " --out " + file("\xE9.csv"),
                                  "attend " + picture + of + " --out " + file("\xE9_attend"),
                                  "train --data " + data + " --out " + file("n\xE9u") + " --model.init_from " + run +
                                      "/checkpoints/step_00000006/teacher.safetensors --train.length 1it --train.batch_size 8 " +
                                      "--head.out_dim 16 --optim.warmup 0it --eval.every 0"}) {
    const RunResult other = dinoxx_run(line);
    EXPECT_EQ(other.code, 0) << line << "\n" << other.output;
  }
  fs::remove_all(out_);
}

// An error in the second protocol: what the first one found is there.
TEST_F(BadEvalInput, ResultsBeforeAnErrorAreKept) {
  const std::string data = file("damaged_masks");
  fs::copy(shop_.data(), data, fs::copy_options::recursive);
  {
    const auto set = Dataset::open(data);
    std::vector<uint8_t> mask;
    set->read_mask(set->ids(Split::kTest).at(0), mask);
    ASSERT_GT(mask.size(), 60u);
    const fs::path shard = fs::path(data) / "shard-00000.h5";
    std::string bytes = read_text(shard);
    const size_t at = bytes.find(std::string(mask.begin(), mask.end()));
    ASSERT_NE(at, std::string::npos);
    bytes[at + 50] = static_cast<char>(bytes[at + 50] ^ 1);
    std::ofstream(shard, std::ios::binary) << bytes;
  }
  const RunResult result = eval(shop_.run().string(), data, "--baselines none --protocol knn,segmentation");
  expect_refusal(result, 1, {"shard-00000.h5", "CRC32C", "results.partial.json"});
  EXPECT_FALSE(fs::exists(out_ / "results.json"));
  const nlohmann::json partial = json_file(out_ / "results.partial.json");
  ASSERT_EQ(partial["suites"]["knn"]["results"].size(), 1u) << partial["suites"];
  EXPECT_TRUE(partial.contains("incomplete"));
  const RunResult again = eval_with("--baselines none");
  ASSERT_EQ(again.code, 0) << again.output;
  EXPECT_FALSE(fs::exists(out_ / "results.partial.json"));
  fs::remove_all(out_);
}

// No file may grow beyond a kilobyte: what a full disk does, without needing one. The larger of the two files then fails.
TEST_F(BadEvalInput, FullOutputLeavesNothing) {
  const std::string full = "trap '' XFSZ; ulimit -f 1;";
  expect_refusal(eval(shop_.run().string(), shop_.data().string(), "--baselines none", 0, full), 1, {"refused"}, out_);

  // an older result stays as it was
  const RunResult fine = eval_with("--baselines none");
  ASSERT_EQ(fine.code, 0) << fine.output;
  const auto contents = [&] {
    std::map<std::string, std::string> found;
    for (const auto& entry : fs::directory_iterator(out_)) {
      std::ifstream file(entry.path(), std::ios::binary);
      found[entry.path().filename()] = std::string{std::istreambuf_iterator<char>(file), {}};
    }
    return found;
  };
  const auto before = contents();
  for (const char* name : {"results.json", "predictions_knn.csv", "report.html"}) EXPECT_EQ(before.count(name), 1u) << name;
  expect_refusal(eval(shop_.run().string(), shop_.data().string(), "", 0, full), 1, {"refused"});
  EXPECT_TRUE(contents() == before);
  fs::remove_all(out_);
}

}  // namespace
}  // namespace dinoxx
