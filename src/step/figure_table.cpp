#include "figure_table.hpp"

#include <cmath>

namespace dinoxx::step_detail {

void fill_figures(const FigureTable& table, double* out) {
  for (int i = 0; i < table.elements; ++i) {
    const FigureTable::Element& e = table.element[i];
    out[e.to] = e.is_double ? *static_cast<const double*>(e.from) : static_cast<double>(*static_cast<const float*>(e.from));
  }
  double loss = 0;
  bool finite = true;
  for (int t = 0; t < table.terms; ++t) {
    const double value = out[table.first_term + t];
    loss += table.weight[t] * value;
    finite = finite && std::isfinite(value);
  }
  out[table.flag] = finite ? 0 : 1;
  out[table.loss] = finite ? loss : 0;
}

}  // namespace dinoxx::step_detail
