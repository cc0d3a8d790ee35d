#include "apps/commands.hpp"
#include "apps/model_options.hpp"
#include "apps/readout_options.hpp"
#include "base/progress_line.hpp"
#include "dinoxx/base/error.hpp"
#include "eval/features/embed.hpp"

namespace dinoxx {
namespace {

namespace po = boost::program_options;

constexpr const char* kUsage = R"(dinoxx embed: the features of images, for other programs.

  dinoxx embed --checkpoint RUN --data DATA --out features.npy            one process
  mpirun -n 4 dinoxx embed --checkpoint RUN --data DATA --out features.h5 four ranks, the same numbers

FILE.npy is float32 [images, features], FILE.csv beside it says which image a row is (row, id, key, split, label). FILE.h5 has features, ids,
labels, splits, keys and classes, and where they are from as attributes. Rows are in the order of ids.
)";

class EmbedCommand : public ModelCommand {
 public:
  EmbedCommand() : ModelCommand("embed") {}
  std::string usage() const override { return fmt::format("{}{}", kUsage, kModelKeys); }
  eval::NetworkRun& network_run() override { return options_; }
  std::filesystem::path* data() override { return &options_.data; }

  void add_options(po::options_description& own) override {
    own.add_options()("out", po::value(&out_)->value_name("FILE.npy|FILE.h5"), "file to make")(
        "split", po::value(&split_)->default_value("all")->value_name("train|val|test|all"), "which images")(
        "normalize", po::value(&normalize_)->default_value("yes")->value_name("yes|no"),
        "divide each row by its length, as evaluation does; no: as the network gives them")(
        "last-blocks", po::value(&options_.last_blocks)->default_value(0)->value_name("N"),
        "above 0: CLS of the last N blocks, earliest first, then the mean of the last block's patches: the input of a linear probe "
        "(dinoxx eval --protocol linear_probe)")("limit", po::value(&options_.limit)->default_value(0)->value_name("N"),
                                                 "only the first N of them, to try or to measure; 0: all");
    readout_.add_to(own);
  }

  void check(const std::vector<Setting>&) override {
    require(out_, "--out", "a file to make, .npy or .h5");
    if (split_ != "all") {
      Split chosen;
      if (!split_from_name(split_, chosen)) fail_usage("--split", "train, val, test or all", fmt::format("\"{}\"", split_), "Change it.");
      options_.split = chosen;
    }
    if (normalize_ != "yes" && normalize_ != "no") fail_usage("--normalize", "yes or no", fmt::format("\"{}\"", normalize_), "Change it.");
    if (options_.last_blocks < 0)
      fail_usage("--last-blocks", "0 or a number of blocks", std::to_string(options_.last_blocks), "Change it.");
    if (options_.limit < 0) fail_usage("--limit", "0 or a number of images", std::to_string(options_.limit), "Change it.");
    options_.readout = readout_.readout();
    if (options_.readout.stages > 0 && options_.last_blocks > 0)
      fail_usage("--last-blocks and --feature-stages", "one of them", "both", "--last-blocks is the input of a linear probe.");
    options_.normalize = normalize_ == "yes";
    options_.out = out_;
  }

  void run(Communicator& comm) override {
    ProgressLine line(stderr);
    if (comm.rank() == 0) options_.progress = [&](int64_t done, int64_t total) { line.show_images("embed", done, total); };
    const eval::EmbedReport report = eval::embed(options_, comm);
    if (comm.rank() != 0) return;
    if (!report.note.empty()) line.say("note: " + report.note);
    fmt::print("{}: {} images, {} features each, {}; {}; {:.1f} s, {:.1f} images/s\n", options_.out.string(), report.images, report.dim,
               options_.normalize ? "rows of length 1" : "not normalised", report.transform, report.seconds,
               static_cast<double>(report.images) / report.seconds);
    if (!report.facts.empty()) fmt::print("  facts of the network and its input: {}\n", report.facts);
    for (const std::string& note : report.notes) fmt::print("  note: {}\n", note);
  }

 private:
  eval::EmbedOptions options_;
  ReadoutLine readout_{/*may_whiten=*/false};
  std::string out_, split_, normalize_;
};

}  // namespace

int run_embed(int argc, char** argv) {
  EmbedCommand command;
  return run_model_command(argc, argv, command);
}

}  // namespace dinoxx
