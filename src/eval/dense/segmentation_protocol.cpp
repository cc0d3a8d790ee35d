// What features of patches are worth: a linear classifier for each patch, and the attention of CLS, against packed masks. The masks of the
// queries are looked at by nothing that is fitted or chosen.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <limits>

#include "comm/agree.hpp"
#include "dense.hpp"
#include "eval/classify/units.hpp"
#include "eval/features/blocks.hpp"
#include "eval/protocols/logistic_parts.hpp"
#include "eval/statistics/resampling.hpp"
#include "segmentation.hpp"

namespace dinoxx::eval {
namespace {

using nlohmann::json;
using namespace segmentation;

constexpr double kLargestTable = 5e7;  // numbers for the intervals: six for each test image and class, summed in each resample
constexpr double kLargestMap = 2.5e8;  // logits of one image at its pixels
constexpr double kMass = 0.6;

constexpr const char *kNoClass = "no test mask has the class, and no answer", *kNoCells = "no test mask has a pixel",
                     *kNothingHeld = "no image that was held out has a mask";

void put_number(json& object, const char* key, double value, const char* why) {
  put(object, key, Stat::unless_nan(value, why));
}

// Row of numbers for each query: has a mask | per question the overlap of patches, then of pixels | attention.
class Table {
 public:
  Table(const std::vector<Question>& questions, int64_t heads) : heads_(heads) {
    for (const Question& question : questions) {
      begin_.push_back(width_);
      classes_.push_back(question.classes);
      width_ += 6 * question.classes;
    }
    attention_ = width_;
    if (heads > 0) width_ += heads + 4;
  }
  int64_t width() const { return width_; }
  int64_t heads() const { return heads_; }
  int64_t attention() const { return attention_; }  ///< valid, heads, mean map, best of the heads, all object
  void write(const Overlap& overlap, size_t question, bool pixels, double* row) const {
    double* to = row + begin_[question] + (pixels ? 3 * classes_[question] : 0);
    for (const auto* part : {&overlap.truth, &overlap.answer, &overlap.both}) to = std::copy(part->begin(), part->end(), to);
  }
  /// Sum over the rows, each counted `counts` times.
  Overlap read(const at::Tensor& rows, size_t question, bool pixels, std::span<const uint32_t> counts) const {
    Overlap sum(classes_[question]);
    for (int64_t i = 0; i < rows.size(0); ++i) {
      const double* from = rows.data_ptr<double>() + i * width_ + begin_[question] + (pixels ? 3 * classes_[question] : 0);
      for (auto* part : {&sum.truth, &sum.answer, &sum.both})
        for (double& value : *part) value += counts[i] * *from++;
    }
    return sum;
  }
  /// Mean of an attention column over the rows that have one; NaN without any.
  double mean(const at::Tensor& rows, int64_t column, std::span<const uint32_t> counts) const {
    double total = 0, count = 0;
    for (int64_t i = 0; i < rows.size(0); ++i) {
      const double* row = rows.data_ptr<double>() + i * width_ + attention_;
      total += counts[i] * row[0] * row[column];
      count += counts[i] * row[0];
    }
    return count > 0 ? total / count : std::numeric_limits<double>::quiet_NaN();
  }

