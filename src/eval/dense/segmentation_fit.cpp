#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "base/rng.hpp"
#include "comm/agree.hpp"
#include "data_pipeline/augment/eval_mask.hpp"
#include "dense.hpp"
#include "dinoxx/base/error.hpp"
#include "eval/classify/folds.hpp"
#include "eval/classify/units.hpp"
#include "eval/features/blocks.hpp"
#include "eval/features/lanes.hpp"
#include "eval/features/sample_rows.hpp"
#include "model/backbones/attention.hpp"
#include "segmentation.hpp"

namespace dinoxx::eval::segmentation {
namespace {

constexpr size_t kUsualC = 2;  // when no image can be held out
constexpr int kFolds = 5;

std::vector<int64_t> drawn_cells(uint64_t seed, uint64_t id, int64_t cells) {
  CounterRng rng(seed, id, lane(Lane::kPatches, 1), Purpose::kEval);
  std::vector<int64_t> all(cells);
  for (int64_t i = 0; i < cells; ++i) all[i] = i;
  const int64_t count = std::min(cells, kPatchesPerImage);
  for (int64_t i = 0; i < count; ++i) std::swap(all[i], all[i + static_cast<int64_t>(rng.below(cells - i))]);
  all.resize(count);
  return all;
}

struct Part {
  at::Tensor features;
  std::vector<int32_t> targets;
};

Part part_of(const Sample& sample, const Question& question, const std::vector<uint8_t>& rows) {
  std::vector<int64_t> chosen;
  Part part;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (!rows[i]) continue;
    chosen.push_back(static_cast<int64_t>(i));
    part.targets.push_back(question.target(sample.targets[i]));
  }
  part.features = sample.features.index_select(0, at::tensor(chosen, at::kLong));
  return part;
}

// As the published head has it (batch norm, then a linear layer): each dimension at unit variance. Folded into the weights.
Fit fit_patches(const Sample& train, const std::vector<uint8_t>& held_rows, const std::optional<Sample>& validation,
                const Question& question) {
  const at::Tensor variance = train.features.to(at::kDouble).var(0, /*unbiased=*/false);
  const at::Tensor scale = (variance + 1e-5 * variance.mean() + 1e-30).rsqrt();
  const auto scaled = [&](Part part) {
    part.features = part.features.to(at::kDouble).mul_(scale);
    return part;
  };
  const auto regression = [&](const Part& part) { return LogisticRegression(part.features, part.targets, question.classes); };
  const LbfgsOptions options{200, 10, 1e-6};
  std::vector<uint8_t> learned;
  for (const uint8_t held : held_rows) learned.push_back(held ? 0 : 1);
  const Part held = scaled(validation ? part_of(*validation, question, std::vector<uint8_t>(validation->targets.size(), 1))
                                      : part_of(train, question, held_rows));
  Fit fit;
  size_t best = kUsualC;
  if (!held.targets.empty()) {
    LogisticRegression path = regression(scaled(part_of(train, question, learned)));
    for (size_t i = 0; i < kC.size(); ++i) {
      const std::vector<int32_t> answers = predict(path.fit(kC[i], options).model.logits(held.features));
      Overlap overlap(question.classes);
      for (size_t row = 0; row < answers.size(); ++row) overlap.add(held.targets[row], answers[row]);
      fit.scores.push_back(mean_iou(overlap));
      if (i == 0 || fit.scores[i] > fit.scores[best]) best = i;
    }
  }
  const LogisticFit last =
      regression(scaled(part_of(train, question, std::vector<uint8_t>(train.targets.size(), 1)))).fit(kC[best], options);
  fit.model = {last.model.weight * scale, last.model.bias.clamp_min(-1e30)};  // finite, so that it can be interpolated
  fit.c = kC[best];
  fit.converged = last.converged;
  return fit;
}

}  // namespace

Masks read_masks(const Dataset& dataset, std::span<const uint64_t> ids, const EvalTransform& transform) {
  Masks masks{at::zeros({static_cast<int64_t>(ids.size()), transform.crop, transform.crop}, at::kByte), {}};
  std::vector<uint8_t> bytes;
  Image image;
  for (size_t i = 0; i < ids.size(); ++i) {
    dataset.read_mask(ids[i], bytes);
    masks.there.push_back(bytes.empty() ? 0 : 1);
    if (bytes.empty()) continue;
    decode_image(bytes, image);
    const SampleMeta& meta = dataset.meta(ids[i]);
    if (image.width != static_cast<int>(meta.width) || image.height != static_cast<int>(meta.height)) {
      fail(dataset.key(ids[i]), fmt::format("a mask of its size {} x {}", meta.width, meta.height),
           fmt::format("{} x {}", image.width, image.height), "Pack the images again.");
    }
    make_eval_mask(image, transform, masks.pixels[static_cast<int64_t>(i)].data_ptr<uint8_t>());
  }
  return masks;
}

Shape shape_of(const ProtocolInput& input) {
  const at::NoGradGuard no_grad;
  const int64_t size = input.images->transform.crop;
  const at::Tensor patches = input.embedder.patches(at::zeros({1, 3, size, size}, at::kFloat));
  return {patches.size(1), patch_grid(size, size, patches.size(1)).rows, patches.size(2)};
}

