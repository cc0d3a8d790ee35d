#include "figures.hpp"

#include <ATen/ATen.h>

#include <cmath>

#include "dinoxx/base/error.hpp"
#include "ops/to_device.hpp"

namespace dinoxx {
namespace {

using step_detail::FigureTable;

constexpr int kLoss = 0, kStop = 1, kCentreRows = 2, kPatchRows = 3, kMetrics = 4;  // behind the flags

}  // namespace

void StepFigures::add_term(std::string name, double weight, Figure value) {
  terms_.push_back({std::move(name), weight, std::move(value)});
}

void StepFigures::add_metric(std::string name, Figure value) {
  metrics_.emplace_back(std::move(name), std::move(value));
}

void StepFigures::add_part(const StepFigures& part, double share) {
  const auto sum = [share](Figure& to, const Figure& of) {
    to.number += share * of.number;
    if (!of.element.defined()) return;
    const at::Tensor scaled = of.element.to(at::kDouble) * share;
    to.element = to.element.defined() ? to.element + scaled : scaled;
  };
  const bool first = terms_.empty() && metrics_.empty();
  if (!first && (terms_.size() != part.terms_.size() || metrics_.size() != part.metrics_.size()))
    fail("figures of a step", fmt::format("parts with the same {} terms and {} metrics", terms_.size(), metrics_.size()),
         fmt::format("{} and {}", part.terms_.size(), part.metrics_.size()), "This is a defect of the program");
  for (size_t i = 0; i < part.terms_.size(); ++i) {
    if (first) terms_.push_back({part.terms_[i].name, part.terms_[i].weight, Figure(0.0)});
    sum(terms_[i].value, part.terms_[i].value);
  }
  for (size_t i = 0; i < part.metrics_.size(); ++i) {
    if (first) metrics_.emplace_back(part.metrics_[i].first, Figure(0.0));
    sum(metrics_[i].second, part.metrics_[i].second);
  }
}

void StepFigures::post(bool stop, int64_t centre_rows, int64_t patch_centre_rows, at::Device device, Communicator& comm, int64_t room) {
  size_ = comm.size();
  room_ = room;
  const auto first_metric = size_ + kMetrics, first_term = first_metric + static_cast<int>(metrics_.size());
  at::Tensor host = at::zeros({first_term + static_cast<int64_t>(terms_.size()) + room}, at::kDouble);
  double* numbers = host.data_ptr<double>();
  numbers[size_ + kStop] = stop ? 1 : 0;
  numbers[size_ + kCentreRows] = static_cast<double>(centre_rows);
  numbers[size_ + kPatchRows] = static_cast<double>(patch_centre_rows);

  FigureTable table;
  table.first_term = first_term;
  table.flag = comm.rank();
  table.loss = size_ + kLoss;
  std::vector<at::Tensor> read_from;  // kept until they have been
  const auto put = [&](const Figure& figure, int to) {
    if (!figure.element.defined()) {
      numbers[to] = figure.number;
      return;
    }
    if (table.elements == step_detail::kMostElements)
      fail("figures of a step", fmt::format("at most {} on the device", step_detail::kMostElements), "more", "");
    const at::Tensor& element = read_from.emplace_back(figure.element.scalar_type() == at::kDouble ? figure.element.to(device)
                                                                                                   : figure.element.to(device, at::kFloat));
    table.element[table.elements++] = {element.const_data_ptr(), element.scalar_type() == at::kDouble, to};
  };
  if (terms_.size() > step_detail::kMostTerms)
    fail("loss terms", fmt::format("at most {}", step_detail::kMostTerms), std::to_string(terms_.size()), "");
  for (size_t i = 0; i < metrics_.size(); ++i) put(metrics_[i].second, first_metric + static_cast<int>(i));
  for (const Term& term : terms_) {
    table.weight[table.terms] = term.weight;
    put(term.value, first_term + table.terms++);
  }
  all_ = to_device(host, device);
  if (device.is_cpu())
    step_detail::fill_figures(table, all_.data_ptr<double>());
  else
    step_detail::fill_figures_cuda(table, all_);
  under_way_ = comm.all_reduce(all_.narrow(0, 0, first_term), ReduceOp::kSum);
}

at::Tensor StepFigures::room() const {
  return all_.narrow(0, all_.numel() - room_, room_);
}

StepFigures::Summed StepFigures::read() {
  under_way_->wait();
  const at::Tensor all = all_.cpu();
  const double *flags = all.data_ptr<double>(), *in = flags + size_, *values = in + kMetrics + metrics_.size();
  Summed summed;
  for (int rank = 0; rank < size_; ++rank)
    if (flags[rank] != 0) summed.bad_ranks.push_back(rank);
  for (size_t t = 0; t < terms_.size() && summed.bad_term.empty(); ++t)
    if (!std::isfinite(values[t])) summed.bad_term = terms_[t].name;
  summed.loss = summed.bad_ranks.empty() ? in[kLoss] / size_ : std::nan("");
  summed.stop = in[kStop] != 0;
  summed.centre_rows = std::llround(in[kCentreRows]);
  summed.patch_centre_rows = std::llround(in[kPatchRows]);
  for (size_t i = 0; i < metrics_.size(); ++i) summed.metrics.emplace_back(metrics_[i].first, in[kMetrics + i] / size_);
  const double* room = values + terms_.size();
  summed.room.assign(room, room + room_);
  return summed;
}

}  // namespace dinoxx