 private:
  std::vector<int64_t> begin_;
  std::vector<int> classes_;
  int64_t width_ = 1, attention_ = 0, heads_;
};

void write_overlaps(const at::Tensor& features, const LinearModel& model, const Question& question, size_t q, int32_t label_and_one,
                    std::span<const uint8_t> mask, const Shape& shape, int64_t size, const Table& table, double* row) {
  const int32_t object_class = question.target(label_and_one);
  const at::Tensor logits = model.logits(features);  // [N, classes]
  const std::vector<int32_t> answers = predict(logits);
  const std::vector<uint8_t> object = object_cells(mask, size, shape.side);
  Overlap of_patches(question.classes), of_pixels(question.classes);
  for (int64_t i = 0; i < shape.cells; ++i) of_patches.add(object[i] ? object_class : 0, answers[i]);
  const at::Tensor maps = logits.t().reshape({1, question.classes, shape.side, shape.side}).to(at::kFloat);
  const at::Tensor pixels = at::upsample_bilinear2d(maps, {size, size}, /*align_corners=*/false).argmax(1).contiguous();
  const int64_t* answered = pixels.data_ptr<int64_t>();
  for (size_t i = 0; i < mask.size(); ++i) of_pixels.add(mask[i] ? object_class : 0, static_cast<int32_t>(answered[i]));
  table.write(of_patches, q, false, row);
  table.write(of_pixels, q, true, row);
}

void write_attention(const at::Tensor& attention, std::span<const uint8_t> mask, const Shape& shape, int64_t size, int64_t heads,
                     double* row) {
  const int64_t object = std::count(mask.begin(), mask.end(), 1);
  if (object == 0) return;
  row[0] = 1;
  const auto jaccard = [&](const at::Tensor& map) {
    const std::span<const float> values{map.data_ptr<float>(), static_cast<size_t>(shape.cells)};
    return cells_jaccard(keep_mass(values, kMass), shape.side, mask, size);
  };
  double best = 0;
  for (int64_t h = 0; h < heads; ++h) best = std::max(best, row[1 + h] = jaccard(attention[h]));
  row[1 + heads] = jaccard(attention.mean(0));
  row[2 + heads] = best;
  row[3 + heads] = static_cast<double>(object) / static_cast<double>(mask.size());
}

// [queries, table.width()] on every rank.
at::Tensor answer(const ProtocolInput& input, const std::vector<Question>& questions, const std::vector<Fit>& fits, const Shape& shape,
                  const Table& table) {
  const EvalData& data = input.data;
  const int64_t total = static_cast<int64_t>(data.queries.size()), size = input.images->transform.crop;
  const ItemRange mine = rank_items(total, input.comm.rank(), input.comm.size());
  const at::Tensor rows = at::zeros({mine.size(), table.width()}, at::kDouble);
  on_all_ranks(input.comm, [&] {
    for_each_block(total, mine, input.threads, [&](int64_t, ItemRange items) {
      const auto ids = std::span(data.queries).subspan(items.begin, items.size());
      const Masks masks = read_masks(input.dataset, ids, input.images->transform);
      if (!masks.any()) return;
      const at::Tensor images = read_images(input.dataset, ids, *input.images);
      const at::Tensor patches = input.embedder.patches(images);
      const at::Tensor attention = table.heads() > 0 ? input.embedder.attention(images).contiguous() : at::Tensor();
      for (int64_t i = 0; i < items.size(); ++i) {
        if (!masks.there[i]) continue;
        double* row = rows.data_ptr<double>() + (items.begin + i - mine.begin) * table.width();
        row[0] = 1;
        for (size_t q = 0; q < questions.size(); ++q)
          write_overlaps(patches[i], fits[q].model, questions[q], q, data.query_labels[items.begin + i] + 1, masks.of(i), shape, size,
                         table, row);
        if (table.heads() > 0) write_attention(attention[i], masks.of(i), shape, size, table.heads(), row + table.attention());
      }
    });
  });
  return gather_blocks(input.comm, rows, total);
}

json overlap_json(const ProtocolInput& input, const Question& question, const Overlap& overlap) {
  json iou = json::array();
  for (int c = 0; c < question.classes; ++c) {
    const std::string name = c == 0 ? "background" : question.classes == 2 ? "object" : class_name(input.dataset, c - 1);
    json row = {{"name", name}, {"truth", overlap.truth[c]}, {"answered", overlap.answer[c]}, {"right", overlap.both[c]}};
    put_number(row, "iou", overlap_iou(overlap, c), kNoClass);
    iou.push_back(std::move(row));
  }
  json result = {{"iou", std::move(iou)}};
  put_number(result, "miou", mean_iou(overlap), kNoCells);
  put_number(result, "accuracy", overlap_accuracy(overlap), kNoCells);
  return result;
}

json attention_json(const Table& table, const at::Tensor& rows, std::span<const uint32_t> once) {
  const int64_t heads = table.heads();
  int64_t images = 0;
  for (int64_t i = 0; i < rows.size(0); ++i) images += rows[i][table.attention()].item<double>() != 0;
  if (images == 0) return {{"left_out", "no mask of a test image shows an object"}};
  json result = {{"images", images}, {"heads", json::array()}};
  double sum = 0, best = 0;
  int64_t best_head = 0;
  for (int64_t h = 0; h < heads; ++h) {
    const double jaccard = table.mean(rows, 1 + h, once);
    result["heads"].push_back(jaccard);
    sum += jaccard;
    if (jaccard > best) {
      best = jaccard;
      best_head = h;
    }
  }
  result["mean_of_heads"] = sum / static_cast<double>(heads);
  result["mean_map"] = table.mean(rows, 1 + heads, once);
  result["oracle_head_of_each_image"] = table.mean(rows, 2 + heads, once);
  result["oracle_head_of_the_set"] = {{"head", best_head}, {"jaccard", best}};
  result["all_object"] = table.mean(rows, 3 + heads, once);
  return result;
}

// The chief numbers in each resample, in which they are NaN where undefined.
std::vector<ResampledFigure> resampled(const ProtocolInput& input, const std::vector<Question>& questions, const Table& table,
                                       const at::Tensor& rows, const std::vector<int32_t>& labels, const std::vector<uint64_t>& groups) {
  const Resampler resampler(labels, groups, input.data.classes, input.seed);
  const int64_t of_questions = static_cast<int64_t>(questions.size()), width = of_questions + (table.heads() > 0 ? 2 : 0);
  const at::Tensor drawn = run_tasks(input.comm, kResamples, width, input.threads, [&](int64_t task, double* row) {
    const std::vector<uint32_t> counts = resampler.counts(task);
    for (size_t q = 0; q < questions.size(); ++q) row[q] = mean_iou(table.read(rows, q, /*pixels=*/true, counts));
    if (table.heads() == 0) return;
    row[of_questions] = table.mean(rows, 1 + table.heads(), counts);
    row[of_questions + 1] = table.mean(rows, 2 + table.heads(), counts);
  });
  std::vector<ResampledFigure> figures;
  const std::vector<uint32_t> once(labels.size(), 1);
  const auto put = [&](const std::string& name, double value) {
    const at::Tensor values = drawn.select(1, static_cast<int64_t>(figures.size())).contiguous();
    figures.push_back({name, value, {values.data_ptr<double>(), values.data_ptr<double>() + kResamples}});
  };
  for (size_t q = 0; q < questions.size(); ++q)
    put(fmt::format("{}_miou", questions[q].name), mean_iou(table.read(rows, q, /*pixels=*/true, once)));
  if (table.heads() > 0) {
    put("attention_mean_map", table.mean(rows, 1 + table.heads(), once));
    put("attention_oracle_head_of_each_image", table.mean(rows, 2 + table.heads(), once));
  }
  return figures;
}

}  // namespace

json segmentation_settings(const EvalData&, const KnnConfig&) {
  return {{"suite", "linseg"},
          {"classifier",
           "multinomial logistic regression on patch features of the last block after the final norm, each dimension at unit variance"},
          {"truth_of_a_patch", "the class of its image where the mask covers more than half of it, else background"},
          {"training_images_at_most", kTrainImages},
          {"held_out_images_at_most", kHeldImages},
          {"patches_per_image", kPatchesPerImage},
          {"C", kC},
          {"criterion", "mIoU of patches of val, or of a fifth of the training images; equal: the smaller C"},
          {"levels", "patch: the grid of patches; pixel: logits upsampled bilinearly to the network's input"},
          {"miou", "over all test images at once, mean of the classes that their masks have"},
          {"attention",
           fmt::format(
               "CLS, last block: the fewest patches with {} of the attention to patches, Jaccard index against the mask, mean over images",
               kMass)},
          {"oracle", "best head by the test masks themselves, of each image or of the set: an upper bound that cannot be reached in use"},
          {"bootstrap", {{"resamples", kResamples}, {"what", "test images of each class, or groups"}}},
          {"notes", json::array()}};
}

ProtocolResult segmentation_protocol(const ProtocolInput& input) {
  ProtocolResult result;
  const auto left_out = [&](const std::string& reason) {
    result.scores["left_out"] = reason;
    return result;
  };
  if (!input.dataset.has_masks()) return left_out("the data set has no masks");
  if (!input.images || !input.embedder.patches) return left_out("these features have no patches");
  const EvalData& data = input.data;
  Shape shape{};
  on_all_ranks(input.comm, [&] { shape = shape_of(input); });
  const Images train = thinned(data.memory, data.memory_labels, kTrainImages, input.seed);
  const Sample sample = sample_patches(input, train, shape);
  if (sample.targets.empty()) return left_out("no training image has a mask");
  std::optional<Sample> validation;
  if (!data.validation.empty()) {
    validation = sample_patches(input, thinned(data.validation, data.validation_labels, kHeldImages, input.seed), shape);
    if (validation->targets.empty()) validation.reset();
  }

  std::vector<Question> questions{{"object", 2}};
  const double cost = static_cast<double>(sample.targets.size()) * static_cast<double>(shape.dim) * (data.classes + 1);
  const double numbers = 6.0 * static_cast<double>(data.queries.size()) * (data.classes + 1);
  const double map = std::pow(static_cast<double>(input.images->transform.crop), 2) * (data.classes + 1);
  std::string too_much;
  if (cost > kLargestFit)
    too_much = fmt::format("an iteration of the fit would take {:.1e} multiplications", cost);
  else if (numbers > kLargestTable)
    too_much = fmt::format("its intervals would need {:.1e} numbers for each of {} resamples", numbers, kResamples);
  else if (map > kLargestMap)
    too_much = fmt::format("the answers for one image would be {:.1e} numbers", map);
  if (too_much.empty())
    questions.push_back({"classes", data.classes + 1});
  else
    result.scores["classes"] = {{"left_out", too_much}};
  const std::vector<Fit> fits = fit_all(input, questions, sample, train, validation, shape.dim);

  int64_t heads = 0;
  if (input.embedder.attention) {
    const at::NoGradGuard no_grad;
    const int64_t size = input.images->transform.crop;
    heads = input.embedder.attention(at::zeros({1, 3, size, size}, at::kFloat)).size(1);
  }
  const Table table(questions, heads);
  at::Tensor rows = answer(input, questions, fits, shape, table);
  std::vector<int64_t> masked;
  std::vector<int32_t> labels;
  std::vector<uint64_t> ids;
  for (int64_t i = 0; i < rows.size(0); ++i) {
    if (rows.data_ptr<double>()[i * table.width()] == 0) continue;
    masked.push_back(i);
    labels.push_back(data.query_labels[i]);
    ids.push_back(data.queries[i]);
  }
  if (masked.empty()) return left_out("no test image has a mask");
  rows = rows.index_select(0, at::tensor(masked, at::kLong));

  const std::vector<uint32_t> once(masked.size(), 1);
  for (size_t q = 0; q < questions.size(); ++q) {
    const Overlap of_pixels = table.read(rows, q, /*pixels=*/true, once);
    json selection = json::array();
    for (size_t i = 0; i < fits[q].scores.size(); ++i) {
      selection.push_back({{"C", kC[i]}});
      put_number(selection.back(), "miou", fits[q].scores[i], kNothingHeld);
    }
    result.scores[questions[q].name] = {{"C", fits[q].c},
                                        {"chosen_on", fits[q].scores.empty() ? "nothing: no image could be held out"
                                                      : validation           ? "val"
                                                                             : "a fifth of the training images"},
                                        {"selection", std::move(selection)},
                                        {"converged", fits[q].converged},
                                        {"patch", overlap_json(input, questions[q], table.read(rows, q, /*pixels=*/false, once))},
                                        {"pixel", overlap_json(input, questions[q], of_pixels)},
                                        {"all_background", overlap_json(input, questions[q], constant_answer(of_pixels, 0))}};
    if (questions[q].classes == 2)
      result.scores[questions[q].name]["all_object"] = overlap_json(input, questions[q], constant_answer(of_pixels, 1));
  }
  if (heads > 0)
    result.scores["attention"] = attention_json(table, rows, once);
  else
    result.scores["attention"] = {{"left_out", "these features have no attention"}};
  result.figures = resampled(input, questions, table, rows, labels, groups_of(input.dataset, ids));
  for (const ResampledFigure& figure : result.figures) put(result.scores["bootstrap95"], figure.name, percentile_interval(figure.values));
  result.scores["patches"] = {{"grid", {shape.side, shape.side}}, {"dim", shape.dim}};
  result.scores["images"] = {{"train", sample.images()},
                             {"train_patches", sample.targets.size()},
                             {"validation", validation ? validation->images() : 0},
                             {"queries", masked.size()},
                             {"queries_without_mask", data.queries.size() - masked.size()}};
  return result;
}

}  // namespace dinoxx::eval
