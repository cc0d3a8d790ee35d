#include "checkpoint/checkpoint.hpp"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "base/files.hpp"
#include "base/machine.hpp"
#include "comm/agree.hpp"
#include "dinoxx/base/error.hpp"
#include "dinoxx/comm/self_communicator.hpp"
#include "formats/safetensors.hpp"
#include "thread_ranks.hpp"

namespace dinoxx {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing_support::run_thread_ranks;

// A layout of three parameters and buffers with a value in every element, padding included.
struct Content {
  explicit Content(double start, int64_t bucket_bytes = 256) {
    parameters = {{"a.weight", at::zeros({7, 5})}, {"a.bias", at::zeros({5})}, {"head.last_layer.weight_v", at::zeros({130, 3})}};
    layout = ParamLayout::build(parameters, bucket_bytes);
    student = at::arange(layout.numel, at::kDouble).add(start).to(at::kFloat);
    moments = at::arange(layout.numel, at::kDouble).mul(0.5).add(start);
    centre = at::full({11}, start, at::kFloat);
    count = at::full({}, static_cast<int64_t>(start), at::kLong);
  }
  CheckpointTensors tensors() const {
    return {&layout, {{"student", student}, {"adamw.exp_avg", moments}}, {{"centre", centre}, {"adamw.step/a.weight", count}}};
  }
  // Equal in every parameter, by name; padding is nobody's.
  void expect_equals(const Content& other) const {
    for (const Segment& segment : layout.segments) {
      const auto twin = std::find_if(other.layout.segments.begin(), other.layout.segments.end(),
                                     [&](const Segment& s) { return s.name == segment.name; });
      ASSERT_NE(twin, other.layout.segments.end());
      EXPECT_TRUE(at::equal(student.narrow(0, segment.offset, segment.numel), other.student.narrow(0, twin->offset, twin->numel)))
          << segment.name;
      EXPECT_TRUE(at::equal(moments.narrow(0, segment.offset, segment.numel), other.moments.narrow(0, twin->offset, twin->numel)))
          << segment.name;
    }
    EXPECT_TRUE(at::equal(centre, other.centre));
    EXPECT_TRUE(at::equal(count, other.count));
  }
  NamedTensors parameters;
  ParamLayout layout;
  at::Tensor student, moments, centre, count;
};

class CheckpointTest : public testing::Test {
 protected:
  CheckpointTest() : run_(fs::temp_directory_path() / ("dinoxx_checkpoint_" + std::to_string(::getpid()))), folder_(run_ / "checkpoints") {
    fs::create_directories(folder_);
  }
  ~CheckpointTest() override { fs::remove_all(run_); }

  fs::path save(const Content& content, int64_t step, Communicator& comm) {
    const at::Tensor bias = content.student.narrow(0, 0, 5);
    const std::vector<SideFile> weights = {
        {"teacher.safetensors", {{"a.bias", at::kFloat, {5}, [bias](bool) { return bias; }}}, {{"format", "pt"}}, ""}};
    return save_checkpoint(comm, folder_, step, content.tensors(), weights, {{"position", 8 * step}});
  }
  fs::path save(const Content& content, int64_t step) { return save(content, step, *make_self_communicator()); }
  void load(const fs::path& path, const Content& into) { load_checkpoint(*make_self_communicator(), path, into.tensors()); }
  std::string refusal(const fs::path& path) {
    const Content into(0);
    try {
      load(path, into);
    } catch (const Error& error) {
      return error.what();
    }
    return "accepted";
  }
  static void flip(const fs::path& path, int64_t offset) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    if (offset < 0) offset += static_cast<int64_t>(fs::file_size(path));
    file.seekg(offset);
    const char c = static_cast<char>(file.get());
    file.seekp(offset);
    file.put(static_cast<char>(c ^ 0x10));
  }
  static std::vector<std::string> names(const fs::path& folder) {
    std::vector<std::string> all;
    for (const auto& entry : fs::directory_iterator(folder)) all.push_back(entry.path().filename().string());
    std::sort(all.begin(), all.end());
    return all;
  }
  fs::path run_, folder_;
};

