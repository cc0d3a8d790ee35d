// Images by number become rows of features. What embed and predict share.
#pragma once
#include <functional>
#include <optional>

#include "dinoxx/comm/communicator.hpp"
#include "features.hpp"
#include "model_source.hpp"

namespace dinoxx::eval {

// Side of the network's input: what was asked for, else what training showed. UsageError when patches do not fit.
int network_side(const LoadedModel& model, std::optional<int> asked);

// Network input [3, side, side] of an encoded image. Error when it cannot be decoded.
void make_input(std::span<const uint8_t> bytes, const EvalTransform& transform, const Normalization& normalization, float* input);
// The same of an image of a data set; an Error names it.
void make_input(const Dataset& dataset, uint64_t id, const EvalTransform& transform, const Normalization& normalization, float* input);

// Features of items 0 to count - 1 [count, dim] float32 on every rank, L2-normalised if so asked: blocks of kEvalBlock items, each computed
// whole by one thread of one rank, so that they do not depend on the number of ranks. `input(item, floats)` writes the network input of an
// item of this rank (rank_items(count)) and is called from several threads; so is `done(items)`, with the number of items just finished on
// this rank. Collective: an error on any rank, and a feature that is not finite, is thrown on all.
at::Tensor embed_rows(int64_t count, int side, const Embedder& embedder, bool normalize, int threads,
                      const std::function<void(int64_t item, float* input)>& input, const std::function<void(int64_t items)>& done,
                      Communicator& comm);

}  // namespace dinoxx::eval
