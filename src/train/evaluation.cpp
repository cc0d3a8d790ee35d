#include "evaluation.hpp"

#include <ATen/ATen.h>

#include "base/json_text.hpp"
#include "base/stop_scope.hpp"
#include "comm/agree.hpp"
#include "config/model_keys.hpp"
#include "optim/init_config.hpp"
#include "results/protocol_names.hpp"
#include "training_config.hpp"

namespace dinoxx {

using nlohmann::json;

Evaluation::Evaluation(EvalHook hook, const Config& config, const TrainComms& comms, const Calendar& calendar, RunHistory& history,
                       RunLog& log, Stopwatch& watch)
    : hook_(std::move(hook)),
      comms_(comms),
      calendar_(calendar),
      history_(history),
      log_(log),
      watch_(watch),
      alarm_(model_init_from(config).empty() ? 0 : config.init->alarm),
      stop_(config.train->stop_on_collapse) {
  if (alarm_ == 0 || !log.chief()) return;
  for (const json& record : history.journal().evals)
    if (const json& found = record.at("eval"); record.value("step", -1) == 0 && found.contains("accuracy"))
      at_start_ = found["accuracy"].get<double>();
}

bool Evaluation::run_if_due(TrainState& state, uint64_t images, const std::function<bool()>& must_stop) {
  if (!hook_ || !calendar_.evaluates_after(state.step) || history_.is_evaluated(state.step)) return true;
  watch_.pause();
  const Stopwatch took;
  json result;
  const std::vector<std::shared_ptr<void>> whole = state.teacher_flat.hold_all();  // evaluation's forwards are not in step
  try {
    const StopScope scope(must_stop);
    result = hook_(state.teacher, state.step);
  } catch (const std::exception& error) {
    result = {{"error", error.what()}};
  }
  seconds_ = took.seconds();
  at::Tensor ended = at::full({1}, result.contains("error") && must_stop() ? 1 : 0, at::kLong);
  comms_.control->all_reduce(ended, ReduceOp::kMax)->wait();
  if (ended.item<int64_t>() != 0) {
    log_.say(fmt::format("evaluation at step {} ends for the stop", state.step));
    watch_.resume();
    return false;
  }
  history_.note_evaluated(state.step);
  bool alarm = false;
  if (log_.chief()) {
    record(state, static_cast<double>(state.position) / static_cast<double>(images), result);
    alarm = alarms(state.step, result);
  }
  watch_.resume();
  if (!stop_ || alarm_ == 0) return true;
  ended.fill_(alarm ? 1 : 0);
  comms_.control->all_reduce(ended, ReduceOp::kMax)->wait();
  if (ended.item<int64_t>() != 0)
    throw AgreedError(
        fmt::format(
            "training at step {}: expected the accuracy of the weights of model.init_from but for init.alarm = {}, found less "
            "(train.stop_on_collapse). Keep the backbone fixed for longer (init.heads_only, init.unfreeze), hold it to those weights "
            "(init.anchor, init.last_blocks) or lower optim.lr. Its checkpoints stay.",
            state.step, alarm_),
        ExitCode::kFailed);
  return true;
}

bool Evaluation::alarms(int64_t step, const json& result) {
  if (alarm_ == 0 || !result.contains("accuracy")) return false;
  const double accuracy = result["accuracy"].get<double>();
  if (step == 0) at_start_ = accuracy;
  if (!at_start_ || accuracy >= *at_start_ - alarm_) return false;
  log_.write({{"event", "forgetting"}, {"step", step}, {"accuracy", accuracy}, {"at_start", *at_start_}});
  log_.say(
      fmt::format("step {}: ALARM: k-NN accuracy {:.2f} %, with the weights of model.init_from it was {:.2f} %: training takes away "
                  "what they knew (init.alarm = {}; docs/methods.md, Going on from other weights)",
                  step, 100 * accuracy, 100 * *at_start_, alarm_));
  return true;
}

void Evaluation::record(const TrainState& state, double epoch, const json& result) {
  log_.write({{"step", state.step}, {"epoch", epoch}, {"eval", result}});
  std::vector<std::pair<std::string, double>> scalars;
  if (result.contains("accuracy")) scalars.emplace_back("eval/knn_accuracy", result["accuracy"].get<double>());
  const json steps = result.value("steps", json::object());
  for (const auto& [key, figures] : steps.items()) {
    std::string text;
    for (const auto& [name, value] : figures.items()) {
      if (value.is_number()) scalars.emplace_back(fmt::format("eval/{}_{}", key, name), value.get<double>());
      text += fmt::format("{}{} {}", text.empty() ? "" : ", ", name,
                          value.is_number() ? fmt::format("{:.4f}", value.get<double>()) : json_text(value));
    }
    log_.say(fmt::format("step {}: {}: {}", state.step, eval::protocol_word(key), text));
  }
  log_.scalars(state.step, scalars);
  if (result.contains("error"))
    log_.say(fmt::format("evaluation at step {} failed (training goes on): {}", state.step, result["error"].get<std::string>()));
  else if (result.contains("accuracy"))
    log_.say(fmt::format("step {}: k-NN (k = {}) accuracy {:.2f} %", state.step, json_text(result.value("k", json())),
                         100 * result["accuracy"].get<double>()));
}

}  // namespace dinoxx
