#pragma once
#include <cuda_runtime_api.h>

#include "figure_table.hpp"

namespace dinoxx::step_detail {

/// fill_figures on a GPU: the same bits.
cudaError_t launch_fill_figures(const FigureTable& table, double* out, cudaStream_t stream);

}  // namespace dinoxx::step_detail
