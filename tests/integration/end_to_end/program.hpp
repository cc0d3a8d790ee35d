#pragma once
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "temporary_folder.hpp"

/// Runs the installed program as a user does and looks at what it says, returns and leaves behind.
namespace dinoxx::testing_support {

struct RunResult {
  int code = -1;       ///< exit code of the program, or of mpirun
  std::string output;  ///< stdout and stderr
};

/// "dinoxx <arguments>" by the shell; `ranks` > 0 under mpirun with as many. `before` is shell text in front, for limits. One compute
/// thread a rank.
RunResult dinoxx_run(const std::string& arguments, int ranks = 0, const std::string& before = "");

/// Keys of a network that trains in a second on the toy set: 8 images a step.
std::string small_model();
/// "train <small model> --data DATA --out RUN <more>".
std::string train_line(const std::filesystem::path& data, const std::filesystem::path& run, const std::string& more = "");

/// Lines of a JSON-lines file.
std::vector<nlohmann::json> json_lines(const std::filesystem::path& path);
nlohmann::json json_file(const std::filesystem::path& path);
/// Lines of a CSV file, cut at every comma: for fields without commas of their own.
std::vector<std::vector<std::string>> read_table(const std::filesystem::path& path);
/// results.json without what may differ from run to run.
nlohmann::json results_without_run(const std::filesystem::path& folder);

/// One folder for all tests of a program: packed toy data and a finished 2-rank run of six steps with checkpoints after three and six. Made
/// at the first use.
class Workshop {
 public:
  static Workshop& get();
  const TemporaryFolder folder;
  std::filesystem::path data() const { return folder.path() / "data"; }
  std::filesystem::path run();  ///< trained at the first call

 private:
  Workshop();
  bool trained_ = false;
};

/// The program must end with `code` and say every one of `words`; nothing may be at `must_not_exist`.
void expect_refusal(const RunResult& result, int code, const std::vector<std::string>& words,
                    const std::filesystem::path& must_not_exist = {});

}  // namespace dinoxx::testing_support
