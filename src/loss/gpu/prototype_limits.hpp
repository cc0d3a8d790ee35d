#pragma once
#include <cstdint>

namespace dinoxx::loss_cuda {

constexpr int64_t kMostPrototypes = int64_t{1} << 24;  ///< a float32 tells their indices apart
constexpr int kFigures = 4;                            ///< value of the loss, teacher's entropy, student's entropy, KL(teacher || student)

}  // namespace dinoxx::loss_cuda