Images thinned(const std::vector<uint64_t>& ids, const std::vector<int32_t>& labels, int64_t most, uint64_t seed) {
  Images chosen;
  for (const int64_t row : sample_rows(ids, static_cast<size_t>(most), seed, lane(Lane::kPatches))) {
    chosen.ids.push_back(ids[row]);
    chosen.labels.push_back(labels[row]);
  }
  return chosen;
}

Sample sample_patches(const ProtocolInput& input, const Images& images, const Shape& shape) {
  const int64_t total = static_cast<int64_t>(images.ids.size()), count = std::min(shape.cells, kPatchesPerImage);
  const ItemRange mine = rank_items(total, input.comm.rank(), input.comm.size());
  at::Tensor features = at::zeros({mine.size(), count, shape.dim}, at::kFloat), targets = at::full({mine.size(), count}, -1, at::kLong);
  on_all_ranks(input.comm, [&] {
    for_each_block(total, mine, input.threads, [&](int64_t, ItemRange items) {
      const auto ids = std::span(images.ids).subspan(items.begin, items.size());
      const Masks masks = read_masks(input.dataset, ids, input.images->transform);
      if (!masks.any()) return;
      const at::Tensor patches = input.embedder.patches(read_images(input.dataset, ids, *input.images));
      for (int64_t i = 0; i < items.size(); ++i) {
        if (!masks.there[i]) continue;
        const std::vector<uint8_t> object = object_cells(masks.of(i), input.images->transform.crop, shape.side);
        const std::vector<int64_t> cells = drawn_cells(input.seed, ids[i], shape.cells);
        const int64_t row = items.begin + i - mine.begin;
        features[row].copy_(patches[i].index_select(0, at::tensor(cells, at::kLong)));
        for (int64_t j = 0; j < count; ++j)
          targets.data_ptr<int64_t>()[row * count + j] = object[cells[j]] ? images.labels[items.begin + i] + 1 : 0;
      }
    });
    if (!at::isfinite(features).all().item<bool>())
      fail(input.embedder.name, "finite features of patches", "NaN or infinite ones", "The checkpoint is damaged or has diverged.");
  });
  features = gather_blocks(input.comm, features, total);
  targets = gather_blocks(input.comm, targets, total);
  Sample sample;
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < total; ++i) {
    sample.of_images.push_back(targets.data_ptr<int64_t>()[i * count] >= 0 ? 1 : 0);
    if (!sample.of_images.back()) continue;
    rows.push_back(i);
    for (int64_t j = 0; j < count; ++j) {
      sample.targets.push_back(static_cast<int32_t>(targets.data_ptr<int64_t>()[i * count + j]));
      sample.image.push_back(static_cast<int32_t>(i));
    }
  }
  sample.features = features.index_select(0, at::tensor(rows, at::kLong)).flatten(0, 1);
  return sample;
}

std::vector<Fit> fit_all(const ProtocolInput& input, const std::vector<Question>& questions, const Sample& train, const Images& images,
                         const std::optional<Sample>& validation, int64_t dim) {
  std::vector<uint8_t> held_rows(train.targets.size());
  if (!validation) {
    Images with_mask;
    std::vector<int> fold_of(images.ids.size(), -1);
    std::vector<size_t> place;
    for (size_t i = 0; i < images.ids.size(); ++i) {
      if (!train.of_images[i]) continue;
      with_mask.ids.push_back(images.ids[i]);
      with_mask.labels.push_back(images.labels[i]);
      place.push_back(i);
    }
    const std::vector<int> folds = stratified_folds(with_mask.ids, with_mask.labels, units_of(input.dataset, with_mask.ids),
                                                    input.data.classes, kFolds, input.seed, kFolds);
    for (size_t i = 0; i < place.size(); ++i) fold_of[place[i]] = folds[i];
    for (size_t row = 0; row < held_rows.size(); ++row) held_rows[row] = fold_of[train.image[row]] == 0 ? 1 : 0;
  }
  const int64_t scores = static_cast<int64_t>(kC.size()), head = 3 + scores;
  int64_t most = 0;
  for (const Question& question : questions) most = std::max<int64_t>(most, question.classes);
  const at::Tensor rows =
      run_tasks(input.comm, static_cast<int64_t>(questions.size()), head + most * (dim + 1), input.threads, [&](int64_t task, double* row) {
        const Fit fit = fit_patches(train, held_rows, validation, questions[task]);
        row[0] = fit.c;
        row[1] = fit.converged;
        row[2] = static_cast<double>(fit.scores.size());
        std::copy(fit.scores.begin(), fit.scores.end(), row + 3);
        const int64_t n = questions[task].classes;
        at::from_blob(row + head, {n, dim}, at::kDouble).copy_(fit.model.weight);
        at::from_blob(row + head + n * dim, {n}, at::kDouble).copy_(fit.model.bias);
      });
  std::vector<Fit> fits;
  for (size_t q = 0; q < questions.size(); ++q) {
    const int64_t n = questions[q].classes;
    const at::Tensor row = rows[static_cast<int64_t>(q)];
    const double* values = row.data_ptr<double>();
    fits.push_back({{row.narrow(0, head, n * dim).view({n, dim}), row.narrow(0, head + n * dim, n)},
                    values[0],
                    values[1] != 0,
                    {values + 3, values + 3 + static_cast<int64_t>(values[2])}});
  }
  return fits;
}

}  // namespace dinoxx::eval::segmentation
