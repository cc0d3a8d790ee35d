#include <fmt/ranges.h>

#include <algorithm>

#include "apps/commands.hpp"
#include "apps/decision_options.hpp"
#include "apps/eval_options.hpp"
#include "apps/model_options.hpp"
#include "apps/readout_options.hpp"
#include "base/progress_line.hpp"
#include "comm/agree.hpp"
#include "dinoxx/base/error.hpp"
#include "eval/predict/predict.hpp"

namespace dinoxx {
namespace {

namespace po = boost::program_options;

constexpr const char* kUsage = R"(dinoxx predict: classes of a folder of images, with probabilities.

  dinoxx predict --checkpoint RUN --data DATA --images FOLDER --out predictions.csv
  dinoxx predict --checkpoint RUN --data DATA --save classifier.safetensors              one file for use elsewhere
  dinoxx predict --classifier classifier.safetensors --images FOLDER --out predictions.csv

Fits the classifier of "dinoxx eval --protocol logistic" on the labelled train images of DATA and applies it to every JPEG and PNG below
FOLDER. One line for each image: path, predicted class, its probability, how many training images that class has, and the probability of each
class. An image that cannot be read has a line with the reason. predictions.json beside it says where the numbers are from. The probabilities
are valid for images like those of DATA. An image that is less like every training image than nearly all of these are like each other is
"unknown": it has no predicted class, and the column "closest" has what it would have been. The fitted head stays on disk (--cache): the
next call with the same weights and DATA embeds the images of FOLDER alone.

Where DATA has several labels an image (a list with a column "labels"), the answer is a list of labels: those whose probability reaches the
threshold of the label ("dinoxx eval --protocol multi_label").

--recall and --cost change what is answered, not the probabilities: "dinoxx eval --protocol logistic" with the same option says what that does
on test images. An unknown image is not answered by any rule.

--save puts all of it into one file: network, how images become its input, classes, head, temperature, rule of decision and the distance of unknown images.
With --classifier that file answers as the call that saved it does, without RUN and DATA. The file has features of training images in it, by
which one can tell whether a picture was among them.
)";

class PredictCommand : public ModelCommand {
 public:
  PredictCommand() : ModelCommand("predict") {}
  std::string usage() const override { return fmt::format("{}{}", kUsage, kModelKeys); }
  eval::NetworkRun& network_run() override { return options_; }
  std::filesystem::path* data() override { return &options_.data; }
  std::optional<StandIn> stand_in() const override {
    if (classifier_.empty()) return std::nullopt;
    return StandIn{"classifier", {"images", "out", "threads", "device"}};
  }

  void add_options(po::options_description& own) override {
    own.add_options()("images", po::value(&images_)->value_name("FOLDER"), "images to classify, subfolders included")(
        "out", po::value(&out_)->value_name("FILE.csv"), "table to make")(
        "save", po::value(&save_)->value_name("FILE.safetensors"),
        "the classifier with its network as one file; --images and --out may then be left out")(
        "classifier", po::value(&classifier_)->value_name("FILE.safetensors"), "a file of --save, instead of --checkpoint and --data")(
        "method", po::value(&options_.method)->default_value(options_.method)->value_name("plain|class_weighted|logit_adjusted|finetuned"),
        "plain: classes are as frequent in FOLDER as in DATA; class_weighted: each class counts the same when fitting; logit_adjusted: all "
        "classes are equally frequent in FOLDER; finetuned: the head in a merged file of \"dinoxx eval --protocol finetune\", nothing is "
        "fitted")("label", po::value(&options_.labels.column)->value_name("COLUMN"),
                  "the column of labels to predict, where DATA has several; without it the first")(
        "labels", po::value(&options_.labels.several)->value_name("NAMES"),
        "labels of which an image may have several, with commas between; without it all of them, where DATA has lists of labels")(
        "merge-class-names", po::bool_switch(&options_.labels.merge_names),
        "classes whose names differ only in case, blanks, hyphens, underscores or the form of accents are one")(
        "cache", po::value(&cache_)->value_name("DIR|none"),
        "where the fitted head stays for the next call, which then embeds no training image; without it dinoxx_features beside --out or "
        "--save");
    readout_.add_to(own);
    decision_.add_to(own);
  }

  void check(const std::vector<Setting>&) override {
    const bool only_save = !save_.empty() && images_.empty() && out_.empty();
    if (!only_save) {
      require(images_, "--images", "a folder of images");
      require(out_, "--out", "a table to make, .csv");
      if (!out_.ends_with(".csv"))
        fail_usage("--out", "a name that ends in .csv", fmt::format("\"{}\"", out_), "A .json is made beside it.");
    }
    const std::vector<std::string>& known = eval::predict_methods();
    if (std::find(known.begin(), known.end(), options_.method) == known.end()) {
      const std::string near = nearest_name(options_.method, known);
      fail_usage("--method", fmt::format("one of {}", fmt::join(known, ", ")), fmt::format("\"{}\"", options_.method),
                 near.empty() ? "See \"dinoxx predict --help\"." : fmt::format("Did you mean {}?", near));
    }
    options_.images = images_;
    options_.out = out_;
    options_.save = save_;
    options_.classifier = classifier_;
    options_.readout = readout_.readout();
    options_.decision = decision_.request();
    if (classifier_.empty()) options_.cache = cache_folder(cache_, std::filesystem::absolute(only_save ? save_ : out_).parent_path());
  }

  void run(Communicator& comm) override {
    ProgressLine line(stderr);
    if (comm.rank() == 0) options_.progress = [&](int64_t done, int64_t total) { line.show_images("predict", done, total); };
    const nlohmann::json summary = eval::predict_folder(options_, comm);
    if (comm.rank() == 0) {
      fmt::print("{}", eval::prediction_text(summary));
      for (const std::filesystem::path& made : {options_.save, options_.out})
        if (!made.empty()) fmt::print("{}\n", made.string());
    }
    on_all_ranks(comm, [&] {
      if (comm.rank() != 0 || !summary.contains("images") || summary["images"]["read"] != 0) return;
      fail(options_.images.string(), "an image that can be read", fmt::format("none of {}", summary["images"]["unreadable"].size()),
           fmt::format("Look at the reasons in {}", options_.out.string()));
    });
  }

 private:
  eval::PredictOptions options_;
  ReadoutLine readout_{/*may_whiten=*/true};
  DecisionLine decision_;
  std::string images_, out_, save_, classifier_, cache_;
};

}  // namespace

int run_predict(int argc, char** argv) {
  PredictCommand command;
  return run_model_command(argc, argv, command);
}

}  // namespace dinoxx
