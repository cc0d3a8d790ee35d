// Memory that the ranks of one communicator share, be they processes or threads: a place for each rank's part of a collective, and a
// barrier that ends when a rank is gone.
#pragma once
#include <nccl.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>

namespace fakegpu {

/// What a rank says of its collective, so that ranks that call different ones are found.
struct Announcement {
  char kind[16] = {};
  uint64_t count = 0;
  int32_t type = 0, operation = 0, root = 0, key = 0;
};

class Segment {
 public:
  static constexpr size_t kPart = size_t{256} << 10;  ///< bytes of a rank's place

  /// Opens or makes the segment of this name and waits until all ranks have come; null after two minutes.
  static Segment* join(const std::string& name, int rank, int size);
  ~Segment();
  Segment(const Segment&) = delete;

  /// All ranks have come here; false: the communicator is broken, or was closed on this rank (`closed`).
  bool barrier(const std::atomic<bool>& closed);
  char* part(int rank) const;
  Announcement& announcement(int rank) const;
  /// Makes every barrier of every rank fail from now on.
  void break_all();
  bool is_broken() const;

 private:
  struct Header;
  Segment(void* memory, size_t bytes, int rank, int size);
  bool somebody_is_gone() const;
  Header* header_;
  char* memory_;
  size_t bytes_;
  int rank_, size_;
};

}  // namespace fakegpu
