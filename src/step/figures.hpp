// What a rank knows of a step before all ranks add it up, and what comes of it.
#pragma once
#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "dinoxx/comm/communicator.hpp"
#include "figure_table.hpp"
#include "method/method.hpp"

namespace dinoxx {

/// One small collective: a flag for each rank, loss, stop votes, rows of the two centres, the terms' metrics. float64, so that the mean
/// does not depend on rounding. Nothing is read before read(), so that the host does not wait for a GPU between forward and backward.
class StepFigures {
 public:
  struct Summed {
    std::vector<int> bad_ranks;                           ///< whose loss is not finite
    std::string bad_term;                                 ///< the first of this rank's terms that is not
    double loss = 0;                                      ///< mean over the ranks
    bool stop = false;                                    ///< some rank voted for it
    int64_t centre_rows = 0, patch_centre_rows = 0;       ///< of all ranks
    std::vector<std::pair<std::string, double>> metrics;  ///< means over the ranks
    std::vector<double> room;                             ///< this rank's
  };

  void add_term(std::string name, double weight, Figure value);
  void add_metric(std::string name, Figure value);
  /// Of a step in several parts: adds `share` of the figures of one, which has the same terms and metrics.
  void add_part(const StepFigures& part, double share);
  /// Posts the sum over the ranks of `comm`, whose tensors are on `device`. `room`: numbers of this rank that are read with the figures.
  void post(bool stop, int64_t centre_rows, int64_t patch_centre_rows, at::Device device, Communicator& comm, int64_t room = 0);
  at::Tensor room() const;  ///< after post: [room] float64 on the device, zero
  /// After post: waits for the ranks, and for the device.
  Summed read();

 private:
  struct Term {
    std::string name;
    double weight;
    Figure value;
  };
  std::vector<Term> terms_;
  std::vector<std::pair<std::string, Figure>> metrics_;
  int size_ = 0;
  at::Tensor all_;  // see FigureTable, and room behind it; the ranks add up what stands before the values of the terms
  int64_t room_ = 0;
  std::unique_ptr<Work> under_way_;
};

namespace step_detail {

/// fill_figures where `out` is on a GPU. A build without CUDA links a function that says so.
void fill_figures_cuda(const FigureTable& table, const at::Tensor& out);

}  // namespace step_detail
}  // namespace dinoxx
