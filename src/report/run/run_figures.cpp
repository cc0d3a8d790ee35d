#include "run_figures.hpp"

#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "config/train_keys.hpp"
#include "model/model_config.hpp"

namespace dinoxx::report {

using nlohmann::json;

double number_or_nan(const json& value) {
  return value.is_number() ? value.get<double>() : std::numeric_limits<double>::quiet_NaN();
}

double number_of(const json& object, const char* key) {
  if (!object.is_object()) return std::numeric_limits<double>::quiet_NaN();
  const auto found = object.find(key);
  return found == object.end() ? std::numeric_limits<double>::quiet_NaN() : number_or_nan(*found);
}

std::string text_of(const json& object, const char* key) {
  if (!object.is_object()) return "";
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

std::string grouped(int64_t number) {
  const std::string digits = std::to_string(number);
  std::string text;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0 && digits[i - 1] != '-') text += ',';
    text += digits[i];
  }
  return text;
}

std::string figure(double value, int digits) {
  if (std::isnan(value)) return "-";
  const bool whole = std::abs(value) >= std::pow(10, digits) && std::abs(value) < 1e12;  // 1234 and no 1.2e+03
  return whole ? fmt::format("{:.0f}", value) : fmt::format("{:.{}g}", value, digits);
}

std::string percent(double share) {
  return std::isnan(share) ? "-" : fmt::format("{:.2f}", 100 * share);
}

std::string duration(double seconds) {
  if (std::isnan(seconds)) return "-";
  if (seconds < 90) return fmt::format("{:.0f} s", seconds);
  if (seconds < 90 * 60) return fmt::format("{:.0f} min", seconds / 60);
  if (seconds < 48 * 3600) return fmt::format("{:.1f} h", seconds / 3600);
  return fmt::format("{:.1f} d", seconds / 86400);
}

std::string backbone_text(const Config& config) {
  const ModelConfig& model = *config.model;
  std::string text = model.arch;
  if (model.arch.starts_with("vit")) text += fmt::format("/{}", model.patch_size);
  if (model.dim && model.depth) text += fmt::format(" {}x{}", *model.dim, *model.depth);
  return text;
}

std::vector<Figure> run_figures(const RunRecord& run) {
  const int64_t step = run.last_step(), total = run.total_steps(), batch = run.batch();
  const double accuracy = run.evals.empty() ? NAN : number_of(run.evals.back()["eval"], "accuracy");
  const double balanced = run.evals.empty() ? NAN : number_of(run.evals.back()["eval"], "balanced_accuracy");
  const auto count = [](int64_t number) { return number > 0 ? grouped(number) : std::string("-"); };
  std::vector<Figure> figures{
      {"method", run.config ? train_method(*run.config) : "-", false},
      {"backbone", run.config ? backbone_text(*run.config) : "-", false},
      {"seed", run.config ? std::to_string(train_seed(*run.config)) : "-"},
      {"images seen", batch > 0 ? grouped(run.images_seen(step)) : "-"},
      {"done", total > 0 ? fmt::format("{:.0f} %", std::floor(100.0 * static_cast<double>(step) / static_cast<double>(total))) : "-"},
      {"batch", count(batch)},
      {"ranks", count(run.ranks())},
      {"time", duration(run.seconds.empty() ? NAN : run.seconds.back())},
      {"images/s", figure(run.images_per_second())},
      {"loss", figure(run.last("loss"))},
      {"k-NN %", percent(accuracy)},
      {"balanced %", percent(balanced)}};
  for (const Monitor& monitor : kMonitors) figures.push_back({monitor.heading, figure(run.last(monitor.column), 3)});
  return figures;
}

}  // namespace dinoxx::report
