#include "plan_options.hpp"

#include <fmt/format.h>

#include <cmath>

#include "config/config_fields.hpp"
#include "config/config_options.hpp"
#include "dinoxx/base/error.hpp"
#include "dinoxx/data_pipeline/dataset.hpp"
#include "method/settings/resolve.hpp"
#include "method/settings/unread_keys.hpp"

namespace dinoxx {
namespace {

namespace po = boost::program_options;

constexpr uint64_t kImageNet = 1'281'167;

// boost's own reader of optional numbers takes no value_name
template <class Number = double>
po::typed_value<Number>* number(std::optional<Number>& to, const char* name) {
  return po::value<Number>()->value_name(name)->notifier([&to](Number value) { to = value; });
}

double positive(const char* key, double value) {
  if (!std::isfinite(value) || value <= 0) fail_usage(key, "a number above 0", fmt::format("{}", value), "See \"dinoxx plan --help\"");
  return value;
}

}  // namespace

void PlanLine::add_to(po::options_description& own) {
  own.add_options()("help,h", "this text")("config", po::value(&config_)->value_name("FILE"),
                                           "the configuration, where no word in front names it")(
      "set", po::value(&set_)->value_name("KEY=VALUE"), "a key of the configuration; --section.key VALUE is the same")(
      "nodes", po::value(&nodes_)->value_name("N")->default_value(nodes_), "nodes of the job")(
      "gpus-per-node", po::value(&per_node_)->value_name("G")->default_value(per_node_), "GPUs of a node, one rank each")(
      "gpu", po::value(&gpu_)->value_name("NAME|FILE")->default_value(gpu_),
      "a100, h100, h200, or a file that describes another device (docs/plan.md)")(
      "link-node", number(link_node_, "GB/s"), "that a GPU reaches to others of its node")("link-across", number(link_across_, "GB/s"),
                                                                                           "that a GPU reaches to other nodes")(
      "mfu", number(mfu_, "SHARE"), "of the GPU's rate that a step reaches, measured; without it a roofline says")(
      "policy", po::value(&policy_)->value_name("NAME"), "ddp, zero1, zero2 or zero3; without it the plan chooses")(
      "shards", po::value(&shards_)->value_name("auto|all|node")->default_value(shards_),
      "ranks that share the state of zero1, zero2 and zero3: all, those of each node, or what is better")(
      "data", po::value(&data_)->value_name("DATA"), "packed images: their number and size")(
      "images", number(images_, "N"), "training images, where there is no --data; else those of ImageNet-1k")(
      "image-kb", number(image_kb_, "KB"), "of an encoded image, mean; without it 108 for photographs, as --data has it")(
      "decode", number(decode_, "IMAGES/S"), "that one core loads, crops and all; without it by the measurements of docs/bench_loader.md")(
      "cores-per-node", number(cores_, "N"), "for loading; without it as many as that takes")(
      "write", po::value(&write_)->value_name("MB/S")->default_value(write_), "that all ranks together write to the file system")(
      "mtbf-hours", po::value(&mtbf_hours_)->value_name("H")->default_value(mtbf_hours_), "mean time between failures of one node")(
      "restart-minutes", po::value(&restart_minutes_)->value_name("M")->default_value(restart_minutes_), "from a failure to the next step")(
      "price", po::value(&price_)->value_name("P"), "of a GPU for an hour")("teacher-arch", po::value(&teacher_arch_)->value_name("ARCH"),
                                                                            "of a distillation's frozen teacher, as vit_giant2")(
      "json", po::value(&json_)->value_name("FILE"), "everything as JSON")("html", po::value(&html_)->value_name("FILE"),
                                                                           "a page with charts, one file without scripts");
}

void PlanLine::take_config(std::vector<std::string>& words) {
  if (words.size() < 2 || words[1].starts_with("-")) return;
  word_ = words[1];
  words.erase(words.begin() + 1);
}

Config PlanLine::configuration(const std::vector<Setting>& typed) const {
  Config config = default_config();
  if (!word_.empty() && !config_.empty())
    fail_usage("dinoxx plan", "one configuration", fmt::format("{} and --config {}", word_, config_), "Name one of them");
  const std::string file = word_.empty() ? config_ : word_;
  if (file.empty())
    fail_usage("dinoxx plan", "a configuration", "none", "Name one: dinoxx plan configs/dinov2_vitl14.cfg --nodes 4 --gpus-per-node 8");
  std::vector<Setting> settings = read_settings(file);
  check_names(settings);
  apply_settings(config, settings);
  settings.clear();
  for (const std::string& text : set_) {
    const size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0)
      fail_usage("--set", "KEY=VALUE", fmt::format("\"{}\"", text), "As --set model.recompute=block");
    settings.push_back({text.substr(0, equals), text.substr(equals + 1), "--set"});
  }
  settings.insert(settings.end(), typed.begin(), typed.end());
  check_names(settings);
  apply_settings(config, settings);
  return config;
}

