#include "cost_record.hpp"

#include <ATen/ATen.h>

#include <atomic>

namespace dinoxx::eval {

struct CostRecord::Clock {
  std::atomic<int64_t> images{0}, nanoseconds{0};
};

CostRecord::CostRecord(std::vector<Embedder>& embedders) {
  for (Embedder& embedder : embedders) {
    const auto clock = std::make_shared<Clock>();
    names_.push_back(embedder.name);
    clocks_.push_back(clock);
    embedder.embed = [clock, embed = std::move(embedder.embed)](const at::Tensor& images) {
      const auto begin = Time::now();
      at::Tensor rows = embed(images);
      if (!rows.is_cpu()) rows = rows.cpu();  // it is there now, and not under way on a device
      clock->nanoseconds += std::chrono::duration_cast<std::chrono::nanoseconds>(Time::now() - begin).count();
      clock->images += images.size(0);
      return rows;
    };
  }
}

void CostRecord::add(const std::string& part, const std::string& embedder) {
  const auto now = Time::now();
  const double seconds = std::chrono::duration<double>(now - since_).count();
  since_ = now;
  seconds_[part] += seconds;
  if (!embedder.empty()) of_embedder_[embedder][part] += seconds;
}

void CostRecord::move(const std::string& part, const std::string& other, double seconds) {
  seconds_[part] -= seconds;
  seconds_[other] += seconds;
}

nlohmann::json CostRecord::of_embedders(Communicator& comm) const {
  const auto count = static_cast<int64_t>(clocks_.size());
  const at::Tensor sums = at::empty({count, 2}, at::kDouble);
  for (int64_t e = 0; e < count; ++e) {
    sums[e][0] = static_cast<double>(clocks_[static_cast<size_t>(e)]->images);
    sums[e][1] = 1e-9 * static_cast<double>(clocks_[static_cast<size_t>(e)]->nanoseconds);
  }
  comm.all_reduce(sums, ReduceOp::kSum)->wait();
  nlohmann::json result = nlohmann::json::object();
  for (int64_t e = 0; e < count; ++e) {
    const std::string& name = names_[static_cast<size_t>(e)];
    nlohmann::json& row = result[name];
    row = {{"images", static_cast<int64_t>(sums[e][0].item<double>())},
           {"core_seconds", sums[e][1].item<double>()},
           {"seconds", nlohmann::json::object()}};
    if (const auto found = of_embedder_.find(name); found != of_embedder_.end()) row["seconds"] = found->second;
  }
  return result;
}

}  // namespace dinoxx::eval