TEST_F(CheckpointTest, LoadsWhatWasSaved) {
  const Content saved(3);
  const fs::path path = save(saved, 1000);
  EXPECT_EQ(path, folder_ / "step_00001000");
  EXPECT_EQ(names(path), (std::vector<std::string>{"manifest.json", "rank_00000_of_00001.safetensors", "teacher.safetensors"}));
  const Content loaded(0);
  load(path, loaded);
  loaded.expect_equals(saved);
  EXPECT_EQ(read_manifest(path)["position"], 8000);
  EXPECT_EQ(latest_checkpoint(run_), path);
}

TEST_F(CheckpointTest, LoadsAtAnyNumberOfRanksAndInAnotherLayout) {
  for (const int savers : {1, 2, 3}) {
    const int64_t step = 10 * savers;
    fs::path path;
    run_thread_ranks(savers, [&](std::shared_ptr<Communicator> comm) {
      const Content saved(7);
      const fs::path p = save(saved, step, *comm);
      if (comm->rank() == 0) path = p;
    });
    for (const int loaders : {1, 2, 4}) {
      run_thread_ranks(loaders, [&](std::shared_ptr<Communicator> comm) {
        const Content loaded(0, 1 << 20), saved(7);
        load_checkpoint(*comm, path, loaded.tensors());
        loaded.expect_equals(saved);
      });
    }
  }
}

TEST_F(CheckpointTest, EveryFlippedByteIsFound) {
  const fs::path path = save(Content(3), 5), file = path / "rank_00000_of_00001.safetensors";
  for (const int64_t offset : {int64_t{0}, int64_t{9}, int64_t{200}, static_cast<int64_t>(fs::file_size(file)) / 2, int64_t{-1}}) {
    flip(file, offset);
    EXPECT_THAT(refusal(path), HasSubstr(file.string())) << offset;
    flip(file, offset);
    EXPECT_EQ(refusal(path), "accepted");
  }
}

TEST_F(CheckpointTest, TornAndMissingFilesAreFound) {
  const fs::path path = save(Content(3), 5), file = path / "rank_00000_of_00001.safetensors";
  const auto size = fs::file_size(file);
  fs::resize_file(file, size - 4);
  EXPECT_THAT(refusal(path), testing::AllOf(HasSubstr(fmt::format("expected {} bytes", size)), HasSubstr("damaged")));
  fs::remove(file);
  EXPECT_THAT(refusal(path), HasSubstr(file.string()));
}

TEST_F(CheckpointTest, ForeignAndDamagedManifests) {
  const fs::path path = save(Content(3), 5), manifest = path / "manifest.json";
  const std::string good = read_text(manifest);
  const auto with = [&](const std::string& text) {
    std::ofstream(manifest) << text;
    return refusal(path);
  };
  EXPECT_THAT(with("{"), HasSubstr("JSON"));
  EXPECT_THAT(with("[]"), HasSubstr("JSON object"));
  EXPECT_THAT(with("{\"format\": \"something\"}"), HasSubstr("a dinoxx checkpoint"));
  auto record = nlohmann::json::parse(good);
  record["version"] = 2;
  EXPECT_THAT(with(record.dump()), HasSubstr("format version 1"));
  record = nlohmann::json::parse(good);
  record["files"][0]["name"] = "../../etc/passwd";
  EXPECT_THAT(with(record.dump()), HasSubstr("plain file names"));
  record = nlohmann::json::parse(good);
  record["files"].erase(1);
  EXPECT_THAT(with(record.dump()), HasSubstr("exactly once"));
  fs::remove(manifest);
  EXPECT_THAT(refusal(path), HasSubstr("manifest.json"));
  EXPECT_THAT(refusal(run_ / "nowhere"), HasSubstr("no such folder"));
}

TEST_F(CheckpointTest, AnotherModelIsRefused) {
  const fs::path path = save(Content(3), 5);
  Content other(0);
  NamedTensors parameters = {{"a.weight", at::zeros({7, 5})}, {"b.bias", at::zeros({5})}};
  other.layout = ParamLayout::build(parameters, 256);
  other.student = at::zeros({other.layout.numel});
  other.moments = at::zeros({other.layout.numel}, at::kDouble);
  try {
    load(path, other);
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("configuration that was saved"));
  }
}

