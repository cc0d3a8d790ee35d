#include "sync_groups.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "comm/agree.hpp"
#include "comm/gather.hpp"
#include "dinoxx/base/error.hpp"
#include "dinoxx/comm/self_communicator.hpp"

namespace dinoxx {
namespace {

// Ranks by node, in order.
std::vector<std::vector<int>> ranks_by_node(const std::vector<std::string>& nodes) {
  std::vector<std::vector<int>> found;
  std::map<std::string, size_t> places;
  for (size_t rank = 0; rank < nodes.size(); ++rank) {
    const auto [place, is_new] = places.emplace(nodes[rank], found.size());
    if (is_new) found.emplace_back();
    found[place->second].push_back(static_cast<int>(rank));
  }
  return found;
}

}  // namespace

SyncGroups make_sync_groups(const std::string& sync, const std::string& within, std::shared_ptr<Communicator> gradients,
                            Communicator& control, const std::string& node, bool columns) {
  if (sync == "ddp" || gradients->size() == 1) return {nullptr, std::move(gradients)};
  const Sharing sharing = sync == "zero1" ? Sharing::kState : sync == "zero2" ? Sharing::kGradient : Sharing::kWeights;
  if (within == "all") return {std::move(gradients), make_self_communicator(), sharing, columns};
  const std::vector<std::string> nodes = gather_texts(control, node);
  const std::vector<std::vector<int>> by_node = ranks_by_node(nodes);
  on_all_ranks(control, [&] {
    for (const std::vector<int>& ranks : by_node)
      if (ranks.size() != by_node.front().size())
        fail_usage("parallel.shard_within = node", "the same number of ranks on every node",
                   fmt::format("{} on {} and {} on {}", by_node.front().size(), nodes[static_cast<size_t>(by_node.front().front())],
                               ranks.size(), nodes[static_cast<size_t>(ranks.front())]),
                   "Start as many on each, or share over all ranks (parallel.shard_within = all)");
  });
  const int rank = gradients->rank();
  for (size_t n = 0; n < by_node.size(); ++n) {
    const auto place = std::ranges::find(by_node[n], rank);
    if (place == by_node[n].end()) continue;
    std::shared_ptr<Communicator> shards = gradients->split(static_cast<int>(n), rank),
                                  fellows = gradients->split(static_cast<int>(place - by_node[n].begin()), rank);
    if (shards->size() == 1) return {nullptr, std::move(fellows), sharing};
    if (fellows->size() == 1) fellows = make_self_communicator();  // NCCL copies what it sums over one rank
    return {std::move(shards), std::move(fellows), sharing, columns};
  }
  fail("make_sync_groups", "this rank among all", "it is not there", "This is a defect of the program");
}

std::string describe(const SyncGroups& groups) {
  if (!groups.shards) return "ddp";
  constexpr const char* kNames[] = {"zero1", "zero2", "zero3"};
  return fmt::format("{} over {} ranks{}", kNames[static_cast<int>(groups.sharing)], groups.shards->size(),
                     groups.columns ? ", prototypes by columns" : "");
}

}  // namespace dinoxx
