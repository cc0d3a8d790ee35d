#pragma once
#include <memory>

#include "dinoxx/comm/communicator.hpp"
#include "train/train.hpp"

namespace dinoxx {

/// Joins training and evaluation: the protocols of eval.suite on the teacher, on a communicator of its own.
EvalHookFactory eval_hook(std::shared_ptr<Communicator> comm);

}  // namespace dinoxx