TEST_F(CheckpointTest, LatestIsTheNewestWithAManifest) {
  EXPECT_EQ(latest_checkpoint(run_), std::nullopt);
  EXPECT_EQ(latest_checkpoint(run_ / "nowhere"), std::nullopt);
  const fs::path first = save(Content(1), 99), second = save(Content(2), 100);
  EXPECT_EQ(latest_checkpoint(run_), second);
  fs::remove(second / "manifest.json");
  EXPECT_EQ(latest_checkpoint(run_), first);
}

TEST_F(CheckpointTest, PruningKeepsTheNewestAndClearsTheRest) {
  for (const int64_t step : {1, 2, 3, 4}) save(Content(1), step);
  fs::create_directories(folder_ / ".step_00000009.partial");
  fs::create_directories(folder_ / "step_00000007");  // its removal was interrupted after the manifest
  prune_checkpoints(folder_, 2);
  EXPECT_EQ(names(folder_), (std::vector<std::string>{"step_00000003", "step_00000004"}));
}

TEST_F(CheckpointTest, PruningKeepsTheStepsThatStay) {
  for (const int64_t step : {10, 15, 20, 25, 30, 35}) save(Content(1), step);
  prune_checkpoints(folder_, 1, [](int64_t step) { return step % 20 == 0; });
  EXPECT_EQ(names(folder_), (std::vector<std::string>{"step_00000020", "step_00000035"}));
  EXPECT_EQ(checkpoint_step(folder_ / "step_00000020"), 20);
  EXPECT_EQ(checkpoint_step(folder_ / "step_0000002x"), -1);
}

TEST_F(CheckpointTest, AStepSavedAgainReplacesTheOldOne) {
  save(Content(1), 5);
  const Content second(2);
  const fs::path path = save(second, 5);
  const Content loaded(0);
  load(path, loaded);
  loaded.expect_equals(second);
  EXPECT_EQ(names(folder_), (std::vector<std::string>{"step_00000005"}));
}

TEST_F(CheckpointTest, AFailureOnOneRankIsToldOnAllAndLeavesNothing) {
  int told = 0;
  std::mutex mutex;
  run_thread_ranks(3, [&](std::shared_ptr<Communicator> comm) {
    Content content(1);
    if (comm->rank() == 1) content.student = content.student.to(at::kHalf);  // a type that no checkpoint holds
    try {
      save(content, 5, *comm);
    } catch (const AgreedError& error) {
      const std::lock_guard lock(mutex);
      ++told;
      EXPECT_THAT(error.what(), testing::AllOf(HasSubstr("rank 1"), HasSubstr("float32")));
    }
  });
  EXPECT_EQ(told, 3);
  EXPECT_TRUE(names(folder_).empty());
}

TEST(OnAllRanks, CarriesTheExitCode) {
  run_thread_ranks(2, [](std::shared_ptr<Communicator> comm) {
    on_all_ranks(*comm, [] {});
    try {
      on_all_ranks(*comm, [&] {
        if (comm->rank() == 1) fail_usage("this", "that", "those", "Change it");
      });
      FAIL();
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), ExitCode::kUsage);
      EXPECT_EQ(error.what(), "rank 1 on host " + host_name() + ": this: expected that, found those. Change it.");
    }
  });
}

TEST(RanksMustAgree, NamesRanksAndHosts) {
  run_thread_ranks(3, [](std::shared_ptr<Communicator> comm) {
    ranks_must_agree(*comm, "the same", "a word");
    try {
      ranks_must_agree(*comm, comm->rank() == 0 ? "one" : "another", "a word");
      FAIL();
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), ExitCode::kUsage);
      EXPECT_THAT(error.what(),
                  HasSubstr(fmt::format("a word: expected the same on all ranks, found a different one from rank 0's (host {0}) on "
                                        "ranks 1, 2 (host {0}).",
                                        host_name())));
    }
  });
}

}  // namespace
}  // namespace dinoxx
