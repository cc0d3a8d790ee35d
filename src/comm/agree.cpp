#include "agree.hpp"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <map>

#include "base/failure.hpp"
#include "base/machine.hpp"
#include "word_hash.hpp"

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

void on_all_ranks(Communicator& comm, const std::function<void()>& work) {
  constexpr int64_t text_size = 2048;
  std::string message;
  bool failed = false, usage = false;
  try {
    work();
  } catch (const Error& error) {
    failed = true;
    usage = error.exit_code() == ExitCode::kUsage;
    message = error.what();
  } catch (const std::exception& error) {
    failed = true;
    message = failure_text(error);
  }
  if (comm.rank() != 0) message = fmt::format("rank {} on host {}: {}", comm.rank(), host_name(), message);
  at::Tensor first = at::full({1}, failed ? comm.rank() : comm.size(), at::kLong);
  comm.all_reduce(first, ReduceOp::kMin)->wait();
  const auto rank = static_cast<int>(first.item<int64_t>());
  if (rank == comm.size()) return;
  at::Tensor text = at::zeros({text_size}, at::kByte);
  if (rank == comm.rank()) {
    text[0] = usage ? 1 : 0;
    std::memcpy(text.data_ptr<uint8_t>() + 1, message.data(), std::min<size_t>(message.size(), text_size - 2));
  }
  comm.broadcast(text, rank)->wait();
  const std::string what = reinterpret_cast<const char*>(text.data_ptr<uint8_t>() + 1);
  throw AgreedError(what, text.data_ptr<uint8_t>()[0] == 1 ? ExitCode::kUsage : ExitCode::kFailed);
}

void ranks_must_agree(Communicator& comm, const std::string& text, const std::string& what) {
  // the host comes with the hash: programs that differ could not be asked for it afterwards
  constexpr int64_t kHostWords = 8;
  const at::Tensor mine = at::zeros({1 + kHostWords}, at::kLong);
  mine[0] = static_cast<int64_t>(text_hash(text));
  const std::string host = host_name();
  std::memcpy(mine.data_ptr<int64_t>() + 1, host.data(), std::min(host.size(), kHostWords * sizeof(int64_t) - 1));
  const at::Tensor all = at::empty({comm.size(), 1 + kHostWords}, at::kLong);
  comm.all_gather(all, mine)->wait();
  const auto host_of = [&](int rank) { return std::string(reinterpret_cast<const char*>(all[rank].data_ptr<int64_t>() + 1)); };
  std::map<std::string, std::vector<int>> others;
  for (int rank = 0; rank < comm.size(); ++rank)
    if (all[rank][0].item<int64_t>() != all[0][0].item<int64_t>()) others[host_of(rank)].push_back(rank);
  if (others.empty()) return;
  std::vector<std::string> found;
  found.reserve(others.size());
  for (const auto& [name, ranks] : others) found.push_back(fmt::format("{} (host {})", fmt::join(ranks, ", "), name));
  throw AgreedError(
      fmt::format("{}: expected the same on all ranks, found a different one from rank 0's (host {}) on ranks {}. Give every rank "
                  "the same program, files and command line.",
                  what, host_of(0), fmt::join(found, ", ")),
      ExitCode::kUsage);
}

void check_ranks_agree(Communicator& comm, const at::Tensor& flat, const std::string& what, int64_t step, int part) {
  const at::Tensor mine = at::full({2}, part, at::kLong);  // and the hash
  if (flat.device().is_cpu()) {
    const at::Tensor host = flat.contiguous();
    mine.data_ptr<int64_t>()[1] = static_cast<int64_t>(hash_bytes(static_cast<const unsigned char*>(host.data_ptr()), host.nbytes()));
  } else {
    mine.data_ptr<int64_t>()[1] = word_hash(flat);
  }
  const at::Tensor all = at::empty({comm.size(), 2}, at::kLong);
  comm.all_gather(all, mine)->wait();
  std::map<int64_t, std::map<int64_t, std::vector<int>>> by_part;
  for (int r = 0; r < comm.size(); ++r) by_part[all[r][0].item<int64_t>()][all[r][1].item<int64_t>()].push_back(r);
  const auto differs = std::ranges::find_if(by_part, [](const auto& one) { return one.second.size() > 1; });
  if (differs == by_part.end()) return;
  const std::map<int64_t, std::vector<int>>& groups = differs->second;
  size_t ranks = 0;
  for (const auto& [hash, of] : groups) ranks += of.size();
  std::vector<std::vector<int>> ordered;
  ordered.reserve(groups.size());
  for (const auto& [hash, of] : groups) ordered.push_back(of);
  std::sort(ordered.begin(), ordered.end());
  std::vector<std::string> parts;
  parts.reserve(ordered.size());
  for (const std::vector<int>& of : ordered) parts.push_back(fmt::format("rank(s) {}", fmt::join(of, ",")));
  fail(fmt::format("{} at step {}", what, step), fmt::format("the same bits on all {} ranks", ranks),
       fmt::format("different ones on {}", fmt::join(parts, " | ")),
       "Something in the step depends on the rank (or a machine computes wrongly); go on from the last checkpoint before it");
}

}  // namespace dinoxx
