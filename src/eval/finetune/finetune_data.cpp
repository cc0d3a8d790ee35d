// What fine-tuning learns from: the cut of the memory, the probe's head, batches of crops, and logits of any images.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "comm/agree.hpp"
#include "dinoxx/base/error.hpp"
#include "eval/classify/folds.hpp"
#include "eval/classify/logistic.hpp"
#include "eval/classify/units.hpp"
#include "eval/features/blocks.hpp"
#include "eval/protocols/logistic_parts.hpp"
#include "eval/statistics/calibration.hpp"
#include "finetune_parts.hpp"

namespace dinoxx::eval {
namespace {

// Multiplications of one iteration of the probe's fit, above which its path over C takes hours of one core.
constexpr double kLargestProbe = 4e9;

ViewSpec crop_of(const ExtractOptions& images, double smallest) {
  ViewSpec view;
  view.name = "finetune";
  view.size = images.transform.crop;
  view.scale_min = smallest;
  view.scale_max = 1;
  view.distort = false;
  if (smallest == 1) view.aspect_min = view.aspect_max = 1;
  return view;
}

void take(const EvalData& data, size_t row, std::vector<uint64_t>& ids, std::vector<int32_t>& labels, std::vector<int64_t>& rows) {
  ids.push_back(data.memory[row]);
  labels.push_back(data.memory_labels[row]);
  rows.push_back(static_cast<int64_t>(row));
}

}  // namespace

TuneData plan_tuning(const ProtocolInput& input) {
  const EvalData& all = input.data;
  TuneData data;
  std::vector<int32_t> train_labels;
  if (!all.validation.empty()) {
    data.by = "val split";
    data.train = all.memory;
    train_labels = all.memory_labels;
    data.validation = all.validation;
    data.validation_labels = all.validation_labels;
    data.train_features = input.features.memory;
    data.validation_features = input.features.validation;
  } else {
    data.by = fmt::format("1 of {} stratified folds of the memory, groups kept together, which is not learned from", kFolds);
    const std::vector<int> fold_of =
        stratified_folds(all.memory, all.memory_labels, units_of(input.dataset, all.memory), all.classes, kFolds, input.seed);
    std::vector<int64_t> train_rows, validation_rows;
    for (size_t row = 0; row < fold_of.size(); ++row) {
      if (fold_of[row] == 0)
        take(all, row, data.validation, data.validation_labels, validation_rows);
      else
        take(all, row, data.train, train_labels, train_rows);
    }
    data.train_features = input.features.memory.index_select(0, at::tensor(train_rows, at::kLong));
    data.validation_features = input.features.memory.index_select(0, at::tensor(validation_rows, at::kLong));
  }
  const std::vector<int64_t> counts = class_counts(train_labels, all.classes);
  std::vector<int32_t> row_of(static_cast<size_t>(all.classes), -1);
  for (int32_t c = 0; c < all.classes; ++c) {
    if (counts[static_cast<size_t>(c)] == 0) continue;
    row_of[static_cast<size_t>(c)] = static_cast<int32_t>(data.present.size());
    data.present.push_back(c);
    data.counts.push_back(counts[static_cast<size_t>(c)]);
  }
  for (const int32_t label : train_labels) data.train_labels.push_back(row_of[static_cast<size_t>(label)]);
  data.support = class_counts(data.validation_labels, all.classes);
  const auto images = static_cast<double>(data.train.size()), dim = static_cast<double>(input.embedder.dim);
  const double fit = images * static_cast<double>(data.present.size()) * std::min(images, dim);
  if (data.validation.empty())
    data.why_not =
        "there is no val split and no class has two training images (or groups) of which one could be held out: nothing to choose the "
        "epoch on but the answers themselves";
  else if (data.present.size() < 2)
    data.why_not = "training images of one class only";
  else if (fit > kLargestProbe)
    data.why_not = fmt::format("an iteration of the probe's fit would take {:.1e} multiplications, more than {:.1e}", fit, kLargestProbe);
  return data;
}

ProbeHead fit_probe(const ProtocolInput& input, const TuneData& data, const TunedHead& zero) {
  const int classes = static_cast<int>(data.present.size());
  const int64_t dim = input.embedder.dim, model = classes * (dim + 1);
  const at::Tensor rows = run_tasks(input.comm, 1, model + 1, input.threads, [&](int64_t, double* row) {
    LogisticRegression regression(data.train_features, data.train_labels, classes);
    double least = std::numeric_limits<double>::infinity();
    for (const double c : values_of_c()) {
      const LogisticFit fit = regression.fit(c, {.tolerance = kPathTolerance});
      const double loss = score_validation(fit.model.logits(data.validation_features), data, input.data.classes).loss;
      if (loss >= least) continue;
      least = loss;
      std::copy_n(fit.model.weight.contiguous().data_ptr<double>(), classes * dim, row);
      std::copy_n(fit.model.bias.contiguous().data_ptr<double>(), classes, row + classes * dim);
      row[model] = c;
    }
  });
  const at::Tensor weight = rows[0].narrow(0, 0, classes * dim).view({classes, dim}), bias = rows[0].narrow(0, classes * dim, classes);
  return {{weight * zero.scale, bias + at::mv(weight, zero.centre), zero.centre, zero.scale}, rows[0][model].item<double>()};
}

TunedHead zero_head(const ProtocolInput& input, const TuneData& data) {
  const auto classes = static_cast<int64_t>(data.present.size());
  const int64_t dim = input.embedder.dim;
  const at::Tensor rows = run_tasks(input.comm, 1, dim + 1, 1, [&](int64_t, double* row) {
    const at::Tensor features = data.train_features.to(at::kDouble), mean = features.mean(0);
    at::from_blob(row, {dim}, at::kDouble).copy_(mean);
    row[dim] = (features - mean).square().mean().sqrt().item<double>();
  });
  // features that are all the same have no scale
  return {at::zeros({classes, dim}, at::kDouble), at::zeros({classes}, at::kDouble), rows[0].narrow(0, 0, dim),
          std::max(rows[0][dim].item<double>(), 1e-6)};
}

TuneBatch read_batch(const ProtocolInput& input, const TuneData& data, std::span<const uint64_t> order, int64_t begin, int64_t end,
                     int64_t epoch, double smallest_crop) {
  const int64_t batch = end - begin, first = begin + batch * input.comm.rank() / input.comm.size(),
                last = begin + batch * (input.comm.rank() + 1) / input.comm.size();
  TuneBatch result;
  result.counted = last - first;
  const int64_t n = std::max<int64_t>(result.counted, 1), start = result.counted > 0 ? first : begin;
  const ViewSpec view = crop_of(*input.images, smallest_crop);
  result.images = at::empty({n, 3, view.size, view.size}, at::kFloat);
  result.labels = at::empty({n}, at::kLong);
  float* pixels = result.images.data_ptr<float>();
  int64_t* labels = result.labels.data_ptr<int64_t>();
  on_all_ranks(input.comm, [&] {
    at::parallel_for(0, n, 1, [&](int64_t from, int64_t to) {
      std::vector<uint8_t> bytes;
      Image image;
      for (int64_t i = from; i < to; ++i) {
        const uint64_t row = order[static_cast<size_t>(start + i)], id = data.train[row];
        labels[i] = data.train_labels[row];
        input.dataset.read(id, bytes);
        try {
          decode_image(bytes, image);
        } catch (const Error& e) {
          throw Error(fmt::format("{}: {}", input.dataset.key(id), e.what()));
        }
        const uint64_t position = (static_cast<uint64_t>(epoch) << 32) + static_cast<uint64_t>(start + i);
        make_view(image, view, input.images->normalization, input.seed, position, 0, pixels + i * 3 * view.size * view.size);
      }
    });
  });
  return result;
}

std::string describe_crops(const ExtractOptions& images, double smallest) {
  if (smallest == 1) return "whole images, mirrored half of the time";
  return fmt::format("random resized crop of {:g} to 1 of the area to {} x {}, mirrored half of the time, no colour changes", smallest,
                     images.transform.crop, images.transform.crop);
}

at::Tensor tuned_logits(const ProtocolInput& input, const TunedNetwork& network, const std::vector<uint64_t>& ids) {
  const auto total = static_cast<int64_t>(ids.size());
  const ItemRange mine = rank_items(total, input.comm.rank(), input.comm.size());
  at::Tensor local;
  on_all_ranks(input.comm, [&] {
    local = at::zeros({mine.size(), network.trainable().back().tensor.numel()}, at::kDouble);
    for_each_block(total, mine, input.threads, [&](int64_t, ItemRange items) {
      const at::Tensor images = read_images(
          input.dataset, std::span(ids).subspan(static_cast<size_t>(items.begin), static_cast<size_t>(items.size())), *input.images);
      local.narrow(0, items.begin - mine.begin, items.size()).copy_(network.logits(images).to(at::kDouble));
    });
  });
  return gather_blocks(input.comm, local, total).contiguous();
}

std::vector<double> tuned_probabilities(const at::Tensor& logits, const TuneData& data, int classes) {
  const at::Tensor all = at::full({logits.size(0), classes}, -std::numeric_limits<double>::infinity(), at::kDouble);
  for (size_t row = 0; row < data.present.size(); ++row)
    all.select(1, data.present[row]).copy_(logits.select(1, static_cast<int64_t>(row)));
  return softmax_rows({all.data_ptr<double>(), static_cast<size_t>(all.numel())}, classes);
}

Stat temperature_of(const at::Tensor& logits, const TuneData& data) {
  std::vector<int32_t> labels;
  std::vector<int64_t> rows;
  for (size_t i = 0; i < data.validation_labels.size(); ++i) {
    const auto row = std::lower_bound(data.present.begin(), data.present.end(), data.validation_labels[i]);
    if (row == data.present.end() || *row != data.validation_labels[i]) continue;
    labels.push_back(static_cast<int32_t>(row - data.present.begin()));
    rows.push_back(static_cast<int64_t>(i));
  }
  const at::Tensor known = logits.index_select(0, at::tensor(rows, at::kLong)).contiguous();
  const Stat fitted =
      fit_temperature(labels, {known.data_ptr<double>(), static_cast<size_t>(known.numel())}, static_cast<int>(data.present.size()));
  return fitted.value
             ? fitted
             : Stat::undefined("no finite temperature fits the validation images (all classified correctly, or no better than chance)");
}

bool TuneScore::better_than(const TuneScore& other) const {
  if (!finite || !other.finite) return finite && !other.finite;
  return recall > other.recall || (recall == other.recall && loss < other.loss);
}

TuneScore score_validation(const at::Tensor& logits, const TuneData& data, int classes) {
  TuneScore score;
  score.finite = at::isfinite(logits).all().item<bool>();
  if (!score.finite) return score;
  std::vector<int32_t> answers = predict(logits.contiguous());
  for (int32_t& answer : answers) answer = data.present[static_cast<size_t>(answer)];
  std::vector<double> correct(static_cast<size_t>(classes));
  count_correct(data.validation_labels, answers, correct.data());
  score.recall = mean_recall(correct, data.support);
  const at::Tensor log_p = at::log_softmax(logits, -1);
  int64_t images = 0;
  for (size_t i = 0; i < data.validation_labels.size(); ++i) {
    const auto row = std::lower_bound(data.present.begin(), data.present.end(), data.validation_labels[i]);
    if (row == data.present.end() || *row != data.validation_labels[i]) continue;  // a class without training images: always wrong
    score.loss -= log_p[static_cast<int64_t>(i)][row - data.present.begin()].item<double>();
    ++images;
  }
  score.loss /= static_cast<double>(std::max<int64_t>(images, 1));
  return score;
}

}  // namespace dinoxx::eval
