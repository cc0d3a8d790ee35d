#include "program.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "base/files.hpp"

namespace dinoxx::testing_support {

namespace fs = std::filesystem;

RunResult dinoxx_run(const std::string& arguments, int ranks, const std::string& before) {
  std::string command = before + " env OMP_NUM_THREADS=1 ";
  if (ranks > 0) command += std::string(DINOXX_MPIEXEC) + " -n " + std::to_string(ranks) + " ";
  command += std::string(DINOXX_PROGRAM) + " " + arguments + " 2>&1";
  FILE* pipe = ::popen(("{ " + command + "; } </dev/null").c_str(), "r");
  if (pipe == nullptr) throw std::runtime_error("popen failed");
  RunResult result;
  std::array<char, 4096> buffer;
  while (const size_t n = std::fread(buffer.data(), 1, buffer.size(), pipe)) result.output.append(buffer.data(), n);
  const int status = ::pclose(pipe);
  result.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  result.output = "$ dinoxx " + arguments + "\n" + result.output;
  return result;
}

std::string small_model() {
  return "--model.arch vit_tiny --model.dim 32 --model.depth 2 --model.heads 2 --model.patch_size 8 --views.global_size 32 "
         "--views.local_size 16 --views.local_count 1 "
         "--head.out_dim 32 --head.hidden_dim 32 --head.bottleneck_dim 16 --train.batch_size 8 --train.log_every 1 ";
}

std::string train_line(const fs::path& data, const fs::path& run, const std::string& more) {
  std::string line = "train " + small_model() + "--data " + data.string() + " --out " + run.string();
  if (more.find("--train.length") == std::string::npos) line += " --train.length 3it";
  return line + " " + more;
}

std::vector<nlohmann::json> json_lines(const fs::path& path) {
  std::ifstream file(path);
  std::vector<nlohmann::json> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(nlohmann::json::parse(line));
  return lines;
}

nlohmann::json json_file(const fs::path& path) {
  std::ifstream file(path);
  return nlohmann::json::parse(file);
}

std::vector<std::vector<std::string>> read_table(const fs::path& path) {
  std::istringstream text(read_text(path));
  std::vector<std::vector<std::string>> rows;
  for (std::string line; std::getline(text, line);) {
    std::istringstream fields(line);
    rows.emplace_back();
    for (std::string field; std::getline(fields, field, ',');) rows.back().push_back(field);
  }
  return rows;
}

nlohmann::json results_without_run(const fs::path& folder) {
  nlohmann::json results = json_file(folder / "results.json");
  results.erase("run");
  return results;
}

Workshop& Workshop::get() {
  static Workshop workshop;
  return workshop;
}

Workshop::Workshop() {
  const RunResult packed = dinoxx_run("pack --toy textures --count 320 --out " + data().string());
  if (packed.code != 0) throw std::runtime_error(packed.output);
}

fs::path Workshop::run() {
  const fs::path path = folder.path() / "run";
  if (!trained_) {
    const RunResult trained =
        dinoxx_run(train_line(data(), path, "--train.length 6it --eval.every 3it --checkpoint.every 3it --checkpoint.keep 2"), 2);
    if (trained.code != 0) throw std::runtime_error(trained.output);
    trained_ = true;
  }
  return path;
}

void expect_refusal(const RunResult& result, int code, const std::vector<std::string>& words, const fs::path& must_not_exist) {
  EXPECT_EQ(result.code, code) << result.output;
  for (const std::string& word : words)
    EXPECT_NE(result.output.find(word), std::string::npos) << "\"" << word << "\" is not in:\n" << result.output;
  EXPECT_EQ(result.output.find("unexpected failure"), std::string::npos) << result.output;
  if (!must_not_exist.empty()) {
    EXPECT_FALSE(fs::exists(must_not_exist)) << must_not_exist << " was left behind by\n" << result.output;
  }
}

}  // namespace dinoxx::testing_support
