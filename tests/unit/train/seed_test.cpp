// train.seed reaches everything that a run draws: the order of the images, crops, masks and stochastic depth, each by itself. The loss that
// the loop logs for its first step is compared with one of a batch put together here, piece by piece, each piece from a seed of its own.
#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <regex>

#include "data_pipeline/loader/loader.hpp"
#include "data_pipeline/pack/pack.hpp"
#include "dinoxx/comm/self_communicator.hpp"
#include "history/checkpoint_folders.hpp"
#include "loss/loss_config.hpp"
#include "method/settings/resolve.hpp"
#include "model/model_config.hpp"
#include "model/weights/weights.hpp"
#include "step/train_step.hpp"
#include "temporary_folder.hpp"
#include "train/train.hpp"
#include "train/training_config.hpp"

namespace dinoxx {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr int64_t kBatch = 8;

struct Seeds {
  explicit Seeds(uint64_t all) : order(all), crops(all), masks(all), drop_path(all) {}
  uint64_t order, crops, masks, drop_path;
};

class Seed : public testing::Test {
 protected:
  Seed() {
    PackOptions pack_options;
    pack_options.source = PackOptions::Source::kToy;
    pack_options.toy.count = 80;
    pack_options.out = folder_ / "data";
    pack(pack_options);
    options_.config = default_config();
    apply_settings(options_.config,
                   parse_settings("[model]\ndim = 16\ndepth = 2\nheads = 2\npatch_size = 4\nstyle = dinov2\ndrop_path = 0.5\n"
                                  "[head]\nout_dim = 16\nhidden_dim = 16\nbottleneck_dim = 8\n"
                                  "[views]\nglobal_size = 16\nlocal_size = 8\nlocal_count = 1\n"
                                  "[train]\nmethod = dinov2\nbatch_size = 8\nlength = 2it\nlog_every = 1\n"
                                  "[checkpoint]\nevery = 0\n[eval]\nevery = 0\n",
                                  "test"));
    options_.data = folder_ / "data";
    dataset_ = Dataset::open(options_.data);
    ids_ = dataset_->ids(Split::kTrain);
  }

  // Lines of metrics.jsonl of a new run.
  std::vector<json> run(int64_t seed) {
    options_.config.train->seed = seed;
    options_.out = folder_ / ("run" + std::to_string(runs_++));
    const auto self = [] { return make_self_communicator(); };
    try {
      EXPECT_EQ(train(options_, {self(), self(), self()}), ExitCode::kDone);
    } catch (const Error& error) {
      stopped_with_ = error.what();
    }
    std::ifstream file(options_.out / "metrics.jsonl");
    std::vector<json> lines;
    for (std::string line; std::getline(file, line);) lines.push_back(json::parse(line));
    return lines;
  }
  double first_loss(int64_t seed) {
    for (const json& line : run(seed))
      if (line.contains("loss")) return line["loss"].get<double>();
    ADD_FAILURE() << "no loss: " << stopped_with_;
    return 0;
  }

  // The loss of step 1 of a run of seed `weights`, its batch drawn with `seeds`; with the weights of `file` where one is given.
  double loss_of(int64_t weights, const Seeds& seeds, const fs::path& file = {}) const {
    Config given = options_.config;
    given.train->seed = weights;
    const Config config = resolve_config(given, ids_.size(), options_.cores);
    const MethodSpec spec = make_method(config);
    TrainState state(config, spec, at::kFloat);
    if (!file.empty()) {
      const SafetensorsFile start(file);
      for (FlatState* flat : {&state.student_flat, &state.teacher_flat}) {
        for (const Segment& segment : state.layout.segments)
          flat->master.narrow(0, segment.offset, segment.numel).copy_(to_tensor(start.at(segment.name)).reshape(-1));
        flat->publish();
      }
    }
    StepInput input;
    input.global_batch = kBatch;
    input.seed = seeds.drop_path;
    for (uint64_t position = 0; position < kBatch; ++position) input.positions.push_back(position);
    input.crops = crops(spec.views, seeds);
    input.masked = draw_masks(spec, spec.views.views.front().size, input.positions, seeds.masks);
    const auto gradients = make_self_communicator(), statistics = make_self_communicator();
    GradientSync sync(gradients, state.layout, state.student.parameters(), state.student_flat);
    return train_step(state, spec, input, Schedules(config, ids_.size()).at(0, 0), sync, {*statistics, *statistics}).loss;
  }

