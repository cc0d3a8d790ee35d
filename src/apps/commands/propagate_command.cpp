#include <sstream>

#include "apps/commands.hpp"
#include "apps/model_options.hpp"
#include "comm/agree.hpp"
#include "command.hpp"
#include "data_pipeline/toy/toy_video.hpp"
#include "eval/correspondence/propagate.hpp"
#include "eval/run/evaluate.hpp"

namespace dinoxx {
namespace {

namespace po = boost::program_options;

constexpr int kToyFilms = 8;
constexpr const char* kUsage =
    R"(dinoxx propagate: do features follow objects through a film? Labels of the first frame, carried on by similar patches, nothing trained.

  dinoxx propagate --checkpoint RUN --frames DAVIS/JPEGImages/480p --masks DAVIS/Annotations/480p --list DAVIS/ImageSets/2017/val.txt --out DIR
  dinoxx propagate --toy FILMS      draws eight films with their masks: FILMS/frames, FILMS/masks

Below --frames each folder is a film, frames in the order of their names (or DIR itself is one); --masks has PNGs of the same names whose pixels
number the objects (with a palette, or gray; 0 background, 255 beside other numbers: counts for nobody). The first frame needs one; frames without
are followed and not scored. Frames are looked at in their own size. DIR gets masks/FILM/*.png, objects.csv and results.json: J and F by the protocol
of DAVIS 2017.

)";

struct Line {
  eval::PropagateOptions options;
  std::string toy, help;
};

Line parse(int argc, char** argv) {
  Line line;
  eval::PropagateOptions& options = line.options;
  std::string frames, masks, list, out, baselines;
  po::options_description own("options", 140, 70);
  own.add_options()("frames", po::value(&frames)->value_name("DIR"), "a folder of frames for each film")(
      "masks", po::value(&masks)->value_name("DIR"), "annotations, with the same names")(
      "list", po::value(&list)->value_name("FILE"), "these films alone, one a line")("out", po::value(&out)->value_name("DIR"),
                                                                                     "where results.json and the masks go")(
      "baselines", po::value(&baselines)->default_value("untrained,raw")->value_name("NAMES|none"),
      "scored beside: a network of the same shape before training, the pixels under each patch");
  if (argc == 3 && std::string(argv[1]) == "--toy") {
    line.toy = argv[2];
    return line;
  }
  const ModelOptions model = parse_model_options(argc, argv, "propagate", own, {}, /*with_data=*/false);
  if (!model.help.empty()) {
    line.help = kUsage + model.help;
    return line;
  }
  require_option("propagate", frames, "--frames", "a folder with films as folders of frames");
  require_option("propagate", masks, "--masks", "a folder with their annotations");
  require_option("propagate", out, "--out", "a folder for results.json and the masks");
  apply_model_options(model, argc, argv, options);
  options.frames = frames;
  options.masks = masks;
  options.out = out;
  if (!list.empty()) options.list = list;
  options.baselines = eval::parse_names(baselines, eval::baseline_names(), "--baselines", /*may_be_empty=*/true);
  return line;
}

}  // namespace

int run_propagate(int argc, char** argv) {
  MpiRuntime mpi(&argc, &argv);
  return run_under_mpi(mpi, [&] {
    const auto comm = mpi.make_communicator();
    Line line;
    on_all_ranks(*comm, [&] { line = parse(argc, argv); });
    if (!line.help.empty()) {
      if (mpi.rank() == 0) fmt::print("{}", line.help);
      return static_cast<int>(ExitCode::kDone);
    }
    if (!line.toy.empty()) {
      on_all_ranks(*comm, [&] {
        if (mpi.rank() == 0) write_toy_videos(line.toy, kToyFilms, {});
      });
      if (mpi.rank() == 0) fmt::print("--frames {0}/frames --masks {0}/masks\n", line.toy);
      return static_cast<int>(ExitCode::kDone);
    }
    if (line.options.threads == 0) line.options.threads = cores_of_rank(mpi.local_size());
    const nlohmann::json results = eval::propagate(line.options, *comm);
    if (mpi.rank() == 0) fmt::print("{}{}\n", eval::propagate_table(results), (line.options.out / "results.json").string());
    return static_cast<int>(ExitCode::kDone);
  });
}

}  // namespace dinoxx
