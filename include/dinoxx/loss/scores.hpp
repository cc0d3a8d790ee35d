#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "dinoxx/comm/communicator.hpp"

namespace dinoxx {

/// Ranks that share a head's prototypes: each has some columns of the logits, of the rows of all of them.
struct PrototypeShards {
  Communicator* ranks = nullptr;    ///< that have the other columns of the same rows
  Communicator* fellows = nullptr;  ///< that have the same columns of other rows
};

/// What a head with prototypes says of rows: their logits, or the two factors that logits are the product of. Of factors logits are made
/// for some rows at a time, wherever a loss needs them, so that those of all rows are never in memory together.
class Scores {
 public:
  /// [..., K]
  Scores(at::Tensor logits) : rows_(std::move(logits)) {}
  /// rows [..., d] as they stand in front of the last layer, prototypes [K, d] of one type. `rows_at_once`: how many rows of logits are
  /// made at once; 0: all. `shards`: K are this rank's columns; must outlive backward.
  Scores(at::Tensor rows, at::Tensor prototypes, int64_t rows_at_once = 0, const PrototypeShards* shards = nullptr)
      : rows_(std::move(rows)), prototypes_(std::move(prototypes)), rows_at_once_(rows_at_once), shards_(shards) {}

  const at::Tensor& rows() const { return rows_; }              ///< or the logits
  const at::Tensor& prototypes() const { return prototypes_; }  ///< undefined: rows() are the logits
  const PrototypeShards* shards() const { return shards_; }     ///< null: all columns are here
  std::vector<int64_t> sizes() const;                           ///< of the logits
  int64_t dim() const { return rows_.dim(); }
  int64_t size(int64_t dim) const;
  at::Device device() const { return rows_.device(); }
  at::ScalarType scalar_type() const { return rows_.scalar_type(); }

  /// Without the student's graph.
  Scores detach() const;
  /// [..., K] -> [M, K]
  Scores flatten() const;
  /// Logits of indices [begin, begin + count) of dimension `dim`, contiguous. No gradient flows through those that are made.
  at::Tensor part(int64_t dim, int64_t begin, int64_t count) const;
  /// So many indices of dimension `dim`, one at least, have no more than the rows that are made at once.
  int64_t indices_at_once(int64_t dim) const;

 private:
  at::Tensor rows_, prototypes_;
  int64_t rows_at_once_ = 0;
  const PrototypeShards* shards_ = nullptr;
};

}  // namespace dinoxx