  uint64_t id_at(uint64_t position, uint64_t seed) const { return ids_[Sampler(ids_.size(), seed).row(position)]; }

  // Crops of one size together, [views * B, 3, S, S], as a loader gives them.
  std::vector<at::Tensor> crops(const ViewPlan& plan, const Seeds& seeds) const {
    std::vector<Image> images(kBatch);
    std::vector<uint8_t> bytes;
    for (uint64_t slot = 0; slot < kBatch; ++slot) {
      dataset_->read(id_at(slot, seeds.order), bytes);
      decode_image(bytes, images[slot]);
    }
    std::vector<at::Tensor> groups;
    for (uint32_t v = 0; v < plan.views.size(); ++v) {
      const ViewSpec& view = plan.views[v];
      const at::Tensor rows = at::empty({kBatch, 3, view.size, view.size}, at::kFloat);
      for (uint64_t slot = 0; slot < kBatch; ++slot)
        make_view(images[slot], view, plan.normalization.value(), seeds.crops, slot, v, rows[static_cast<int64_t>(slot)].data_ptr<float>());
      if (v > 0 && plan.views[v - 1].size == view.size)
        groups.back() = at::cat({groups.back(), rows});
      else
        groups.push_back(rows);
    }
    return groups;
  }

  testing_support::TemporaryFolder folder_;
  TrainOptions options_;
  std::shared_ptr<const Dataset> dataset_;
  std::vector<uint64_t> ids_;
  std::string stopped_with_;
  int runs_ = 0;
};

TEST_F(Seed, GivesOrderCropsMasksAndStochasticDepthEachByItself) {
  constexpr double kSame = 1e-6, kOther = 1e-4;  // relative: rounding of one program, and far from it
  for (const int64_t seed : {5, 6}) {
    const Seeds own(static_cast<uint64_t>(seed));
    const double loss = first_loss(seed);
    EXPECT_NEAR(loss, loss_of(seed, own), kSame * loss) << "seed " << seed;
    const std::pair<const char*, uint64_t Seeds::*> draws[] = {
        {"order", &Seeds::order}, {"crops", &Seeds::crops}, {"masks", &Seeds::masks}, {"stochastic depth", &Seeds::drop_path}};
    for (const auto& [name, draw] : draws) {
      Seeds other = own;
      other.*draw = 0;  // the default
      EXPECT_GT(std::abs(loss_of(seed, other) - loss), kOther * loss) << name << " of seed " << seed << " is not seen in the loss";
    }
    EXPECT_GT(std::abs(loss_of(0, own) - loss), kOther * loss) << "weights of seed " << seed;
  }
}

// With equal weights there is nothing left but what the loop itself draws.
TEST_F(Seed, TwoRunsFromOneStartDiffer) {
  run(5);
  const fs::path start = *latest_checkpoint(options_.out) / "teacher.safetensors";
  options_.config.model->init_from = start.string();
  const double five = first_loss(5), again = first_loss(5), six = first_loss(6);
  EXPECT_EQ(five, again);
  EXPECT_GT(std::abs(six - five), 1e-4 * five);
  EXPECT_NEAR(five, loss_of(5, Seeds(5), start), 1e-6 * five);
  EXPECT_NEAR(six, loss_of(6, Seeds(6), start), 1e-6 * six);
}

// A step that is skipped names its images: steps that all are tell the ids of the first batches.
TEST_F(Seed, TheFirstBatchesAreTheSamplers) {
  options_.config.loss->koleo_weight = 1e38;  // finite in float32, what backward makes of it is not
  options_.config.train->max_skipped = 4;
  options_.config.train->length = {10, Duration::Unit::kSteps};
  for (const int64_t seed : {5, 6}) {
    std::vector<std::string> found, expected;
    for (const json& line : run(seed)) {
      if (line.value("event", "") != "skipped") continue;
      const std::string where = line["where"];
      std::smatch match;
      ASSERT_TRUE(std::regex_search(where, match, std::regex("\\(image ids ([0-9 ]+)\\)"))) << where;
      found.push_back(match[1]);
    }
    for (uint64_t step = 0; step < 4; ++step) {
      std::string batch;
      for (uint64_t slot = 0; slot < kBatch; ++slot)
        batch += (slot == 0 ? "" : " ") + std::to_string(id_at(step * kBatch + slot, static_cast<uint64_t>(seed)));
      expected.push_back(batch);
    }
    EXPECT_EQ(found, expected) << "seed " << seed << ": " << stopped_with_;
  }
}

}  // namespace
}  // namespace dinoxx
