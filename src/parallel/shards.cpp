#include "shards.hpp"

#include <ATen/ATen.h>

#include <algorithm>

#include "dinoxx/base/error.hpp"

namespace dinoxx {
namespace {

ParamLayout owned_by(const ParamLayout& layout, const std::vector<Bucket>& messages, int rank, int size) {
  ParamLayout owned;
  owned.numel = layout.numel / size;
  owned.hash = layout.hash;
  owned.segments.reserve(layout.segments.size());
  for (const Bucket& message : messages) {
    const int64_t length = (message.end - message.begin) / size, begin = message.begin + rank * length, end = begin + length;
    for (int s = message.first_segment; s < message.last_segment; ++s) {
      Segment segment = layout.segments[static_cast<size_t>(s)];
      const int64_t from = std::clamp(segment.offset, begin, end), to = std::clamp(segment.offset + segment.numel, begin, end);
      segment.first = from < to ? from - segment.offset : 0;
      segment.offset = message.begin / size + from - begin;
      segment.numel = to - from;
      owned.segments.push_back(std::move(segment));
    }
  }
  return owned;
}

// 0 for a network without blocks.
int last_block(const ParamLayout& layout) {
  int last = 0;
  for (const Bucket& bucket : layout.buckets) last = std::max(last, bucket.block);
  return last;
}

}  // namespace

std::vector<Bucket> messages_of(const std::vector<Bucket>& buckets, int64_t bytes, int64_t element_size) {
  std::vector<Bucket> messages;
  for (const Bucket& bucket : buckets) {
    if (messages.empty() || bucket.block != messages.back().block || bucket.columns || messages.back().columns ||
        (messages.back().end - messages.back().begin) * element_size >= bytes) {
      messages.push_back(bucket);
    } else {
      messages.back().end = bucket.end;
      messages.back().last_segment = bucket.last_segment;
    }
  }
  return messages;
}

Shards::Shards(const ParamLayout& layout, std::shared_ptr<Communicator> of_ranks, int64_t message_bytes, int64_t element_size,
               Sharing sharing)
    : ranks(std::move(of_ranks)),
      weights(sharing == Sharing::kWeights ? ranks->split(0, ranks->rank()) : nullptr),
      messages(messages_of(layout.buckets, message_bytes, element_size)),
      sharing(sharing),
      blocks(sharing == Sharing::kWeights ? last_block(layout) : 0),
      owned(owned_by(layout, messages, ranks->rank(), ranks->size())) {
  for (const Bucket& message : messages)
    if (message.end % bucket_multiple(ranks->size()) != 0)
      fail("shards", fmt::format("buckets that {} ranks can share", ranks->size()), fmt::format("one that ends at {}", message.end),
           "Build the layout for as many ranks");
}

bool Shards::any_columns() const {
  return std::ranges::any_of(messages, &Bucket::columns);
}

at::Tensor Shards::message(const at::Tensor& whole, size_t m) const {
  return whole.narrow(0, messages[m].begin, messages[m].end - messages[m].begin);
}

at::Tensor Shards::part(const at::Tensor& shard, size_t m) const {
  const int size = ranks->size();
  return shard.narrow(0, messages[m].begin / size, (messages[m].end - messages[m].begin) / size);
}

}  // namespace dinoxx
