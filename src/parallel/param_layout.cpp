#include "param_layout.hpp"

#include <ATen/ATen.h>

#include <charconv>
#include <set>

#include "base/machine.hpp"
#include "dinoxx/base/error.hpp"

namespace dinoxx {
namespace {

int64_t round_up(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// What the hash of a layout is of: texts with a zero behind them, numbers as eight bytes, lowest first. Goes into checkpoints.
void append(std::string& bytes, std::string_view text) {
  bytes.append(text);
  bytes.push_back('\0');
}
void append(std::string& bytes, int64_t value) {
  for (int shift = 0; shift < 64; shift += 8) bytes.push_back(static_cast<char>((static_cast<uint64_t>(value) >> shift) & 0xff));
}

bool ends_with(std::string_view text, std::string_view end) {
  return text.ends_with(end);
}

}  // namespace

int64_t bucket_multiple(int ranks) {
  return ranks == 1 ? kBucketMultiple : kSegmentAlignment * ranks;
}

int transformer_block(const std::string& name) {
  constexpr std::string_view kBlocks = "blocks.";
  const size_t at = name.rfind(kBlocks);
  if (at == std::string::npos || (at > 0 && name[at - 1] != '.')) return -1;
  int block = -1;
  const char* const begin = name.data() + at + kBlocks.size();
  std::from_chars(begin, name.data() + name.size(), block);
  return block;
}

namespace {

// Of each rank but perhaps the last.
int64_t columns_of_a_rank(int64_t prototypes, int ranks) {
  return round_up((prototypes + ranks - 1) / ranks, kSegmentAlignment);
}

}  // namespace

ColumnRange column_range(int64_t prototypes, int ranks, int rank) {
  const int64_t most = columns_of_a_rank(prototypes, ranks), first = std::min(rank * most, prototypes);
  return {first, std::min(most, prototypes - first)};
}

void check_columns(int64_t prototypes, int ranks, const std::string& name) {
  if (column_range(prototypes, ranks, ranks - 1).count > 0) return;
  const int64_t most = columns_of_a_rank(prototypes, ranks);
  fail_usage("head.shard_prototypes",
             fmt::format("more than {} prototypes for {} ranks, {} on each but the last", (ranks - 1) * most, ranks, most),
             fmt::format("{} in {}", prototypes, name), "Set it to no, or share inside a node (parallel.shard_within = node)");
}

ParamLayout ParamLayout::build(const NamedTensors& in_execution_order, int64_t bucket_bytes, bool freeze_weight_g, int ranks, bool by_block,
                               bool by_columns) {
  if (in_execution_order.empty()) fail("parameter layout", "a network with parameters", "none", "");
  if (bucket_bytes < 4) fail_usage("bucket size", "4 bytes or more", fmt::format("{}", bucket_bytes), "");
  const int64_t bucket_numel = bucket_bytes / 4;

  ParamLayout layout;
  std::set<std::string> names;
  Bucket bucket;
  int64_t end = 0;
  const auto close_bucket = [&] {
    bucket.last_segment = static_cast<int>(layout.segments.size());
    bucket.end = bucket.begin + round_up(end - bucket.begin, bucket_multiple(ranks));
    layout.buckets.push_back(bucket);
    bucket = {bucket.end, bucket.end, bucket.last_segment, bucket.last_segment, -1, false};
    end = bucket.begin;
  };
  for (auto parameter = in_execution_order.rbegin(); parameter != in_execution_order.rend(); ++parameter) {
    const at::Tensor& tensor = parameter->tensor;
    const std::string& name = parameter->name;
    if (name.empty() || !names.insert(name).second)
      fail("parameter layout", "names that are there once", fmt::format("'{}' again or empty", name), "");
    if (!tensor.defined() || tensor.numel() == 0) fail(name, "a parameter with elements", "an empty one", "");
    if (const int block = by_block ? transformer_block(name) : -1; block != bucket.block) {
      if (end > bucket.begin) close_bucket();
      bucket.block = block;
    }
    const bool last_layer = name.find("last_layer") != std::string::npos;
    if (by_columns && last_layer && end > bucket.begin) close_bucket();
    Segment segment;
    segment.name = name;
    segment.offset = round_up(end, kSegmentAlignment);
    segment.numel = tensor.numel();
    segment.shape = tensor.sizes().vec();
    segment.decay = tensor.dim() != 1 && !ends_with(name, ".bias");
    segment.last_layer = last_layer;
    segment.trainable = !(freeze_weight_g && ends_with(name, "last_layer.weight_g"));
    end = segment.offset + segment.numel;
    layout.segments.push_back(std::move(segment));
    if (by_columns && last_layer) {
      const int64_t prototypes = tensor.size(0), width = tensor.numel() / prototypes;
      check_columns(prototypes, ranks, name);
      bucket.columns = true;
      end = bucket.begin + ranks * columns_of_a_rank(prototypes, ranks) * width;
      close_bucket();
      continue;
    }
    if (end - bucket.begin >= bucket_numel) {
      const int block = bucket.block;
      close_bucket();
      bucket.block = block;
    }
  }
  if (end > bucket.begin) close_bucket();
  layout.numel = layout.buckets.back().end;

  std::string bytes;
  for (const Segment& segment : layout.segments) {
    append(bytes, segment.name);
    append(bytes, static_cast<int64_t>(segment.shape.size()));
    for (const int64_t length : segment.shape) append(bytes, length);
    append(bytes, segment.offset);
  }
  append(bytes, layout.numel);
  layout.hash = text_hash(bytes);
  return layout;
}

}  // namespace dinoxx
