#pragma once
#include <boost/program_options.hpp>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "apps/commands/command.hpp"
#include "config/config_options.hpp"
#include "eval/features/model_source.hpp"

namespace dinoxx {

/// A command that shows images to a network. run_model_command() does what all of them have in common; a command says what is its own.
class ModelCommand {
 public:
  /// `keys`: configuration keys that it takes beside --model.*.
  explicit ModelCommand(std::string name, std::vector<std::string> keys = {}) : name_(std::move(name)), keys_(std::move(keys)) {}
  virtual ~ModelCommand() = default;
  const std::string& name() const { return name_; }
  const std::vector<std::string>& keys() const { return keys_; }

  /// What --help says in front of the options.
  virtual std::string usage() const = 0;
  virtual void add_options(boost::program_options::options_description& own) = 0;
  /// Options of the library's call, filled in with all that such commands have in common before check() looks at the command's own.
  virtual eval::NetworkRun& network_run() = 0;
  /// Where --data goes; nullptr: the command has no --data.
  virtual std::filesystem::path* data() { return nullptr; }
  /// Where all that was typed behind --checkpoint goes; nullptr: the command takes one.
  virtual std::vector<std::filesystem::path>* checkpoints() { return nullptr; }
  /// An option that was typed and whose file has network and data set in it: neither is wanted then, and options other than those of `with`
  /// are refused, because the file has said what they say.
  struct StandIn {
    std::string option;
    std::vector<std::string> with;
  };
  virtual std::optional<StandIn> stand_in() const { return std::nullopt; }
  /// Turns what was typed into options. `settings`: of keys(). UsageError. On every rank.
  virtual void check(const std::vector<Setting>& settings) = 0;
  /// Does it and prints the answer on rank 0. Collective.
  virtual void run(Communicator& comm) = 0;

 protected:
  /// UsageError when nothing was typed.
  void require(const std::string& value, const char* option, const char* expected) const;

 private:
  std::string name_;
  std::vector<std::string> keys_;
};

/// The way of every such command from its line to its work, under MPI. Beside the command's own options: which network, its input,
/// precision, threads. UsageError as parse_config_line; a missing --checkpoint or --data; a configuration key that neither describes a
/// network nor stands in keys(): it would be silently without effect. Returns the exit code.
int run_model_command(int argc, char** argv, ModelCommand& command);

/// Adds --device. device_of(): what was typed, as choose_device(); says which GPU it is on rank 0. UsageError for another word. Collective.
void add_device_option(boost::program_options::options_description& own, std::string& device);
at::Device device_of(const std::string& typed, Communicator& comm, int local_rank);

/// Behind the usage of commands that take --model.* keys.
inline constexpr const char* kModelKeys = R"(
--model.* keys say what the shapes of a file from elsewhere do not, for example --model.heads 6 --model.mean 0.5 --model.std 0.5. Exit codes: 0 done, 1 failed, 2 bad usage.
)";

}  // namespace dinoxx
