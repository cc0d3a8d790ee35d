#include "command.hpp"

#include <sched.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <sstream>

#include "apps/build_info.hpp"
#include "base/failure.hpp"
#include "base/json_text.hpp"
#include "base/machine.hpp"
#include "comm/agree.hpp"
#include "dinoxx/base/error.hpp"
#include "kernels/cpu_level.hpp"

namespace dinoxx {

namespace po = boost::program_options;

int run_under_mpi(MpiRuntime& mpi, const std::function<int()>& work) {
  int code = static_cast<int>(ExitCode::kFailed);
  std::string text;
  try {
    if (mpi.size() > 1) on_all_ranks(*mpi.make_communicator(), [] { cpu_level(); });  // a wrong DINOXX_SIMD is said once
    return work();
  } catch (const AgreedError& error) {
    if (mpi.rank() == 0) fmt::print(stderr, "dinoxx: {}\n", error.what());
    return static_cast<int>(error.exit_code());
  } catch (const Error& error) {
    code = static_cast<int>(error.exit_code());
    text = error.what();
  } catch (const std::exception& error) {
    text = failure_text(error, "unexpected failure: ");
  }
  fmt::print(stderr, "dinoxx: {}{}\n", mpi.size() > 1 ? fmt::format("rank {} on host {}: ", mpi.rank(), host_name()) : "", text);
  std::fflush(stderr);
  if (mpi.size() > 1) mpi.abort(code);
  return code;
}

int run_with_mpi(int argc, char** argv, const std::function<void(MpiRuntime&, Communicator&)>& work) {
  MpiRuntime mpi(&argc, &argv);
  return run_under_mpi(mpi, [&] {
    const auto comm = mpi.make_communicator();
    ranks_must_agree(*comm, json_text(build_info()), "program");  // the next call of another one may be another
    work(mpi, *comm);
    return static_cast<int>(ExitCode::kDone);
  });
}

std::string command_line(int argc, char** argv) {
  std::string text = "dinoxx";
  for (int i = 0; i < argc; ++i) {
    const std::string word = argv[i];
    const bool plain = !word.empty() && word.find_first_of(" \t\n\"'$\\*?;&|<>()") == std::string::npos;
    text += plain ? " " + word : " '" + word + "'";
  }
  return text;
}

PlainLine parse_line(int argc, char** argv, po::options_description own, const std::string& usage, const std::string& expected,
                     int most_words) {
  const std::string name = fmt::format("dinoxx {}", argv[0]);
  PlainLine line;
  po::options_description hidden, all;
  own.add_options()("help,h", "this text");
  hidden.add_options()("words", po::value(&line.words));
  all.add(own).add(hidden);
  po::positional_options_description positional;
  positional.add("words", most_words);
  try {
    po::store(po::command_line_parser(argc, argv).options(all).positional(positional).run(), line.variables);
    po::notify(line.variables);
  } catch (const po::error& error) {
    fail_usage(name, expected, error.what(), fmt::format("See \"{} --help\".", name));
  }
  if (line.variables.count("help")) {
    std::ostringstream text;
    text << usage << "\n" << own;
    line.help = text.str();
  }
  return line;
}

int cores_of_rank(int local_size) {
  if (const char* threads = std::getenv("OMP_NUM_THREADS")) {
    const int n = std::atoi(threads);
    if (n > 0) return n;
  }
  cpu_set_t set;
  CPU_ZERO(&set);
  const auto online = static_cast<int>(::sysconf(_SC_NPROCESSORS_ONLN));
  const int bound = ::sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : online;
  return std::max(1, bound < online ? bound : online / local_size);
}

}  // namespace dinoxx
