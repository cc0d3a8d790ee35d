#include <fmt/ranges.h>

#include <algorithm>

#include "apps/commands.hpp"
#include "apps/eval_options.hpp"
#include "apps/model_options.hpp"
#include "base/progress_line.hpp"
#include "comm/agree.hpp"
#include "dinoxx/base/error.hpp"
#include "eval/run/predict.hpp"

namespace dinoxx {
namespace {

namespace po = boost::program_options;

constexpr const char* kUsage = R"(dinoxx predict: classes of a folder of images, with probabilities.

  dinoxx predict --checkpoint RUN --data DATA --images FOLDER --out predictions.csv

Fits the classifier of "dinoxx eval --protocol logistic" on the labelled train images of DATA and applies it to every JPEG and PNG below
FOLDER. One line for each image: path, predicted class, its probability, how many training images that class has, and the probability of each
class. An image that cannot be read has a line with the reason. predictions.json beside it says where the numbers are from. The probabilities
are valid for images like those of DATA. An image that is less like every training image than nearly all of these are like each other is
"unknown": it has no predicted class, and the column "closest" has what it would have been. The fitted head stays on disk (--cache): the
next call with the same weights and DATA embeds the images of FOLDER alone.
)";

class PredictCommand : public ModelCommand {
 public:
  PredictCommand() : ModelCommand("predict") {}
  std::string usage() const override { return fmt::format("{}{}", kUsage, kModelKeys); }
  eval::NetworkRun& network_run() override { return options_; }
  std::filesystem::path* data() override { return &options_.data; }

  void add_options(po::options_description& own) override {
    own.add_options()("images", po::value(&images_)->value_name("FOLDER"), "images to classify, subfolders included")(
        "out", po::value(&out_)->value_name("FILE.csv"), "table to make")(
        "method", po::value(&options_.method)->default_value(options_.method)->value_name("plain|class_weighted|logit_adjusted|finetuned"),
        "plain: classes are as frequent in FOLDER as in DATA; class_weighted: each class counts the same when fitting; logit_adjusted: all "
        "classes are equally frequent in FOLDER; finetuned: the head in a merged file of \"dinoxx eval --protocol finetune\", nothing is "
        "fitted")("merge-class-names", po::bool_switch(&options_.merge_class_names),
                  "classes whose names differ only in case, blanks, hyphens, underscores or the form of accents are one")(
        "cache", po::value(&cache_)->value_name("DIR|none"),
        "where the fitted head stays for the next call, which then embeds no training image; without it dinoxx_features beside --out");
  }

  void check(const std::vector<Setting>&) override {
    require(images_, "--images", "a folder of images");
    require(out_, "--out", "a table to make, .csv");
    if (!out_.ends_with(".csv")) fail_usage("--out", "a name that ends in .csv", fmt::format("\"{}\"", out_), "A .json is made beside it.");
    const std::vector<std::string>& known = eval::predict_methods();
    if (std::find(known.begin(), known.end(), options_.method) == known.end()) {
      const std::string near = nearest_name(options_.method, known);
      fail_usage("--method", fmt::format("one of {}", fmt::join(known, ", ")), fmt::format("\"{}\"", options_.method),
                 near.empty() ? "See \"dinoxx predict --help\"." : fmt::format("Did you mean {}?", near));
    }
    options_.images = images_;
    options_.out = out_;
    options_.cache = cache_folder(cache_, std::filesystem::absolute(out_).parent_path());
  }

  void run(Communicator& comm) override {
    ProgressLine line(stderr);
    if (comm.rank() == 0) options_.progress = [&](int64_t done, int64_t total) { line.show_images("predict", done, total); };
    const nlohmann::json summary = eval::predict_folder(options_, comm);
    if (comm.rank() == 0) fmt::print("{}{}\n", eval::prediction_text(summary), options_.out.string());
    on_all_ranks(comm, [&] {
      if (comm.rank() != 0 || summary["images"]["read"] != 0) return;
      fail(options_.images.string(), "an image that can be read", fmt::format("none of {}", summary["images"]["unreadable"].size()),
           fmt::format("Look at the reasons in {}", options_.out.string()));
    });
  }

 private:
  eval::PredictOptions options_;
  std::string images_, out_, cache_;
};

}  // namespace

int run_predict(int argc, char** argv) {
  PredictCommand command;
  return run_model_command(argc, argv, command);
}

}  // namespace dinoxx
