// Every key of the configuration is read by a run, or refused by name: no value is set in vain.
#include <ATen/ATen.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>

#include <map>
#include <set>

#include "dinoxx/base/error.hpp"
#include "dinoxx/comm/self_communicator.hpp"
#include "golden.hpp"
#include "loss/loss_config.hpp"
#include "method/guides/guide_config.hpp"
#include "method/methods.hpp"
#include "method/settings/resolve.hpp"
#include "method/settings/unread_keys.hpp"
#include "model/heads/head_config.hpp"
#include "model/weights/backbone_json.hpp"
#include "optim/optim_config.hpp"
#include "step/train_state.hpp"
#include "train/training_config.hpp"

namespace dinoxx {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr uint64_t kImages = 60;

Config from_text(const std::string& text) {
  Config config = default_config();
  apply_settings(config, parse_settings(text, "test.cfg"));
  return config;
}

// What start-up does with the keys of a configuration.
std::string start(const Config& given, uint64_t images = 1000) {
  try {
    refuse_unread_keys(given, images, 8, 2);
    resolve_config(given, images, 8, nullptr, 2);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "accepted";
}

std::string of_method(const std::string& method) {
  return fmt::format("[train]\nmethod = {}\n{}", method,
                     find_method(method).teacher == TeacherPolicy::kFrozen ? "[teacher]\ndistill = somewhere\n" : "");
}

const Field& field_of(const std::string& key) {
  for (const Field& field : config_fields())
    if (field.key == key) return field;
  throw std::invalid_argument(key);
}

std::string with(const std::string& method, const std::string& key, const std::string& value) {
  Config config = from_text(of_method(method));
  field_of(key).set(config, value);
  return start(config);
}

TEST(UnreadKeys, AreRefusedByName) {
  for (const auto& [method, key, value, readers] : std::vector<std::array<std::string, 4>>{
           {"dino", "loss.temp", "0.7", "simclr"},
           {"dino", "gram.start", "5it", "gram.weight is above 0"},
           {"dino", "gram.teacher", "somewhere", "gram.weight is above 0"},
           {"dino", "gram.size", "256", "gram.weight is above 0"},
           {"dino", "model.recompute_every", "2", "model.recompute is not none"},
           {"dino", "head.predictor_hidden_dim", "64", "byol"},
           {"dino", "head.patch_out_dim", "77", "loss.patch_weight is above 0"},
           {"dino", "mask.ratio_max", "0.4", "mask.scheme is not none"},
           {"dino", "loss.koleo_top_k", "3", "loss.koleo_weight is above 0"},
           {"dino", "loss.sigreg_directions", "64", "loss.sigreg_weight is above 0"},
           {"simdino", "head.out_dim", "64", "dino, ibot"},
           {"simdino", "loss.koleo_weight", "1", "dino, ibot"},
           {"lejepa", "teacher.momentum", "0.9", "byol"},
           {"lejepa", "head.batch_norm", "yes", "dino, ibot"},
           {"vicreg", "loss.redundancy_weight", "0.1", "barlow_twins"},
           {"vicreg", "loss.temp", "0.7", "simclr"},
           {"barlow_twins", "loss.variance_weight", "1", "vicreg"},
           {"barlow_twins", "head.bottleneck_dim", "64", "dino, ibot"},
           {"swav", "teacher.temp", "0.05", "dino, ibot"},
           {"swav", "loss.rows_at_once", "64", "dino, ibot"},
           {"dino", "loss.codes_temp", "0.1", "swav"},
           {"emp_ssl", "teacher.momentum", "0.9", "byol"},
           {"emp_ssl", "head.bottleneck_dim", "64", "dino, ibot"},
           {"vicreg", "loss.coding_eps", "0.1", "simdino, simdinov2, emp_ssl"},
           {"simdinov2", "head.out_dim", "64", "dino, ibot"},
           {"simdinov2", "loss.koleo_weight", "1", "dino, ibot"},
           {"lejepa", "loss.sketch_shape", "2", "visreg"},
           {"visreg", "loss.sigreg_weight", "0.1", "dino, ibot"},
           {"dino", "guide.learn_weight", "1", "guide.learn is set"},
           {"dino", "guide.ramp", "5it", "guide.learn is set"},
           {"dino", "teacher.distill", "somewhere", "distill"},
           {"ibot", "head.patch_out_dim", "77", "head.shared is no"},
           {"ibot", "mask.shift", "yes", "mask.scheme is dinov2 or dinov3"},
           {"simclr", "head.layers", "7", "dino, ibot"},
           {"simclr", "head.bottleneck_dim", "3", "dino, ibot"},
           {"simclr", "loss.student_temp", "5", "dino, ibot"},
           {"simclr", "teacher.momentum", "0.9", "byol"},
           {"simclr", "optim.freeze_last_layer", "5it", "dino, ibot"},
           {"byol", "mask.scheme", "dinov2", "dino, ibot"},
           {"byol", "gram.weight", "1", "dino, ibot"},
           {"byol", "loss.patch_weight", "1", "dino, ibot"},
           {"byol", "loss.koleo_weight", "1", "dino, ibot"},
           {"byol", "loss.centring", "sinkhorn", "dino, ibot"},
           {"byol", "loss.local_weight", "0.5", "dino, ibot"},
           {"byol", "head.norm_output", "yes", "simclr"},
           {"byol", "optim.beta1", "0.8", "optim.name is adamw"},
       }) {
    EXPECT_THAT(with(method, key, value), AllOf(HasSubstr(key + ": expected no value for"), HasSubstr(readers), HasSubstr("found " + value),
                                                HasSubstr("Leave it out")))
        << method;
  }
}

TEST(UnreadKeys, OfANetwork) {
  const auto resnet = [](const std::string& text) { return start(from_text("[model]\narch = resnet18\n" + text)); };
  EXPECT_EQ(resnet(""), "accepted");
  for (const char* key : {"dim = 64", "dim = 64\ndepth = 4"}) EXPECT_EQ(resnet(fmt::format("{}\n", key)), "accepted");
  EXPECT_THAT(start(from_text("[model]\narch = convnext_tiny\ndim = 64\n")), HasSubstr("model.arch is no ConvNeXt"));
  for (const char* key : {"heads = 2", "mlp_ratio = 2", "registers = 4", "recompute = block", "style = dinov2", "patch_size = 8",
                          "fit = crop", "image_size = 64", "drop_path = 0.3", "rope_shift = 0.1"})
    EXPECT_THAT(resnet(fmt::format("{}\n", key)),
                HasSubstr(fmt::format("model.{}: expected no value", std::string(key).substr(0, std::string(key).find(' ')))));
}

// Weights come and go by the blocks of a vision transformer, whatever is computed again.
TEST(SharedWeights, OfVisionTransformersAlone) {
  const std::string zero3 = "[parallel]\nsync = zero3\n";
  for (const char* model : {"", "recompute = attention\n", "recompute = block\nrecompute_every = 2\n", "style = dinov3\n"})
    EXPECT_EQ(start(from_text(zero3 + "[model]\n" + model)), "accepted") << model;
  for (const char* arch : {"resnet18", "convnext_tiny"}) {
    const std::string model = fmt::format("[model]\narch = {}\n", arch);
    EXPECT_THAT(start(from_text(model + zero3)),
                AllOf(HasSubstr("parallel.sync = zero3"), HasSubstr("a vision transformer"), HasSubstr(arch), HasSubstr("zero2")));
    EXPECT_EQ(start(from_text(model + "[parallel]\nsync = zero2\n")), "accepted");
  }
}

// Default values, and what "auto" becomes, are no settings: a file that lists them is accepted.
TEST(UnreadKeys, ADefaultIsNotSet) {
  EXPECT_EQ(with("dino", "loss.temp", "0.2"), "accepted");
  EXPECT_EQ(with("dino", "gram.start", "0it"), "accepted");
  EXPECT_EQ(with("simclr", "teacher.momentum", "auto"), "accepted");
  EXPECT_EQ(with("simclr", "teacher.momentum", "0"), "accepted") << "what it becomes";
  EXPECT_EQ(with("byol", "loss.centring", "centre"), "accepted");
}

// A run's config.cfg has every key: it is accepted for the run to go on, with other images, ranks and lengths, and it hides no mistake.
TEST(UnreadKeys, ASavedConfigurationIsAccepted) {
  for (const Method& method : methods())
    for (const char* arch : {"vit_small", "resnet18"}) {
      Config saved = from_text(fmt::format("[model]\narch = {}\n", arch) + of_method(method.name));
      if (start(saved) != "accepted") continue;  // iBOT without patches
      saved = from_text(print_config(resolve_config(saved, 1000, 8, nullptr, 2)));
      EXPECT_EQ(start(saved), "accepted") << method.name << ", " << arch;
      EXPECT_EQ(start(saved, 50'000), "accepted") << method.name << ", " << arch;
      Config longer = saved;
      longer.train->length = Duration::parse("200ep");
      longer.head->out_dim = 48;
      EXPECT_EQ(start(longer), "accepted") << method.name << ", " << arch;
      Config changed = saved;
      const bool simclr = reads(method, field_of("loss.temp"));
      (simclr ? changed.loss->student_temp : changed.loss->temp) = 0.7;
      EXPECT_THAT(start(changed), HasSubstr(simclr ? "loss.student_temp: expected no value" : "loss.temp: expected no value"));
    }
  EXPECT_EQ(start(from_text(print_config(default_config()))), "accepted") << "as --print-config prints it";
}

TEST(UnreadKeys, OneResolutionOrSeveral) {
  const std::string sizes = "[views]\nsizes = 224x96x0:1, 240x96x0:1\n";
  EXPECT_EQ(start(from_text(sizes)), "accepted");
  EXPECT_THAT(start(from_text(sizes + "global_size = 240\n")), HasSubstr("views.global_size: expected no value"));
  EXPECT_THAT(start(from_text(sizes + "local_size = 48\n")), HasSubstr("views.local_size: expected no value"));
  EXPECT_EQ(start(from_text(sizes + "sizes_by = time\n")), "accepted");
  EXPECT_THAT(start(from_text("[views]\nsizes_by = time\n")), HasSubstr("views.sizes_by: expected no value"));
  EXPECT_THAT(start(from_text("[views]\nsizes = 224x96x0:1, 224x96x256:1\n")), HasSubstr("views.sizes, 224x96x256:1 (gram.size)"));
}

TEST(Names, AreRefusedWhereTheyStand) {
  const auto refusal = [](const std::string& text) -> std::string {
    try {
      check_names(parse_settings(text, "test.cfg"));
    } catch (const UsageError& error) {
      return error.what();
    }
    return "accepted";
  };
  EXPECT_THAT(refusal("[train]\nmethod = dimo\n"),
              AllOf(HasSubstr("test.cfg:2"), HasSubstr("train.method"), HasSubstr("Did you mean dino?")));
  EXPECT_THAT(refusal("[views]\nprofile = simcrl\n"), AllOf(HasSubstr("test.cfg:2"), HasSubstr("Did you mean simclr?")));
  EXPECT_EQ(refusal("[views]\nprofile = auto\n[train]\nmethod = byol\n"), "accepted");
}

// A key that is spelled wrong in a method's list would refuse a good setting.
TEST(Methods, ListKeysThatExist) {
  for (const Method& method : methods())
    for (const std::string& pattern : method.reads) {
      Method one;
      one.reads = {pattern};
      int found = 0;
      for (const Field& field : config_fields()) found += field.of_method && reads(one, field);
      EXPECT_GT(found, 0) << method.name << ": " << pattern;
    }
  for (const Field& field : config_fields()) {
    int readers = 0;
    for (const Method& method : methods()) readers += reads(method, field);
    EXPECT_GT(readers, 0) << field.key << " is read by no method";
  }
}

// --- each key changes something that a run is built of, or is refused -------------------------------------------------------------------

LossInputs loss_inputs(const std::shared_ptr<Communicator>& comm) {
  constexpr int64_t views = 4, globals = 2, batch = 12, prototypes = 16, patches = 9, dim = 8;
  LossInputs in;
  in.student.logits = golden::uniform("s", {views, batch, prototypes});
  in.student.projections = golden::uniform("z", {views, batch, prototypes});
  in.teacher.logits = golden::uniform("t", {globals, batch, prototypes});
  in.student.features = golden::uniform("f", {views, batch, dim});
  in.student.patches = golden::uniform("p", {globals * batch, patches, dim});
  in.gram_patches = golden::uniform("g", {globals * batch, patches, dim});
  in.anchor_features = golden::uniform("af", {globals, batch, dim});
  in.anchor_patches = golden::uniform("ap", {globals * batch, patches, dim});
  in.teacher.features = golden::uniform("tf", {globals, batch, prototypes});
  in.teacher.patches = golden::uniform("tp", {globals * batch, patches, prototypes});
  in.student.patch_logits = golden::uniform("sp", {globals * batch * patches, prototypes});
  in.centre = golden::uniform("c", {prototypes});
  in.patch_centre = golden::uniform("pc", {prototypes});
  at::Tensor masked = at::zeros({globals * batch, patches}, at::kBool);
  masked.slice(1, 0, 4) = true;
  in.masks.masked = in.masks.on_host = masked;
  in.masks.rows = at::nonzero(masked.flatten()).flatten();
  const int64_t rows = in.masks.rows.size(0);
  in.masks.weights = at::full({rows}, 0.25, at::kDouble);
  in.masks.slots = in.masks.rows.div(patches, "floor").remainder(batch);
  in.student_scores = {in.student.logits, golden::uniform("ps", {rows, prototypes})};
  in.teacher_scores = {in.teacher.logits, golden::uniform("pt", {rows, prototypes})};
  in.patch_mean = golden::uniform("pm", {1, prototypes});
  in.masks.crops = globals * batch;
  in.global_views = globals;
  in.values.teacher_temp = 0.05;
  in.values.patch_teacher_temp = 0.06;
  in.values.local_weight = 0.7;
  in.comm = comm.get();
  return in;
}

std::string text(const ProjectionConfig& head) {
  if (const auto* h = std::get_if<DinoHeadConfig>(&head))
    return fmt::format("{} {} {} {} {} {} {}", h->in_dim, h->hidden_dim, h->bottleneck_dim, h->out_dim, h->layers, h->weight_norm,
                       h->batch_norm);
  const auto& h = std::get<MlpHeadConfig>(head);
  return fmt::format("{} {} {} {} {} {} {}", h.in_dim, h.hidden_dim, h.out_dim, h.norm_output, h.layers, h.output_bias, h.hidden_norm);
}

double value_of(const at::Tensor& t) {
  return t.defined() ? (t.to(at::kDouble).flatten() * at::arange(1, t.numel() + 1, at::kDouble)).sum().item<double>() : 0;
}

// The parameters of a network; built once for each.
const ParamLayout& layout_of(const MethodSpec& spec, const std::string& network) {
  static std::map<std::string, ParamLayout> known;
  const auto found = known.find(network);
  if (found != known.end()) return found->second;
  return known.emplace(network, ParamLayout::build(Network(spec.network, at::kFloat).parameters(), 4 << 20, spec.norm_last_layer))
      .first->second;
}

// All that a run is made of, as text: views, network, masks, losses on given outputs along the schedules, optimizer, rules of the
// parameters. Only what is used: of the optimizer the numbers of the one that is named, of the teacher what there is where there is one.
std::string built(const Config& config) {
  const MethodSpec spec = make_method(config);
  std::string all;
  const auto add = [&](const auto&... parts) {
    ((all += fmt::format("{} ", parts)), ...);
    all += '\n';
  };
  for (const ViewPlan& plan : spec.plans()) add(plan.share, plan.describe());
  add(to_json(spec.network.backbone).dump(), spec.norm_last_layer, spec.rows_at_once);
  for (const auto& head : {std::optional(spec.network.head), spec.network.patch_head, spec.network.predictor})
    if (head) add(head->name, text(head->config));
  for (const HeadPlan& guide : spec.network.guides) add(text(guide.config));
  add(config.guide->learn, config.guide->forget);
  const std::string network = all;
  if (spec.masks) {
    const MaskSpec& m = spec.masks->spec;
    add(static_cast<int>(m.kind), m.probability, m.ratio_min, m.ratio_max, m.shift, m.group_size,
        fmt::format("{}", fmt::join(m.ratios, ",")), fmt::format("{}", fmt::join(m.variances, ",")), spec.masks->patch_size);
  }
  if (spec.gram) add(spec.gram->source);
  const RuleOptions plain = rule_options(config, false), frozen = rule_options(config, true);
  const ParamLayout& layout = layout_of(spec, network);
  const auto rules = [&](const RuleOptions& options) {
    for (const SegmentRule& r : segment_rules(layout, options)) add(r.lr_scale, r.wd_scale, r.adapt, r.frozen);
  };
  rules(plain);
  rules(frozen);
  if (*config.optim->clip > 0) add(*config.optim->clip, config.optim->clip_by);
  const OptimizerConfig o = optimizer_config(config);
  add(o.name);
  if (o.name == "adamw") add(o.adamw.beta1, o.adamw.beta2);
  if (o.lora) add(o.lora->rank, o.lora->alpha);
  if (const std::optional<Thaw> thaw = thaw_of(config)) add(thaw->last_blocks, thaw->block_matrices);
  if (o.name == "sgd") add(o.sgd.momentum);
  if (o.name == "lars") add(o.lars.momentum, o.lars.trust, o.lars.clip_lr);

  const Schedules schedules(config, kImages);
  static const std::shared_ptr<Communicator> comm = make_self_communicator();
  static const LossInputs given = loss_inputs(comm);
  for (int64_t step = 0; step < schedules.total_steps(); ++step) {
    const StepValues v = schedules.at(step, static_cast<uint64_t>(step) * 12);
    add(v.lr, v.weight_decay, v.thawed, v.hold_backbone);
    if (spec.teacher != TeacherPolicy::kNone) add(v.momentum);
    if (spec.gram) add(v.refresh_gram);
    if (!spec.network.guides.empty()) add(v.guide);
    bool last_layer = false;
    for (const Segment& segment : layout.segments) last_layer = last_layer || segment.last_layer;
    if (last_layer) add(v.freeze_last_layer);
    for (const LossTerm& term : spec.terms) {
      add(term.weight(v));
      if (step != 1 && step != 12) continue;  // the losses themselves take time
      LossInputs in = given;
      in.values = v;
      if (spec.masks && !spec.network.patch_head) {  // through one head, and compared as they are
        in.student.patch_logits = golden::uniform("ps", {in.masks.rows.size(0), 16});
        in.teacher.patch_logits = golden::uniform("pt", {in.masks.rows.size(0), 16});
      }
      for (size_t i = 0; i < spec.guides; ++i) {
        const auto& outputs = config.guide->outputs;
        in.guide_targets.push_back(at::arange(12, at::kLong).remainder(outputs && i < outputs->size() ? (*outputs)[i] : 1));
      }
      in.guide_head = [&](size_t guide, const at::Tensor& rows) {
        const HeadPlan& plan = spec.network.guides.at(guide);
        return rows.matmul(golden::uniform(plan.name, {rows.size(1), out_dim(plan.config)}).to(rows.scalar_type()));
      };
      if (spec.split_views) in.student.logits = in.student.logits.narrow(0, 0, 2);
      if (spec.split_views) in.student.projections = in.student.projections.narrow(0, 0, 2);
      // without local crops the student has the global ones alone
      if (spec.student_views() == 2) in.student_scores.views = in.student.logits.narrow(0, 0, 2);
      const LossOutputs out = term.loss(in);
      add(term.name, value_of(out.loss));
      for (const CentreSum* sum : {&out.centre, &out.patch_centre})
        if (sum->sum.defined()) add(value_of(sum->sum), config.loss->centre_momentum);
    }
  }
  return all;
}

// Values to try: the first that the key takes and that is another than the run's.
std::vector<std::string> candidates(const Field& field) {
  static const std::map<std::string, std::vector<std::string>> special = {
      {"model.heads", {"4"}},
      {"model.dim", {"48"}},
      {"model.image_size", {"24"}},
      {"model.norm_eps", {"0.01"}},
      {"model.patch_size", {"8", "2"}},
      {"views.sizes", {"16x8x0:0.5, 24x8x0:0.5"}},
      {"views.global_size", {"24"}},
      {"views.local_size", {"12"}},
      {"mask.group_size", {"3"}},
      {"mask.probability", {"1"}},
      {"loss.koleo_group", {"3"}},
      {"gram.group_size", {"4", "2"}},
      {"gram.size", {"32"}},
      {"gram.teacher", {"elsewhere"}},
      {"gram.start", {"5it"}},
      {"gram.first", {"1it"}},
      {"optim.decay", {"5it"}},
      {"guide.outputs", {"4,1"}},
  };
  if (const auto found = special.find(field.key); found != special.end()) return found->second;
  std::vector<std::string> values{"no", "yes", "3it", "7it", "2", "3", "0.3", "1.5", "0.7", "elsewhere"};
  for (size_t begin = 0, end = 0; end != std::string::npos; begin = end + 1) {
    end = field.type.find('|', begin);
    values.push_back(field.type.substr(begin, end == std::string::npos ? end : end - begin));
  }
  return values;
}

// What reads these is the loop, the loader or who loads weights; not what a method is built of (model.activation: refusals_test.cpp).
bool is_of_the_loop(const std::string& key) {
  static const std::set<std::string> loaded{"model.init_from",  "teacher.distill", "teacher.facts",         "views.profile", "init.alarm",
                                            "model.activation", "model.arch",      "head.shard_prototypes", "views.sizes_by"};
  for (const char* section : {"train.", "parallel.", "data.", "checkpoint.", "eval."})
    if (key.starts_with(section) && key != "train.batch_size" && key != "train.length") return true;
  return loaded.contains(key);
}

struct Base {
  std::string name, text;
};

// Each method as it comes, and with what else it can have, so that every key is read somewhere.
std::vector<Base> bases(const Method& method) {
  std::string tiny = of_method(method.name) + "[train]\nlength = 20it\nbatch_size = 12\n[views]\nglobal_size = 16\n";
  if (method.defaults.local_count > 0) tiny += "local_size = 8\nlocal_count = 2\n";
  const std::string vit = "[model]\narch = vit_tiny\ndim = 32\ndepth = 2\nheads = 2\npatch_size = 4\n";
  tiny += "[head]\nhidden_dim = 16\n[model]\ninit_from = somewhere\n";
  if (reads(method, field_of("head.out_dim"))) tiny += "[head]\nout_dim = 24\n";
  if (reads(method, field_of("head.bottleneck_dim"))) tiny += "[head]\nbottleneck_dim = 12\n";
  if (reads(method, field_of("teacher.temp"))) tiny += "[teacher]\ntemp = 0.07\nwarmup_temp = 0.03\n";
  std::vector<Base> all{{"as it comes", vit + tiny}};
  if (method.name == methods().front().name)
    all.push_back({"of style dinov3", vit + "style = dinov3\nregisters = 1\ndrop_path = 0.2\nrecompute = attention\n" + tiny});
  if (method.defaults.mask == "none") all.push_back({"on a ResNet", "[model]\narch = resnet18\n" + tiny});
  if (method.name == methods().front().name)
    all.push_back({"from other weights", vit + tiny + "[init]\nanchor = 0.5\nlora_rank = 4\nheads_only = 2it\nunfreeze = 3it\n"});
  if (method.name == methods().front().name)
    all.push_back({"with guides", vit + tiny + "[guide]\nlearn = kind\nforget = dose:number\noutputs = 3,1\n"});
  if (method.name == methods().front().name) all.push_back({"sgd", vit + tiny + "[optim]\nname = sgd\n"});
  if (method.defaults.optimizer != "adamw") all.push_back({"adamw", vit + tiny + "[optim]\nname = adamw\n"});
  if (reads(method, field_of("gram.weight")))
    all.push_back({"with every loss",
                   vit + tiny +
                       "[mask]\nscheme = dinov2\ngroup_size = 4\n[gram]\nweight = 1\nteacher = somewhere\nstart = 3it\nramp = 2it\n"
                       "first = 4it\nevery = 2it\nmax_updates = 2\nsize = 24\ngroup_size = 3\n[loss]\npatch_weight = 1\nkoleo_weight = "
                       "0.1\nsigreg_weight = 0.1\n"
                       "centring = centre\npatch_centring = sinkhorn\n[head]\nshared = no\n"});
  return all;
}

TEST(EveryKey, ChangesWhatIsBuiltOrIsRefused) {
  std::map<std::string, int> effective;
  for (const Method& method : methods())
    for (const Base& base : bases(method)) {
      const Config given = from_text(base.text);
      ASSERT_EQ(start(given, kImages), "accepted") << method.name << " " << base.name;
      const Config before = resolve_config(given, kImages, 8, nullptr, 2);
      const std::string was = built(before);
      for (const Field& field : config_fields()) {
        if (is_of_the_loop(field.key)) continue;
        bool tried = false;
        for (const std::string& value : candidates(field)) {
          Config changed = given;
          try {
            field.set(changed, value);
          } catch (const std::invalid_argument&) {
            continue;
          }
          if (field.get(changed) == field.get(before) || field.get(changed) == field.get(given) || field.get(changed) == "auto") continue;
          SCOPED_TRACE(fmt::format("{} {}: {} = {} instead of {}", method.name, base.name, field.key, value, field.get(before)));
          if (const std::string answer = start(changed, kImages); answer != "accepted") {
            tried = tried || answer.find(field.key) != std::string::npos;
            if (tried) break;
            continue;  // refused for what it does to another key: the next value
          }
          std::string is;
          try {
            is = built(resolve_config(changed, kImages, 8, nullptr, 2));
          } catch (const UsageError& error) {
            tried = tried || std::string(error.what()).find("local crops") != std::string::npos;  // by a profile of two views
            continue;
          }
          tried = true;
          EXPECT_NE(is, was) << "a key without effect is accepted";
          ++effective[field.key];
          break;
        }
        EXPECT_TRUE(tried) << method.name << " " << base.name << ": no value of " << field.key << " could be tried";
      }
    }
  for (const Field& field : config_fields())
    if (!is_of_the_loop(field.key)) EXPECT_GT(effective[field.key], 0) << field.key << " is refused in every run";
}

}  // namespace
}  // namespace dinoxx
