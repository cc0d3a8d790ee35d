#include "apps/commands.hpp"
#include "apps/model_options.hpp"
#include "comm/agree.hpp"
#include "command.hpp"
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
constexpr const char* kMore = R"(
--model.* keys describe a foreign file where its shapes do not, for example --model.heads 6. Exit codes: 0 done, 1 failed, 2 bad usage.
)";

struct Line {
  eval::EmbedOptions options;
  std::string help;
};

Line parse(int argc, char** argv) {
  Line line;
  eval::EmbedOptions& options = line.options;
  std::string out, split, normalize;
  po::options_description own("options", 140, 70);
  own.add_options()("out", po::value(&out)->value_name("FILE.npy|FILE.h5"), "file to make")(
      "split", po::value(&split)->default_value("all")->value_name("train|val|test|all"), "which images")(
      "normalize", po::value(&normalize)->default_value("yes")->value_name("yes|no"),
      "divide each row by its length, as evaluation does; no: as the network gives them")(
      "last-blocks", po::value(&options.last_blocks)->default_value(0)->value_name("N"),
      "above 0: CLS of the last N blocks, earliest first, then the mean of the last one's patches: what linear heads see (eval's step sweep)")(
      "limit", po::value(&options.limit)->default_value(0)->value_name("N"), "only the first N of them, to try or to measure; 0: all");
  const ModelOptions model = parse_model_options(argc, argv, "embed", own);
  line.help = model.help;
  if (!line.help.empty()) return line;
  require_option("embed", out, "--out", "a file to make, .npy or .h5");
  if (split != "all") {
    Split chosen;
    if (!split_from_name(split, chosen)) fail_usage("--split", "train, val, test or all", fmt::format("\"{}\"", split), "Change it.");
    options.split = chosen;
  }
  if (normalize != "yes" && normalize != "no") fail_usage("--normalize", "yes or no", fmt::format("\"{}\"", normalize), "Change it.");
  if (options.last_blocks < 0) fail_usage("--last-blocks", "0 or a number of blocks", std::to_string(options.last_blocks), "Change it.");
  if (options.limit < 0) fail_usage("--limit", "0 or a number of images", std::to_string(options.limit), "Change it.");
  options.normalize = normalize == "yes";
  apply_model_options(model, argc, argv, options);
  options.out = out;
  return line;
}

}  // namespace

int run_embed(int argc, char** argv) {
  MpiRuntime mpi(&argc, &argv);
  return run_under_mpi(mpi, [&] {
    const auto comm = mpi.make_communicator();
    Line line;
    on_all_ranks(*comm, [&] { line = parse(argc, argv); });
    if (!line.help.empty()) {
      if (mpi.rank() == 0) fmt::print("{}{}\n{}", kUsage, kMore, line.help);
      return static_cast<int>(ExitCode::kDone);
    }
    if (line.options.threads == 0) line.options.threads = cores_of_rank(mpi.local_size());
    line.options.progress = progress_line("embed", mpi.rank() == 0);
    const eval::EmbedReport report = eval::embed(line.options, *comm);
    if (mpi.rank() == 0) {
      fmt::print("{}: {} images, {} features each, {}; {}; {:.1f} s, {:.1f} images/s\n", line.options.out.string(), report.images,
                 report.dim, line.options.normalize ? "rows of length 1" : "not normalised", report.transform, report.seconds,
                 static_cast<double>(report.images) / report.seconds);
    }
    return static_cast<int>(ExitCode::kDone);
  });
}

}  // namespace dinoxx
