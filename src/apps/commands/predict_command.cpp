#include <fmt/ranges.h>

#include <algorithm>

#include "apps/commands.hpp"
#include "apps/model_options.hpp"
#include "comm/agree.hpp"
#include "command.hpp"
#include "eval/run/predict.hpp"

namespace dinoxx {
namespace {

namespace po = boost::program_options;

constexpr const char* kUsage = R"(dinoxx predict: classes of a folder of pictures, with probabilities.

  dinoxx predict --checkpoint RUN --data DATA --images FOLDER --out predictions.csv

Fits the classifier of "dinoxx eval --suite linear" on the labelled train images of DATA and applies it to every JPEG and PNG below FOLDER. A
line per picture: path, predicted class, its probability, how many training images that class has, and the probability of each class. A
picture that cannot be read has a line with the reason. predictions.json beside it says where the numbers are from. Probabilities hold for
pictures like those of DATA; of a picture of none of its classes they say nothing.
)";
constexpr const char* kMore = R"(
--model.* keys describe a foreign file where its shapes do not, for example --model.heads 6. Exit codes: 0 done, 1 failed, 2 bad usage.
)";

struct Line {
  eval::PredictOptions options;
  std::string help;
};

Line parse(int argc, char** argv) {
  Line line;
  eval::PredictOptions& options = line.options;
  std::string images, out;
  po::options_description own("options", 140, 70);
  own.add_options()("images", po::value(&images)->value_name("FOLDER"), "pictures to classify, also in its folders")(
      "out", po::value(&out)->value_name("FILE.csv"), "table to make")(
      "method", po::value(&options.method)->default_value(options.method)->value_name("plain|class_weighted|logit_adjusted|finetuned"),
      "plain: classes are as frequent in FOLDER as in DATA; class_weighted: each class counts the same when fitting; logit_adjusted: all "
      "classes "
      "are equally frequent in FOLDER; finetuned: the head in a merged file of \"dinoxx eval --suite finetune\", nothing is fitted");
  const ModelOptions model = parse_model_options(argc, argv, "predict", own);
  line.help = model.help;
  if (!line.help.empty()) return line;
  require_option("predict", images, "--images", "a folder of pictures");
  require_option("predict", out, "--out", "a table to make, .csv");
  if (!out.ends_with(".csv")) fail_usage("--out", "a name that ends in .csv", fmt::format("\"{}\"", out), "A .json is made beside it.");
  const std::vector<std::string>& known = eval::predict_methods();
  if (std::find(known.begin(), known.end(), options.method) == known.end()) {
    const std::string near = nearest_name(options.method, known);
    fail_usage("--method", fmt::format("one of {}", fmt::join(known, ", ")), fmt::format("\"{}\"", options.method),
               near.empty() ? "See \"dinoxx predict --help\"." : fmt::format("Did you mean {}?", near));
  }
  apply_model_options(model, argc, argv, options);
  options.images = images;
  options.out = out;
  return line;
}

}  // namespace

int run_predict(int argc, char** argv) {
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
    line.options.progress = progress_line("predict", mpi.rank() == 0);
    const nlohmann::json summary = eval::predict_folder(line.options, *comm);
    if (mpi.rank() == 0) fmt::print("{}{}\n", eval::prediction_text(summary), line.options.out.string());
    return static_cast<int>(ExitCode::kDone);
  });
}

}  // namespace dinoxx
