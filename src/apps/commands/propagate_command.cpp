#include "apps/commands.hpp"
#include "apps/model_options.hpp"
#include "comm/agree.hpp"
#include "data_pipeline/toy/toy_video.hpp"
#include "eval/correspondence/propagate.hpp"
#include "eval/run/evaluate.hpp"

namespace dinoxx {
namespace {

namespace po = boost::program_options;

constexpr int kToyVideos = 8;
constexpr const char* kUsage =
    R"(dinoxx propagate: label propagation in videos. Labels of the first frame are carried on by similar patches, nothing trained.

  dinoxx propagate --checkpoint RUN --frames DAVIS/JPEGImages/480p --masks DAVIS/Annotations/480p --list DAVIS/ImageSets/2017/val.txt --out DIR
  dinoxx propagate --toy VIDEOS     draws eight videos with their masks: VIDEOS/frames, VIDEOS/masks

Each folder below --frames is a video, its frames in the order of their names (or DIR itself is one). --masks has PNGs of the same names whose
pixels number the objects (with a palette, or gray; 0 is background; 255 beside other numbers is void and never scored). The first frame needs
one; frames without are followed and not scored. Frames are looked at in their own size. DIR gets masks/VIDEO/*.png, objects.csv and
results.json: J and F by the protocol of DAVIS 2017.
)";

class PropagateCommand : public ModelCommand {
 public:
  PropagateCommand() : ModelCommand("propagate") {}
  std::string usage() const override { return kUsage; }
  eval::NetworkRun& network_run() override { return options_; }

  void add_options(po::options_description& own) override {
    own.add_options()("frames", po::value(&frames_)->value_name("DIR"), "a folder of frames for each video")(
        "masks", po::value(&masks_)->value_name("DIR"), "annotations, with the same names")(
        "list", po::value(&list_)->value_name("FILE"), "only these videos, one a line")("out", po::value(&out_)->value_name("DIR"),
                                                                                        "where results.json and the masks go")(
        "baselines", po::value(&baselines_)->default_value("untrained,raw")->value_name("NAMES|none"),
        "scored beside: a network of the same shape before training, the pixels under each patch");
  }

  void check(const std::vector<Setting>&) override {
    require(frames_, "--frames", "a folder with videos as folders of frames");
    require(masks_, "--masks", "a folder with their annotations");
    require(out_, "--out", "a folder for results.json and the masks");
    options_.frames = frames_;
    options_.masks = masks_;
    options_.out = out_;
    if (!list_.empty()) options_.list = list_;
    options_.baselines = eval::parse_names(baselines_, eval::baseline_names(), "--baselines", /*may_be_empty=*/true);
  }

  void run(Communicator& comm) override {
    const nlohmann::json results = eval::propagate(options_, comm);
    if (comm.rank() == 0) fmt::print("{}{}\n", eval::propagate_table(results), (options_.out / "results.json").string());
  }

 private:
  eval::PropagateOptions options_;
  std::string frames_, masks_, list_, out_, baselines_;
};

void draw_toy(const std::string& folder, Communicator& comm) {
  on_all_ranks(comm, [&] {
    if (comm.rank() == 0) write_toy_videos(folder, kToyVideos, {});
  });
  if (comm.rank() == 0) fmt::print("--frames {0}/frames --masks {0}/masks\n", folder);
}

}  // namespace

int run_propagate(int argc, char** argv) {
  if (argc == 3 && std::string(argv[1]) == "--toy")
    return run_with_mpi(argc, argv, [&](MpiRuntime&, Communicator& comm) { draw_toy(argv[2], comm); });
  PropagateCommand command;
  return run_model_command(argc, argv, command);
}

}  // namespace dinoxx
