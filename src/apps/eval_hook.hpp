#pragma once
#include <memory>

#include "dinoxx/comm/communicator.hpp"
#include "dinoxx/train/train.hpp"

namespace dinoxx {

/// Joins training and evaluation: weighted k-NN of the teacher, on a communicator of its own.
EvalHookFactory knn_hook(std::shared_ptr<Communicator> comm);

}  // namespace dinoxx
