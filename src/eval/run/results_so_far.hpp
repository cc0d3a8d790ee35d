#pragma once
#include <exception>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "base/files.hpp"
#include "base/json_text.hpp"

namespace dinoxx::eval {

// What an evaluation has computed when an error ends it: destroyed by an exception it writes results.partial.json into `out`, destroyed
// otherwise it removes such a file of an earlier attempt. `collect` gives the results, null while there are none.
class ResultsSoFar {
 public:
  static constexpr const char* kFile = "results.partial.json";

  // An empty `out` writes nothing: ranks other than 0. `say` may be empty.
  ResultsSoFar(const std::filesystem::path& out, std::function<nlohmann::json()> collect, std::function<void(const std::string&)> say = {})
      : file_(out.empty() ? out : out / kFile), collect_(std::move(collect)), say_(std::move(say)), depth_(std::uncaught_exceptions()) {}
  ResultsSoFar(const ResultsSoFar&) = delete;
  ResultsSoFar& operator=(const ResultsSoFar&) = delete;
  ~ResultsSoFar() {
    if (file_.empty()) return;
    try {
      std::error_code ignored;
      if (std::uncaught_exceptions() <= depth_) {
        std::filesystem::remove(file_, ignored);
        return;
      }
      nlohmann::json results = collect_();
      if (results.is_null()) return;
      results["incomplete"] = "an error ended the evaluation; what was computed before it";
      write_file_atomically(file_, json_text(results, 2) + "\n");
      if (say_) say_("what was computed before the error: " + file_.string());
    } catch (...) {  // the error under way is the one that matters
    }
  }

 private:
  std::filesystem::path file_;
  std::function<nlohmann::json()> collect_;
  std::function<void(const std::string&)> say_;
  int depth_;
};

}  // namespace dinoxx::eval
