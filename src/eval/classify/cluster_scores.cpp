#include "cluster_scores.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace dinoxx::eval {
namespace {

struct Margins {
  std::vector<double> rows, columns;
  double total = 0;
  bool constant = false;  // one row and one column
};

Margins margins(std::span<const int64_t> table, int classes, int clusters) {
  Margins m;
  m.rows.resize(classes);
  m.columns.resize(clusters);
  for (int r = 0; r < classes; ++r) {
    for (int c = 0; c < clusters; ++c) {
      const double cell = static_cast<double>(table[static_cast<size_t>(r) * clusters + c]);
      m.rows[r] += cell;
      m.columns[c] += cell;
      m.total += cell;
    }
  }
  const auto used = [](const std::vector<double>& v) { return std::count_if(v.begin(), v.end(), [](double x) { return x > 0; }); };
  m.constant = used(m.rows) <= 1 && used(m.columns) <= 1;
  return m;
}

Stat why_constant() {
  return Stat::undefined("one class and one cluster only");
}

double entropy(const std::vector<double>& counts, double total) {
  double sum = 0;
  for (const double n : counts)
    if (n > 0) sum -= n / total * std::log(n / total);
  return sum;
}

double pairs(double n) {
  return n * (n - 1) / 2;
}

}  // namespace

std::vector<int64_t> contingency(std::span<const int32_t> labels, std::span<const int32_t> clusters, int classes, int cluster_count) {
  std::vector<int64_t> table(static_cast<size_t>(classes) * cluster_count);
  for (size_t i = 0; i < labels.size(); ++i) ++table[static_cast<size_t>(labels[i]) * cluster_count + clusters[i]];
  return table;
}

std::vector<int> cheapest_assignment(std::span<const double> cost, int n) {
  // Rows are matched one by one; each takes the shortest augmenting path in reduced costs cost - u - v, which stay non-negative. Index 0 of
  // columns is a place for the new row.
  constexpr double kFar = std::numeric_limits<double>::infinity();
  std::vector<double> u(n + 1), v(n + 1);
  std::vector<int> row_of(n + 1, 0), before(n + 1);
  for (int row = 1; row <= n; ++row) {
    row_of[0] = row;
    int column = 0;
    std::vector<double> shortest(n + 1, kFar);
    std::vector<bool> done(n + 1);
    do {
      done[column] = true;
      const int r = row_of[column];
      double step = kFar;
      int next = 0;
      for (int c = 1; c <= n; ++c) {
        if (done[c]) continue;
        const double reduced = cost[static_cast<size_t>(r - 1) * n + c - 1] - u[r] - v[c];
        if (reduced < shortest[c]) {
          shortest[c] = reduced;
          before[c] = column;
        }
        if (shortest[c] < step) {
          step = shortest[c];
          next = c;
        }
      }
      for (int c = 0; c <= n; ++c) {
        if (done[c]) {
          u[row_of[c]] += step;
          v[c] -= step;
        } else {
          shortest[c] -= step;
        }
      }
      column = next;
    } while (row_of[column] != 0);
    for (; column != 0; column = before[column]) row_of[column] = row_of[before[column]];
  }
  std::vector<int> column_of(n);
  for (int c = 1; c <= n; ++c) column_of[row_of[c] - 1] = c - 1;
  return column_of;
}

Stat matched_accuracy(std::span<const int64_t> table, int classes, int cluster_count) {
  const int64_t total = std::accumulate(table.begin(), table.end(), int64_t{0});
  if (total == 0) return Stat::undefined("no test images");
  const int n = std::max(classes, cluster_count);
  std::vector<double> cost(static_cast<size_t>(n) * n);
  for (int r = 0; r < classes; ++r) {
    for (int c = 0; c < cluster_count; ++c)
      cost[static_cast<size_t>(r) * n + c] = -static_cast<double>(table[static_cast<size_t>(r) * cluster_count + c]);
  }
  const std::vector<int> column = cheapest_assignment(cost, n);
  double matched = 0;
  for (int r = 0; r < n; ++r) matched -= cost[static_cast<size_t>(r) * n + column[r]];
  return Stat::of(matched / static_cast<double>(total));
}

Stat mutual_information(std::span<const int64_t> table, int classes, int cluster_count) {
  const Margins m = margins(table, classes, cluster_count);
  if (m.constant) return why_constant();
  double mutual = 0;
  for (int r = 0; r < classes; ++r) {
    for (int c = 0; c < cluster_count; ++c) {
      const double n = static_cast<double>(table[static_cast<size_t>(r) * cluster_count + c]);
      if (n > 0) mutual += n / m.total * std::log(n * m.total / (m.rows[r] * m.columns[c]));
    }
  }
  return Stat::of(std::max(0.0, mutual) / (0.5 * (entropy(m.rows, m.total) + entropy(m.columns, m.total))));
}

Stat adjusted_rand(std::span<const int64_t> table, int classes, int cluster_count) {
  const Margins m = margins(table, classes, cluster_count);
  if (m.constant) return why_constant();
  double together = 0, in_rows = 0, in_columns = 0;
  for (const int64_t n : table) together += pairs(static_cast<double>(n));
  for (const double n : m.rows) in_rows += pairs(n);
  for (const double n : m.columns) in_columns += pairs(n);
  const double expected = in_rows * in_columns / pairs(m.total), most = 0.5 * (in_rows + in_columns);
  if (most == expected) return Stat::undefined("no two images share a class or a cluster");
  return Stat::of((together - expected) / (most - expected));
}

}  // namespace dinoxx::eval
