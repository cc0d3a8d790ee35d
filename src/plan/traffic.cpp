#include "traffic.hpp"

#include <algorithm>
#include <cmath>

#include "loss/loss_config.hpp"
#include "method/teacher_config.hpp"
#include "train/training_config.hpp"

namespace dinoxx::plan {
namespace {

void add_gradients(const Model& model, const Spread& spread, std::vector<StepCollective>& all) {
  const Policy policy = spread.policy;
  const RankGroup& ranks = spread.ranks;
  const bool shard_in_node = spread.shard_in_node;
  const SharedElements elements = shared_elements(model, spread);
  const double p = elements.travelling, messages = elements.messages;
  const auto c = static_cast<double>(model.compute_bytes());
  const double width = model.config.train->gradients == "bf16" && ranks.size() > 1 ? 2 : 4;
  if (policy == Policy::kDdp) {
    all.push_back({"gradients", Collective::kAllReduce, width * p / messages, messages, Span::kAll, true});
    return;
  }
  const Span span = shard_in_node ? Span::kNode : Span::kAll;
  // without the whole gradient each part of a step is sent by itself
  const double times = policy == Policy::kZero1 ? 1 : static_cast<double>(spread.parts);
  all.push_back({"gradients", Collective::kReduceScatter, width * p / messages, messages * times, span, true});
  if (shard_in_node && ranks.nodes > 1)
    all.push_back({"gradients of the shards, between nodes", Collective::kAllReduce,
                   width * p / messages / static_cast<double>(ranks.per_node), messages * times, Span::kAcross, true});
  if (elements.columns > 0 && shard_in_node && ranks.nodes > 1)
    all.push_back({"gradients of prototypes, between nodes", Collective::kAllReduce,
                   width * elements.columns / static_cast<double>(ranks.per_node), times, Span::kAcross, true});
  all.push_back({"gradient norms", Collective::kAllReduce, 8 * static_cast<double>(model.layout.segments.size()), 1, span});
  // with zero3 the blocks of each network that computes come in each part of a step, the student's forward and backward
  const double moving = policy == Policy::kZero3 ? static_cast<double>(block_elements(model.layout).come_and_go) /
                                                       static_cast<double>(model.parameters) * elements.all() / elements.travelling
                                                 : 0;
  for (const char* what : {"student weights", "average weights"})
    all.push_back({what, Collective::kAllGather, c * p * (1 - moving) / messages, messages, span});
  if (policy != Policy::kZero3) return;
  const auto come = [&](const std::string& what, double times_each, double whole) {
    all.push_back({what, Collective::kAllGather, c * whole * moving / messages, messages * times_each * static_cast<double>(spread.parts),
                   span, true});
  };
  come("student blocks", 2, p);
  if (model.spec.teacher == TeacherPolicy::kEma) come("average blocks", 1, p);
  if (model.spec.teacher == TeacherPolicy::kFrozen) come("frozen teacher's blocks", 1, static_cast<double>(model.frozen_elements));
  if (model.spec.gram) come("Gram teacher's blocks", 1, p);
  if (model.spec.anchor) come("blocks of the anchor", 1, p);
}

// What stands in front of prototypes to the ranks that share them, and the log-sum-exp of each row (step/prototype_exchange.hpp, Scores).
void add_columns(const Model& model, const Spread& spread, std::vector<StepCollective>& all) {
  const MethodSpec& spec = model.spec;
  const LossConfig& loss = *model.config.loss;
  const Resolution& first = model.resolutions.front();
  const Span span = spread.shard_in_node ? Span::kNode : Span::kAll;
  const auto s = static_cast<double>(spread.shards()), c = static_cast<double>(model.compute_bytes()),
             parts = static_cast<double>(spread.parts);
  const auto views = [&](const std::vector<CropGroup>& crops) {
    double sum = 0;
    for (const CropGroup& group : crops) sum += static_cast<double>(group.views);
    return sum;
  };
  // of all ranks that share: images, and the parts in which the loss takes them
  const double images = static_cast<double>(spread.at_once()) * s, student = views(first.student) * images,
               teacher = views(first.teacher) * images;
  const auto times = [&](double rows, double of_index) {
    const auto at_once = static_cast<double>(spread.prototypes.rows_at_once);
    return at_once > 0 ? std::ceil(rows / std::max(1.0, std::floor(at_once / of_index))) : 1.0;
  };
  const auto gather = [&](const char* what, Collective kind, double bytes, double count) {
    all.push_back({what, kind, bytes / std::max(1.0, count), count * parts, span});
  };
  const auto& head = std::get<DinoHeadConfig>(spec.network.head.config);
  const auto& patch_head = std::get<DinoHeadConfig>(spec.network.patch_head.value_or(spec.network.head).config);
  gather("rows in front of prototypes", Collective::kAllGather, c * head.bottleneck_dim * (student + teacher), 2);
  gather("rows in front of prototypes, backward", Collective::kReduceScatter, c * head.bottleneck_dim * student, 1);
  const double calls = times(images, views(first.student));
  gather("log-sum-exps of rows", Collective::kAllGather, 4 * s * (student + teacher), calls * (1 + views(first.student)));
  double terms = 1;
  if (loss.centring == "sinkhorn" && loss.sinkhorn_iterations > 1)
    gather("log-sum-exps for Sinkhorn-Knopp", Collective::kAllGather, 4 * s * teacher * static_cast<double>(loss.sinkhorn_iterations - 1),
           static_cast<double>(loss.sinkhorn_iterations - 1) * times(teacher, 1));
  if (needs(spec, Need::kMasks)) {
    const double masked = first.masked * images;
    terms = 2;
    gather("counts of masked patches", Collective::kAllGather, 8 * s, 1);
    gather("masked patches in front of prototypes", Collective::kAllGather, (2 * c * patch_head.bottleneck_dim + 16) * masked, 3);
    gather("masked patches in front of prototypes, backward", Collective::kReduceScatter, c * patch_head.bottleneck_dim * masked, 1);
    gather("log-sum-exps of patches", Collective::kAllGather, 4 * s * 2 * masked, 2 * times(masked, 1));
    if (loss.patch_centring == "sinkhorn" && loss.sinkhorn_iterations > 1)
      gather("log-sum-exps of patches for Sinkhorn-Knopp", Collective::kAllGather,
             4 * s * masked * static_cast<double>(loss.sinkhorn_iterations - 1),
             static_cast<double>(loss.sinkhorn_iterations - 1) * times(masked, 1));
  }
  gather("figures of losses over prototypes", Collective::kAllReduce, 40 * terms, terms);
}

double figures_of(const MethodSpec& spec) {
  double metrics = 0;
  for (const LossTerm& term : spec.terms) metrics += term.name == "koleo" || term.name == "gram" ? 1 : 3;
  return metrics;
}

}  // namespace

std::vector<StepCollective> collectives_of(const Model& model, const Spread& spread) {
  const MethodSpec& spec = model.spec;
  const LossConfig& loss = *model.config.loss;
  const auto n = static_cast<double>(spread.ranks.size()), images = static_cast<double>(spread.at_once()),
             parts = static_cast<double>(spread.parts);
  std::vector<StepCollective> all;
  add_gradients(model, spread, all);
  all.push_back({"figures", Collective::kAllReduce, 8 * (n + 4 + figures_of(spec)), 1});
  const double width = out_dim(spec.network.head.config), patch_width = out_dim(spec.network.patch_head.value_or(spec.network.head).config);
  const auto rounds = parts * static_cast<double>(1 + loss.sinkhorn_iterations);
  const bool by_columns = shared_elements(model, spread).columns > 0;
  const auto balance = [&](const char* what, double prototypes, double times = 1) {  // by columns among those that have the same ones
    const auto columns = static_cast<double>(column_range(static_cast<int64_t>(prototypes), static_cast<int>(spread.shards()), 0).count);
    if (!by_columns)
      all.push_back({what, Collective::kAllReduce, 4 * prototypes, rounds * times});
    else if (spread.shard_in_node && spread.ranks.nodes > 1)
      all.push_back({what, Collective::kAllReduce, 4 * columns, rounds * times, Span::kAcross});
  };
  if (has_term(spec, "dino") && loss.centring == "sinkhorn") balance("Sinkhorn-Knopp", width);
  if (has_term(spec, "swapped")) balance("Sinkhorn-Knopp", width, spec.views.global_count());  // the codes of each view by themselves
  if (has_term(spec, "patch") && loss.patch_centring == "sinkhorn") balance("Sinkhorn-Knopp of patches", patch_width);
  if (by_columns) add_columns(model, spread, all);
  if (spec.centre) all.push_back({"centre", Collective::kAllReduce, 4 * width, 1});
  if (spec.patch_centre) all.push_back({"patch centre", Collective::kAllReduce, 4 * patch_width, 1});
  const double dim = feature_dim(spec.network.backbone), globals = static_cast<double>(spec.views.global_count());
  if (has_term(spec, "koleo") && loss.koleo_group > spread.at_once())
    for (const auto& [what, kind] : {std::pair{"KoLeo", Collective::kAllGather}, std::pair{"KoLeo, backward", Collective::kReduceScatter}})
      all.push_back({what, kind, 4 * dim * images * n, globals * parts});
  if (compares_ranks(spec)) {
    const double table = 2 * images * n * width;  // in float32
    all.push_back({"outputs of all ranks", Collective::kAllGather, 4 * table, parts});
    all.push_back({"outputs of all ranks, backward", Collective::kReduceScatter, 4 * table, parts});
  }
  const auto both_ways = [&](const char* what, const char* backward, double numbers) {  // float32 of a rank
    all.push_back({what, Collective::kAllGather, 4 * numbers * n, parts});
    all.push_back({backward, Collective::kReduceScatter, 4 * numbers * n, parts});
  };
  if (has_term(spec, "feature") && model.config.teacher->match == "batch")
    all.push_back({"features of the teacher", Collective::kAllGather, 4 * globals * images * width * n, parts});
  if (has_term(spec, "coding_rate")) {
    const double views = spec.teacher == TeacherPolicy::kNone ? static_cast<double>(spec.student_views()) : globals;
    both_ways("rows for the coding rate", "rows for the coding rate, backward", views * images * width);
  }
  if (has_term(spec, "sigreg")) {
    // the real and the imaginary part of the characteristic function at 17 points along each direction
    const double views = has_term(spec, "dino") ? globals : static_cast<double>(spec.student_views());
    both_ways("characteristic functions", "characteristic functions, backward",
              2 * 17 * views * static_cast<double>(loss.sigreg_directions));
  }
  if (has_term(spec, "sketching"))
    both_ways("rows for sketching", "rows for sketching, backward", static_cast<double>(spec.student_views()) * images * width);
  for (const HeadPlan& guide : spec.network.guides)
    all.push_back({"known labels of " + guide.name, Collective::kAllReduce, 8.0 * out_dim(guide.config), parts});
  for (size_t i = spec.network.guides.size(); i < spec.guides; ++i) {
    all.push_back({"column to forget", Collective::kAllGather, 8 * images * n, parts});
    both_ways("features beside a column", "features beside a column, backward", globals * images * dim);
  }
  const auto gathered = [&](const char* what, double norms, double channels, double times) {
    all.push_back({what, Collective::kAllGather, 4 * (2 * channels / norms + 1) * n, norms * times});
  };
  auto norms = static_cast<double>(model.norms), channels = static_cast<double>(model.norm_channels);
  for (const auto* head : {&spec.network.head, spec.network.patch_head ? &*spec.network.patch_head : nullptr}) {
    const auto* const dino = head ? std::get_if<DinoHeadConfig>(&head->config) : nullptr;
    if (!dino || !dino->batch_norm || dino->layers < 2) continue;
    // all views together, and the masked patches by themselves
    const double own = dino->layers - 1, masked = needs(spec, Need::kMasks) ? 1 : 0, whole = own * dino->hidden_dim;
    const bool of_views = head == &spec.network.head, of_patches = !of_views || !spec.network.patch_head;
    const double times = (of_views ? 1 : 0) + (of_patches ? masked : 0);
    const double mean = of_patches && needs(spec, Need::kPatchMean) ? 1 : 0;
    gathered("batch statistics of a head", own, whole, times * parts);
    if (spec.teacher == TeacherPolicy::kEma) gathered("batch statistics of the teacher's head", own, whole, (times + mean) * parts);
    all.push_back({"batch statistics of a head, backward", Collective::kAllReduce, 8.0 * dino->hidden_dim, own * times * parts});
    norms -= own;
    channels -= whole;
  }
  if (norms > 0) {
    // each view of each network by itself: mean and variance of every channel with the count, and their two gradients
    const auto views = static_cast<double>(model.resolutions.front().student.size());
    const auto teacher = static_cast<double>(model.resolutions.front().teacher.size());
    gathered("batch statistics", norms, channels, views * parts);
    if (teacher > 0)
      gathered("batch statistics of the teacher", norms - static_cast<double>(model.predictor_norms),
               channels - static_cast<double>(model.predictor_channels), teacher * parts);
    all.push_back({"batch statistics, backward", Collective::kAllReduce, 8 * channels / norms, norms * views * parts});
  }
  return all;
}

RankGroup group_of(Span span, const RankGroup& ranks) {
  if (span == Span::kNode) return {1, ranks.per_node};
  return span == Span::kAcross ? RankGroup{ranks.nodes, 1} : ranks;
}

double tensor_bytes(const std::vector<StepCollective>& collectives) {
  double sum = 0;
  for (const StepCollective& collective : collectives) sum += collective.bytes * collective.count;
  return sum;
}

double call_count(const std::vector<StepCollective>& collectives) {
  double sum = 0;
  for (const StepCollective& collective : collectives) sum += collective.count;
  return sum;
}

double sent_bytes(const StepCollective& collective, const RankGroup& ranks) {
  return collective.count * sent_bytes(collective.kind, collective.bytes, group_of(collective.span, ranks).size());
}

double sent_bytes(const std::vector<StepCollective>& collectives, const RankGroup& ranks) {
  double sum = 0;
  for (const StepCollective& collective : collectives) sum += sent_bytes(collective, ranks);
  return sum;
}

}  // namespace dinoxx::plan
