#include "apps/commands.hpp"
#include "apps/model_options.hpp"
#include "eval/correspondence/match.hpp"
#include "eval/run/evaluate.hpp"
#include "eval/statistics/paired.hpp"

namespace dinoxx {
namespace {

namespace po = boost::program_options;

constexpr const char* kUsage =
    R"(dinoxx match: point matching between pairs of images by the nearest patches, nothing trained.

  dinoxx match --checkpoint RUN --pairs PAIRS.json --out DIR

PAIRS.json: [{"first": "a.jpg", "second": "b.jpg", "points": [[x, y, x2, y2], ...], "box": [x, y, width, height]}], in pixels of the files. The
box is that of the thing in the second image; it may be left out. DIR gets results.json: PCK, the share of points found within 0.05, 0.1 and 0.2
of the longer side of the box (of the image where there is no box). The short side of an image is resized to that of training. Without annotated
pairs: dinoxx eval --protocol match, on warped copies of the test images.
)";

class MatchCommand : public ModelCommand {
 public:
  MatchCommand() : ModelCommand("match") {}
  std::string usage() const override { return kUsage; }
  eval::NetworkRun& network_run() override { return options_; }

  void add_options(po::options_description& own) override {
    own.add_options()("pairs", po::value(&pairs_)->value_name("FILE"), "list of pairs with their points")(
        "images", po::value(&images_)->value_name("DIR"), "folder of the images; without it that of the list")(
        "out", po::value(&out_)->value_name("DIR"), "where results.json goes")(
        "baselines", po::value(&baselines_)->default_value("untrained,raw")->value_name("NAMES|none"),
        "scored beside: a network of the same shape before training, the pixels under each patch");
  }

  void check(const std::vector<Setting>&) override {
    require(pairs_, "--pairs", "a JSON file with pairs of images");
    require(out_, "--out", "a folder for results.json");
    options_.pairs = pairs_;
    options_.images = images_.empty() ? options_.pairs.parent_path() : std::filesystem::path(images_);
    options_.out = out_;
    options_.baselines = eval::parse_names(baselines_, eval::baseline_names(), "--baselines", /*may_be_empty=*/true);
  }

  void run(Communicator& comm) override {
    const nlohmann::json results = eval::match_pairs(options_, comm);
    if (comm.rank() != 0) return;
    fmt::print("{}{}{}\n", eval::match_table(results["results"]), eval::paired_lines(results["paired"]),
               (options_.out / "results.json").string());
  }

 private:
  eval::MatchOptions options_;
  std::string pairs_, images_, out_, baselines_;
};

}  // namespace

int run_match(int argc, char** argv) {
  MatchCommand command;
  return run_model_command(argc, argv, command);
}

}  // namespace dinoxx