void PlanLine::look_at_data(plan::Request& request) {
  if (!data_.empty()) {
    if (!std::filesystem::exists(data_))
      fail_usage("--data", "a folder made by \"dinoxx pack\"", fmt::format("no {}", data_), "Pack the images first, or name --images");
    const auto dataset = Dataset::open(data_);
    const std::vector<uint64_t> ids = dataset->ids(Split::kTrain);
    if (ids.empty()) fail_usage(data_, "images in the split \"train\"", "none", "Pack images into a train folder, or name --images");
    request.images = ids.size();
    double bytes = 0;
    std::vector<uint8_t> encoded;
    const size_t step = std::max<size_t>(ids.size() / 256, 1);
    size_t looked = 0;
    for (size_t i = 0; i < ids.size(); i += step, ++looked) {
      dataset->read(ids[i], encoded);
      bytes += static_cast<double>(encoded.size());
    }
    request.image_bytes = bytes / static_cast<double>(looked);
  }
  if (images_ && *images_ < 1) fail_usage("--images", "1 or more", std::to_string(*images_), "Say how many images the training set has");
  if (images_) request.images = static_cast<uint64_t>(*images_);
  if (request.images > 0) return;
  request.images = kImageNet;
  notes_.push_back(fmt::format("{} training images, those of ImageNet-1k; --images or --data say another number", kImageNet));
}

plan::Request PlanLine::request(Config& config, const std::vector<Setting>& typed) {
  config = configuration(typed);
  plan::Request request;
  request.config = word_.empty() ? config_ : word_;
  request.gpu = plan::gpu_facts(gpu_);
  if (link_node_) request.gpu.link_node = 1e9 * positive("--link-node", *link_node_);
  if (link_across_) request.gpu.link_across = 1e9 * positive("--link-across", *link_across_);
  request.nodes = nodes_;
  request.per_node = per_node_;
  if (image_kb_) request.image_bytes = 1e3 * positive("--image-kb", *image_kb_);
  look_at_data(request);
  request.mfu = mfu_;
  request.images_per_core = decode_;
  if (cores_ && *cores_ < 1)
    fail_usage("--cores-per-node", "1 or more", std::to_string(*cores_), "Leave it out where loading takes what it needs");
  request.cores_per_node = cores_.value_or(0);
  request.write_rate = 1e6 * positive("--write", write_);
  request.node_mtbf = 3600 * positive("--mtbf-hours", mtbf_hours_);
  request.restart = 60 * positive("--restart-minutes", restart_minutes_);
  if (price_ < 0 || !std::isfinite(price_))
    fail_usage("--price", "0 or more", fmt::format("{}", price_), "Give what a GPU costs for an hour");
  request.price = price_;
  if (!policy_.empty()) request.policy = plan::policy_from_name(policy_);
  if (shards_ != "auto" && shards_ != "all" && shards_ != "node")
    fail_usage("--shards", "auto, all or node", fmt::format("\"{}\"", shards_), "See docs/plan.md");
  if (shards_ != "auto") request.shard_in_node = shards_ == "node";
  plan::check_request(config, request);
  config = resolve_config(config, request.images, 1, nullptr, static_cast<int>(request.nodes * request.per_node));
  return request;
}

}  // namespace dinoxx
