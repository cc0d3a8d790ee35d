// What all ranks must have in common: the start values, and every bit after every step.
#include <ATen/ATen.h>

#include <bit>
#include <cstring>

#include "agreement.hpp"
#include "dinoxx/base/error.hpp"

namespace dinoxx {
namespace {

// Four independent multiply-rotate lanes over 64-bit words, mixed at the end; memory speed. Not for files and not against malice: ranks
// compare it within a run.
uint64_t hash_bytes(const unsigned char* data, size_t size) {
  constexpr uint64_t kOdd = 0x9e3779b97f4a7c15u;
  uint64_t lane[4] = {kOdd, kOdd << 1 | 1, ~kOdd, size};
  const auto mix = [](uint64_t h, uint64_t word) { return std::rotl((h ^ word) * kOdd, 29); };
  size_t i = 0;
  for (; i + 32 <= size; i += 32) {
    uint64_t word[4];
    std::memcpy(word, data + i, 32);
    for (int l = 0; l < 4; ++l) lane[l] = mix(lane[l], word[l]);
  }
  for (int l = 0; i < size; ++i, l = (l + 1) % 4) lane[l] = mix(lane[l], data[i]);
  uint64_t hash = 0;
  for (const uint64_t l : lane) hash = mix(hash ^ (hash >> 31), l ^ (l >> 29));
  return hash ^ (hash >> 32);
}

}  // namespace

void broadcast_parameters(Communicator& comm, FlatState& state) {
  comm.broadcast(state.master, 0)->wait();
  state.publish();
}

void check_ranks_agree(Communicator& comm, const at::Tensor& flat, const std::string& what, int64_t step) {
  const at::Tensor host = flat.cpu().contiguous();
  const at::Tensor mine = at::empty({1}, at::kLong);
  *mine.data_ptr<int64_t>() = static_cast<int64_t>(hash_bytes(static_cast<const unsigned char*>(host.data_ptr()), host.nbytes()));
  const at::Tensor all = at::empty({comm.size()}, at::kLong);
  comm.all_gather(all, mine)->wait();
  std::map<int64_t, std::vector<int>> groups;
  for (int r = 0; r < comm.size(); ++r) groups[all.data_ptr<int64_t>()[r]].push_back(r);
  if (groups.size() == 1) return;
  std::vector<std::vector<int>> ordered;
  for (auto& [hash, ranks] : groups) ordered.push_back(ranks);
  std::sort(ordered.begin(), ordered.end());
  std::vector<std::string> parts;
  for (const std::vector<int>& ranks : ordered) parts.push_back(fmt::format("rank(s) {}", fmt::join(ranks, ",")));
  fail(fmt::format("{} at step {}", what, step), fmt::format("the same bits on all {} ranks", comm.size()),
       fmt::format("different ones on {}", fmt::join(parts, " | ")),
       "Something in the step depends on the rank (or a machine computes wrongly); go on from the last checkpoint before it");
}

}  // namespace dinoxx
