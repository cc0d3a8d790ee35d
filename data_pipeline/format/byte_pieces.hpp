#pragma once
#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

namespace dinoxx::detail {

/// Bytes that grow in pieces of one size: nothing is copied when they grow, and at most one piece is taken beyond what they hold. (A vector
/// takes up to twice as much, three times while it grows.)
class BytePieces {
 public:
  static constexpr size_t kPiece = size_t{1} << 20;

  void append(std::span<const uint8_t> bytes) {
    size_ += bytes.size();
    while (!bytes.empty()) {
      if (pieces_.empty() || pieces_.back().size() == kPiece) pieces_.emplace_back().reserve(kPiece);
      std::vector<uint8_t>& last = pieces_.back();
      const auto part = bytes.first(std::min(bytes.size(), kPiece - last.size()));
      last.insert(last.end(), part.begin(), part.end());
      bytes = bytes.subspan(part.size());
    }
  }
  uint64_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  /// One after the other they are the bytes.
  const std::vector<std::vector<uint8_t>>& pieces() const { return pieces_; }

 private:
  std::vector<std::vector<uint8_t>> pieces_;
  uint64_t size_ = 0;
};

}  // namespace dinoxx::detail
