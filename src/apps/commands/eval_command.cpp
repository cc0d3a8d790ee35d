#include "apps/commands.hpp"
#include "apps/eval_options.hpp"
#include "apps/model_options.hpp"
#include "base/files.hpp"
#include "base/progress_line.hpp"
#include "eval/run/protocols.hpp"
#include "eval/several/evaluate_several.hpp"
#include "report/comparison/comparison_pages.hpp"
#include "report/eval/eval_report.hpp"

namespace dinoxx {
namespace {

constexpr const char* kUsage = R"(dinoxx eval: what the features of a checkpoint are worth.

  dinoxx eval --checkpoint RUN --data DATA --protocol knn --out DIR              one process
  mpirun -n 4 dinoxx eval --checkpoint RUN --data DATA --protocol knn --out DIR  four ranks, the same numbers
  dinoxx eval --checkpoint A --checkpoint B --data DATA --protocol all --out DIR several, then side by side: which backbone?

RUN is a run folder (its newest checkpoint), a checkpoint folder, or weights of other programs: a safetensors, .pth or .bin file or a model
folder with a ViT of DINO v1, v2, v3, a ConvNeXt or a ResNet ("dinoxx weights inspect"). DIR gets results.json and tables of predictions.
Of several checkpoints each gets a folder of its own below DIR; what is there already and would come out the same is not computed again, and
DIR/comparison.html is the page of all (as "dinoxx compare" makes it). --image-size, --fit, --crop and --precision are for all; without them each
network has its own. --checkpoint-step and --model.* belong to one network and are refused.
Protocols learn from train (the memory) and are scored on test (the queries). --protocol names one or several; "all" is all of these:

)";

class EvalCommand : public ModelCommand {
 public:
  EvalCommand() : ModelCommand("eval", {"eval.knn_k"}) {}
  eval::NetworkRun& network_run() override { return options_; }
  std::filesystem::path* data() override { return &options_.data; }
  std::vector<std::filesystem::path>* checkpoints() override { return &checkpoints_; }
  EvalLine& line() { return line_; }

  std::string usage() const override {
    std::string text = kUsage;
    for (const eval::Protocol& protocol : eval::protocols())
      text += fmt::format("  {:<13}{}; cost: {}\n", protocol.name, protocol.what, protocol.cost);
    return text + kModelKeys;
  }

  void add_options(boost::program_options::options_description& own) override { line_.add_to(own, options_); }

  void check(const std::vector<Setting>& settings) override {
    require(line_.out(), "--out", "a folder for results.json");
    line_.apply_to(options_, settings, checkpoints_.size() > 1);
  }

  void run(Communicator& comm) override {
    ProgressLine waiting(stderr);
    options_.finetune.progress = !line_.quiet();
    if (comm.rank() == 0) {
      for (const std::string& note : line_.notes()) waiting.say("note: " + note);
      if (!line_.quiet()) options_.progress = [&](const std::string& text) { waiting.show("eval: " + text); };
      options_.progress_seconds = waiting.interval();
      options_.say = [&](const std::string& text) { waiting.say(text); };
    }
    if (checkpoints_.size() > 1) {
      run_several(comm, waiting);
      return;
    }
    const nlohmann::json results = eval::evaluate(options_, comm);
    waiting.clear();
    if (comm.rank() != 0) return;
    fmt::print("{}{}\n", eval::results_table(results), (options_.out / "results.json").string());
    print_page([&] { return report::write_eval_report(options_.out, options_.data); });
  }

 private:
  void run_several(Communicator& comm, ProgressLine& waiting) {
    const auto evaluated = [&](const eval::EvaluatedCheckpoint& one) {
      waiting.clear();
      fmt::print("{}: {}{}\n", one.name, (one.folder / "results.json").string(),
                 one.reused ? ", as it was: nothing of it would change" : "");
      if (!one.reused) print_page([&] { return report::write_eval_report(one.folder, options_.data); });
      std::fflush(stdout);
    };
    const nlohmann::json comparison = eval::evaluate_several(options_, checkpoints_, evaluated, comm);
    waiting.clear();
    if (comm.rank() != 0) return;
    fmt::print("\n{}\n{}\n", report::evaluations_text(comparison), (options_.out / "comparison.json").string());
    print_page([&] {
      const std::filesystem::path page = options_.out / "comparison.html";
      write_file_atomically(page, report::evaluations_html(comparison));
      return page;
    });
  }

  // The numbers are there: a page that fails is a message.
  static void print_page(const std::function<std::filesystem::path()>& write) {
    try {
      fmt::print("{}\n", write().string());
    } catch (const std::exception& error) {
      fmt::print("no report: {}\n", error.what());
    }
  }

  std::vector<std::filesystem::path> checkpoints_;
  eval::EvaluateOptions options_;
  EvalLine line_;
};

}  // namespace

int run_eval(int argc, char** argv) {
  EvalCommand command;
  std::vector<std::string> words = command.line().renewed(argc, argv);
  std::vector<char*> line;
  line.reserve(words.size() + 1);
  for (std::string& word : words) line.push_back(word.data());
  line.push_back(nullptr);
  return run_model_command(argc, line.data(), command);
}

}  // namespace dinoxx
