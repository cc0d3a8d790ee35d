#include <sstream>

#include "apps/commands.hpp"
#include "apps/model_options.hpp"
#include "comm/agree.hpp"
#include "command.hpp"
#include "eval/correspondence/match.hpp"
#include "eval/run/evaluate.hpp"
#include "eval/statistics/paired.hpp"

namespace dinoxx {
namespace {

namespace po = boost::program_options;

constexpr const char* kUsage =
    R"(dinoxx match: are the same places of things found again in other pictures? Nearest patches, nothing trained.

  dinoxx match --checkpoint RUN --pairs PAIRS.json --out DIR

PAIRS.json: [{"first": "a.jpg", "second": "b.jpg", "points": [[x, y, x2, y2], ...], "box": [x, y, width, height]}], in pixels of the files; box, of
the thing in the second picture, may be left out. DIR gets results.json: PCK, the share of points found within 0.05, 0.1 and 0.2 of the longer side
of the box (without one, of the picture). The short side of a picture becomes that of training. Without annotated pairs: dinoxx eval --suite match, on warped copies of the test images.

)";

struct Line {
  eval::MatchOptions options;
  std::string help;
};

Line parse(int argc, char** argv) {
  Line line;
  eval::MatchOptions& options = line.options;
  std::string pairs, images, out, baselines;
  po::options_description own("options", 140, 70);
  own.add_options()("pairs", po::value(&pairs)->value_name("FILE"), "list of pairs with their points")(
      "images", po::value(&images)->value_name("DIR"), "folder of the pictures; without it that of the list")(
      "out", po::value(&out)->value_name("DIR"), "where results.json goes")(
      "baselines", po::value(&baselines)->default_value("untrained,raw")->value_name("NAMES|none"),
      "scored beside: a network of the same shape before training, the pixels under each patch");
  const ModelOptions model = parse_model_options(argc, argv, "match", own, {}, /*with_data=*/false);
  if (!model.help.empty()) {
    line.help = kUsage + model.help;
    return line;
  }
  require_option("match", pairs, "--pairs", "a JSON file with pairs of pictures");
  require_option("match", out, "--out", "a folder for results.json");
  apply_model_options(model, argc, argv, options);
  options.pairs = pairs;
  options.images = images.empty() ? options.pairs.parent_path() : std::filesystem::path(images);
  options.out = out;
  options.baselines = eval::parse_names(baselines, eval::baseline_names(), "--baselines", /*may_be_empty=*/true);
  return line;
}

}  // namespace

int run_match(int argc, char** argv) {
  MpiRuntime mpi(&argc, &argv);
  return run_under_mpi(mpi, [&] {
    const auto comm = mpi.make_communicator();
    Line line;
    on_all_ranks(*comm, [&] { line = parse(argc, argv); });
    if (!line.help.empty()) {
      if (mpi.rank() == 0) fmt::print("{}", line.help);
      return static_cast<int>(ExitCode::kDone);
    }
    if (line.options.threads == 0) line.options.threads = cores_of_rank(mpi.local_size());
    const nlohmann::json results = eval::match_pairs(line.options, *comm);
    if (mpi.rank() == 0)
      fmt::print("{}{}\n", eval::match_table(results["results"]) + eval::paired_lines(results["paired"]),
                 (line.options.out / "results.json").string());
    return static_cast<int>(ExitCode::kDone);
  });
}

}  // namespace dinoxx
