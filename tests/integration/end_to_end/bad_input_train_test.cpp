// What `dinoxx train` and `dinoxx pack` say to input that they cannot use: exit code, a telling word, and nothing left behind.
#include <gtest/gtest.h>

#include <fstream>

#include "dinoxx/data_pipeline/image.hpp"
#include "program.hpp"

namespace dinoxx {
namespace {

namespace fs = std::filesystem;
using namespace testing_support;

class BadTrainInput : public testing::Test {
 protected:
  Workshop& shop_ = Workshop::get();
  fs::path out_ = shop_.folder / "refused";

  RunResult train(const std::string& more, int ranks = 0) { return dinoxx_run(train_line(shop_.data(), out_, more), ranks); }
  std::string file(const std::string& name, const std::string& content) {
    const fs::path path = shop_.folder / name;
    std::ofstream(path) << content;
    return path.string();
  }
};

TEST_F(BadTrainInput, CommandLineAndConfiguration) {
  expect_refusal(dinoxx_run("trian"), 2, {"Did you mean train"});
  expect_refusal(dinoxx_run("train"), 2, {"--data"});
  expect_refusal(dinoxx_run("train --data " + shop_.data().string()), 2, {"--out"});
  expect_refusal(train("--optim.lrr 1"), 2, {"optim.lrr", "Did you mean --optim.lr"}, out_);
  expect_refusal(train("--optim.lr fast"), 2, {"optim.lr", "fast", "a number"}, out_);
  expect_refusal(train("--train.length 10"), 2, {"train.length", "10"}, out_);  // no unit
  expect_refusal(train("--train.length 3it --max-time soon"), 2, {"--max-time", "soon"}, out_);
  expect_refusal(train("--config " + (shop_.folder / "no.cfg").string()), 2, {"no.cfg"}, out_);
  expect_refusal(train("--config " + file("unknown.cfg", "[optim]\nlearning = 1\nlr = 1\n")), 2, {"unknown.cfg:2", "optim.learning"}, out_);
  expect_refusal(train("--config " + file("near.cfg", "[optim]\n\nwarmupp = 3it\n")), 2, {"near.cfg:3", "Did you mean optim.warmup"}, out_);
  expect_refusal(train("--config " + file("type.cfg", "[views]\nblur = maybe\n")), 2, {"type.cfg:2", "yes or no", "maybe"}, out_);
  expect_refusal(train("--config " + file("syntax.cfg", "[views]\nblur\n")), 2, {"syntax.cfg:2"}, out_);
  expect_refusal(train("--config " + file("twice.cfg", "[views]\nblur = no\nblur = yes\n")), 2, {"twice.cfg:3", "once"}, out_);
  expect_refusal(train("--model.heads 5"), 2, {"heads"}, out_);
  expect_refusal(train("--model.arch vit_huge"), 2, {"vit_huge"}, out_);
  expect_refusal(train("--optim.lrr 1", 2), 2, {"Did you mean --optim.lr"}, out_);  // also under mpirun
}

TEST_F(BadTrainInput, BatchAndRanks) {
  expect_refusal(train("--train.batch_size 100000 --train.length 1ep"), 2, {"train.batch_size", "training images"}, out_);
  expect_refusal(train("", 3), 2, {"multiple of the 3 ranks"}, out_);  // 8 images a step
  expect_refusal(train("--check", 3), 2, {"multiple of the 3 ranks"}, out_);
}

TEST_F(BadTrainInput, DataThatIsNotThereOrNotWhole) {
  const auto with_data = [&](const std::string& name, int ranks = 0) { return dinoxx_run(train_line(shop_.folder / name, out_), ranks); };
  expect_refusal(with_data("no_data"), 2, {"no_data", "Pack"}, out_);
  fs::create_directory(shop_.folder / "empty_data");
  const RunResult empty = with_data("empty_data");
  EXPECT_NE(empty.code, 0);
  expect_refusal(empty, empty.code, {"empty_data"}, out_);
  fs::copy(shop_.data(), shop_.folder / "cut", fs::copy_options::recursive);
  const fs::path shard = shop_.folder / "cut" / "shard-00000.h5";
  fs::resize_file(shard, fs::file_size(shard) / 2);
  expect_refusal(with_data("cut"), 1, {"shard-00000.h5"}, out_);
  expect_refusal(with_data("cut", 2), 1, {"shard-00000.h5"}, out_);
  std::ofstream(shard) << "foreign";
  expect_refusal(with_data("cut"), 1, {"shard-00000.h5"}, out_);
}

TEST_F(BadTrainInput, CheckpointsThatAreForeignOrDamaged) {
  expect_refusal(train("--resume " + (shop_.folder / "nowhere").string()), 2, {"--resume", "nowhere"}, out_ / "metrics.jsonl");
  EXPECT_FALSE(fs::exists(out_ / "checkpoints"));
  expect_refusal(train("--resume " + shop_.data().string()), 1,
                 {"manifest.json", "dinoxx checkpoint"});  // a data folder has a manifest.json, too
  fs::remove_all(out_);

  const auto copy_of_run = [&](const std::string& name) {
    fs::copy(shop_.run(), shop_.folder / name, fs::copy_options::recursive);
    return shop_.folder / name;
  };
  const auto resume = [&](const fs::path& run, int ranks, const std::string& how) {
    return dinoxx_run(train_line(shop_.data(), run, "--train.length 9it --resume " + how), ranks);
  };
  const fs::path damaged = copy_of_run("damaged");
  const fs::path part = damaged / "checkpoints" / "step_00000006" / "rank_00001_of_00002.safetensors";
  {
    std::fstream bytes(part, std::ios::in | std::ios::out | std::ios::binary);
    bytes.seekp(-5, std::ios::end);
    bytes.put('\x55');
  }
  expect_refusal(resume(damaged, 2, "strict"), 1, {"rank_00001_of_00002.safetensors", "CRC32C"}, damaged / "checkpoints" / "step_00000009");
  fs::remove(part);
  expect_refusal(resume(damaged, 0, "strict"), 1, {"rank_00001_of_00002.safetensors"}, damaged / "checkpoints" / "step_00000009");
  const RunResult before = resume(damaged, 2, "auto");
  EXPECT_EQ(before.code, 0) << before.output;
  EXPECT_NE(before.output.find("DAMAGED: " + part.string()), std::string::npos) << before.output;
  EXPECT_NE(before.output.find("step_00000003 at step 3"), std::string::npos) << before.output;
  EXPECT_TRUE(fs::exists(damaged / "damaged" / "step_00000006"));
  EXPECT_TRUE(fs::exists(damaged / "checkpoints" / "step_00000009" / "manifest.json"));

  // a finished run is not begun again over itself
  const fs::path again = copy_of_run("again");
  expect_refusal(dinoxx_run(train_line(shop_.data(), again, "--resume never")), 2, {"--resume never"});
  EXPECT_TRUE(fs::exists(again / "checkpoints" / "step_00000006" / "manifest.json"));
  // another network's checkpoint
  expect_refusal(dinoxx_run(train_line(shop_.data(), shop_.folder / "other",
                                       "--model.dim 48 --resume " + (again / "checkpoints" / "step_00000006").string())),
                 2, {"model.dim was 32 and is 48"});
}

TEST_F(BadTrainInput, OutputThatCannotBeWritten) {
  const std::string blocked = file("a_file", "x");
  expect_refusal(dinoxx_run(train_line(shop_.data(), blocked)), 1, {"a_file"});
  expect_refusal(dinoxx_run(train_line(shop_.data(), blocked + "/run"), 2), 1, {"a_file"});
  expect_refusal(dinoxx_run(train_line(shop_.data(), "/proc/dinoxx")), 1, {"/proc/dinoxx"});
}

// No file may grow beyond 32 KiB (64 blocks of the shell): configuration and metrics fit, the checkpoint does not. What a disk does that
// fills up later: fault_train_full_disk.
TEST_F(BadTrainInput, ALimitOnFilesIsRefusedBeforeTheWork) {
  const RunResult result = dinoxx_run(train_line(shop_.data(), out_), 0, "trap '' XFSZ; ulimit -f 64;");
  expect_refusal(result, 2, {"checkpoints", "ulimit -f"}, out_);
  // with room the same command does the run
  const RunResult after = train("");
  EXPECT_EQ(after.code, 0) << after.output;
  EXPECT_TRUE(fs::exists(out_ / "checkpoints" / "step_00000003" / "manifest.json"));
  fs::remove_all(out_);
}

TEST_F(BadTrainInput, ImagesThatCannotBePacked) {
  const fs::path data = shop_.folder / "packed";
  const auto pack = [&](const std::string& source) { return dinoxx_run("pack " + source + " --out " + data.string()); };
  expect_refusal(dinoxx_run("pack --from-folder x"), 2, {"--out"});
  expect_refusal(pack("--from-folder " + (shop_.folder / "none").string()), 2, {"none"}, data);
  fs::create_directories(shop_.folder / "hollow" / "oak");
  expect_refusal(pack("--from-folder " + (shop_.folder / "hollow").string()), 2, {"hollow"}, data);
  std::ofstream(shop_.folder / "hollow" / "oak" / "notes.txt") << "no image";
  expect_refusal(pack("--from-folder " + (shop_.folder / "hollow").string()), 2, {"hollow"}, data);
  expect_refusal(pack("--toy textures --count 3"), 2, {"3"}, data);
  expect_refusal(pack("--toy textiles"), 2, {"textiles"}, data);

  // a third of the images is no image: more than one in a hundred
  Image image{16, 16, std::vector<uint8_t>(16 * 16 * 3, 90)};
  for (const char* name : {"a.png", "b.png"}) {
    image.data[0] = static_cast<uint8_t>(name[0]);
    const std::vector<uint8_t> png = encode_png(image);
    std::ofstream(shop_.folder / "hollow" / "oak" / name, std::ios::binary)
        .write(reinterpret_cast<const char*>(png.data()), static_cast<std::streamsize>(png.size()));
  }
  std::ofstream(shop_.folder / "hollow" / "oak" / "c.png") << "torn";
  const RunResult bad = pack("--from-folder " + (shop_.folder / "hollow").string());
  EXPECT_NE(bad.code, 0);
  expect_refusal(bad, bad.code, {"c.png"}, data);
  const RunResult fine = pack("--max-bad-fraction 0.5 --from-folder " + (shop_.folder / "hollow").string());
  EXPECT_EQ(fine.code, 0) << fine.output;
  EXPECT_TRUE(fs::exists(data / "bad.csv"));
  fs::remove_all(data);
}

}  // namespace
}  // namespace dinoxx
