#include "dinoxx/base/error.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <numeric>

#include "utf8.hpp"

namespace dinoxx {
namespace {

std::string compose(std::string_view subject, std::string_view expected, std::string_view found, std::string_view advice) {
  std::string text = fmt::format("{}: expected {}, found {}.", subject, expected, found);
  if (!advice.empty()) {
    text += ' ';
    text += advice;
    if (advice.back() != '.' && advice.back() != '?') text += '.';
  }
  return without_controls(text, /*lines=*/true);  // names come from strangers' files
}

// '-' and '_' and upper and lower case are the usual slips: they cost nothing.
char folded(char c) {
  return c == '-' ? '_' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
}

// Edit distance with transposition of neighbours (optimal string alignment).
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> before(b.size() + 1), previous(b.size() + 1), row(b.size() + 1);
  std::iota(previous.begin(), previous.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const bool same = folded(a[i - 1]) == folded(b[j - 1]);
      row[j] = std::min({previous[j] + 1, row[j - 1] + 1, previous[j - 1] + (same ? 0 : 1)});
      if (i > 1 && j > 1 && folded(a[i - 1]) == folded(b[j - 2]) && folded(a[i - 2]) == folded(b[j - 1]))
        row[j] = std::min(row[j], before[j - 2] + 1);
    }
    before.swap(previous);
    previous.swap(row);
  }
  return previous[b.size()];
}

}  // namespace

void fail(std::string_view subject, std::string_view expected, std::string_view found, std::string_view advice) {
  throw Error(compose(subject, expected, found, advice));
}

void fail_usage(std::string_view subject, std::string_view expected, std::string_view found, std::string_view advice) {
  throw UsageError(compose(subject, expected, found, advice));
}

std::string nearest_name(std::string_view word, const std::vector<std::string>& candidates) {
  std::string best;
  // more than a third of the letters wrong is another word, not a slip
  size_t best_distance = std::max<size_t>(1, word.size() / 3) + 1;
  for (const std::string& candidate : candidates) {
    const size_t distance = edit_distance(word, candidate);
    if (distance < best_distance) {
      best_distance = distance;
      best = candidate;
    }
  }
  if (!best.empty() || word.empty()) return best;
  // "lr" for "optim.lr": a key given without its section
  for (const std::string& candidate : candidates) {
    const size_t dot = candidate.rfind('.');
    if (dot != std::string::npos && edit_distance(word, std::string_view(candidate).substr(dot + 1)) <= word.size() / 4) return candidate;
  }
  // the beginning of one name alone
  constexpr size_t kBeginning = 3;
  const auto begins = [&](const std::string& candidate) { return candidate.starts_with(word); };
  if (word.size() >= kBeginning && std::count_if(candidates.begin(), candidates.end(), begins) == 1)
    return *std::find_if(candidates.begin(), candidates.end(), begins);
  return best;
}

}  // namespace dinoxx
