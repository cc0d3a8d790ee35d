#include "decision_options.hpp"

#include <charconv>

#include "dinoxx/base/error.hpp"

namespace dinoxx {

namespace po = boost::program_options;

void DecisionLine::add_to(po::options_description& own) {
  own.add_options()(
      "recall", po::value(&recalls_)->composing()->value_name("CLASS=SHARE"),
      "logistic: answer CLASS from such a probability on that this share of its images is found (melanoma=0.95); the threshold "
      "is the highest that does, on val or else folds of train, never on test")(
      "recall-confidence", po::value(&confidence_)->value_name("SHARE"),
      "--recall: a lower threshold, so that the recall holds for new images with this confidence (0.95), exact binomial")(
      "cost", po::value(&costs_)->composing()->value_name("TRUE>ANSWER=COST|FILE.csv"),
      "logistic: answer the class of least expected cost. An error costs 1 where nothing else is said (\"melanoma>naevus=10\"; "
      "\"melanoma>*=10\": "
      "every miss; may be given several times), or a table of all costs: the answers in the first line, a line for each true class");
}

eval::DecisionRequest DecisionLine::request() const {
  eval::DecisionRequest request{recalls_, std::nullopt, costs_};
  if (confidence_.empty()) return request;
  double value = 0;
  const char* end = confidence_.data() + confidence_.size();
  if (const auto result = std::from_chars(confidence_.data(), end, value); result.ec != std::errc() || result.ptr != end)
    fail_usage("--recall-confidence", "a share such as 0.95", "\"" + confidence_ + "\"", "Correct it.");
  request.confidence = value;
  return request;
}

}  // namespace dinoxx
