#pragma once

namespace dinoxx {

/// The commands of the program. argv[0] is the command's name; each throws Error (UsageError for a bad command line) and returns an
/// ExitCode.
int run_pack(int argc, char** argv);
int run_doctor(int argc, char** argv);
int run_plan(int argc, char** argv);
int run_info(int argc, char** argv);
int run_train(int argc, char** argv);
int run_eval(int argc, char** argv);
int run_embed(int argc, char** argv);
int run_predict(int argc, char** argv);
int run_attend(int argc, char** argv);
int run_propagate(int argc, char** argv);
int run_match(int argc, char** argv);
int run_report(int argc, char** argv);
int run_compare(int argc, char** argv);
int run_weights(int argc, char** argv);

}  // namespace dinoxx
