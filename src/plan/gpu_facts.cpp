#include "gpu_facts.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <cstdlib>
#include <set>

#include "config/config.hpp"
#include "dinoxx/base/error.hpp"

namespace dinoxx::plan {
namespace {

constexpr double kGiB = 1024.0 * 1024 * 1024;

// Data sheets of NVIDIA A100 80GB SXM, H100 SXM and H200 SXM: dense rates (half of those "with sparsity"), memory bandwidth, NVLink in one
// direction (300 and 450 GB/s) and one network adapter for each device as in DGX A100 (200 Gb/s) and DGX H100 (400 Gb/s). Of links the
// table has 0.8, about what NCCL's ring reaches with large messages. Memory is what the driver offers to a process.
const std::vector<GpuFacts>& table() {
  static const std::vector<GpuFacts> facts{
      {.name = "a100",
       .memory = 79.1 * kGiB,
       .bf16_rate = 312e12,
       .fp32_rate = 156e12,
       .bandwidth = 2.039e12,
       .link_node = 240e9,
       .link_across = 20e9},
      {.name = "h100",
       .memory = 79.1 * kGiB,
       .bf16_rate = 989e12,
       .fp32_rate = 494e12,
       .bandwidth = 3.35e12,
       .link_node = 360e9,
       .link_across = 40e9},
      {.name = "h200",
       .memory = 139.8 * kGiB,
       .bf16_rate = 989e12,
       .fp32_rate = 494e12,
       .bandwidth = 4.8e12,
       .link_node = 360e9,
       .link_across = 40e9},
  };
  return facts;
}

struct Key {
  const char* name;
  double GpuFacts::*place;
  double unit;
  bool required;
  double most;  // in the unit of the file; 0: any
};
constexpr Key kKeys[] = {
    {"memory_gib", &GpuFacts::memory, kGiB, true, 0},
    {"bf16_tflops", &GpuFacts::bf16_rate, 1e12, true, 0},
    {"fp32_tflops", &GpuFacts::fp32_rate, 1e12, true, 0},
    {"memory_gb_per_s", &GpuFacts::bandwidth, 1e9, true, 0},
    {"link_node_gb_per_s", &GpuFacts::link_node, 1e9, true, 0},
    {"link_across_gb_per_s", &GpuFacts::link_across, 1e9, true, 0},
    {"latency_node_us", &GpuFacts::latency_node, 1e-6, false, 0},
    {"latency_across_us", &GpuFacts::latency_across, 1e-6, false, 0},
    {"launch_us", &GpuFacts::launch, 1e-6, false, 0},
    {"product_share", &GpuFacts::product_share, 1, false, 1},
    {"attention_share", &GpuFacts::attention_share, 1, false, 1},
    {"bandwidth_share", &GpuFacts::bandwidth_share, 1, false, 1},
};

std::vector<std::string> key_names(bool required_only) {
  std::vector<std::string> names;
  for (const Key& key : kKeys)
    if (key.required || !required_only) names.emplace_back(key.name);
  return names;
}

double positive(const Setting& setting, double most) {
  char* end = nullptr;
  const double value = std::strtod(setting.value.c_str(), &end);
  const bool whole = !setting.value.empty() && end == setting.value.c_str() + setting.value.size();
  if (!whole || !std::isfinite(value) || value <= 0 || (most > 0 && value > most))
    fail_usage(setting.where, most > 0 ? fmt::format("a number above 0, at most {}", most) : "a number above 0",
               fmt::format("{} = {}", setting.key, setting.value), "Correct the file");
  return value;
}

GpuFacts from_file(const std::filesystem::path& path) {
  GpuFacts facts;
  facts.name = path.stem().string();
  std::set<std::string> found;
  for (const Setting& setting : read_settings(path)) {
    // keys stand in a section [gpu]; one that is open stands without
    const std::string name = setting.key.substr(setting.key.starts_with("gpu.") ? 4 : 0);
    const Key* known = nullptr;
    for (const Key& key : kKeys)
      if (name == key.name) known = &key;
    if (!known) {
      const std::string near = nearest_name(name, key_names(false));
      fail_usage(setting.where, fmt::format("one of {}", fmt::join(key_names(false), ", ")), name,
                 near.empty() ? "Remove it" : fmt::format("Did you mean {}?", near));
    }
    facts.*known->place = positive(setting, known->most) * known->unit;
    found.insert(name);
  }
  std::vector<std::string> missing;
  for (const std::string& name : key_names(true))
    if (!found.contains(name)) missing.push_back(name);
  if (!missing.empty())
    fail_usage(path.string(), fmt::format("the keys {} in a section [gpu]", fmt::join(key_names(true), ", ")),
               fmt::format("none for {}", fmt::join(missing, ", ")), "Add them; docs/plan.md has an example");
  return facts;
}

}  // namespace

std::vector<std::string> gpu_names() {
  std::vector<std::string> names;
  for (const GpuFacts& facts : table()) names.push_back(facts.name);
  return names;
}

GpuFacts gpu_facts(const std::string& name_or_file) {
  for (const GpuFacts& facts : table())
    if (facts.name == name_or_file) return facts;
  std::error_code code;
  if (std::filesystem::is_regular_file(name_or_file, code)) return from_file(name_or_file);
  const std::string near = nearest_name(name_or_file, gpu_names());
  fail_usage("--gpu", fmt::format("one of {}, or a file that describes a device", fmt::join(gpu_names(), ", ")),
             fmt::format("\"{}\"", name_or_file), near.empty() ? "Name one of these" : fmt::format("Did you mean {}?", near));
}

}  // namespace dinoxx::plan
