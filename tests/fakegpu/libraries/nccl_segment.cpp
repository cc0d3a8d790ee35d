#include "nccl_segment.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <thread>

namespace fakegpu {
namespace {

constexpr int kMostRanks = 64;

// Short naps: there may be more ranks than cores.
template <class Done>
bool wait_until(Done done, std::chrono::seconds limit) {
  const auto end = std::chrono::steady_clock::now() + limit;
  for (int turn = 0; !done(); ++turn) {
    if (turn < 50)
      std::this_thread::yield();
    else
      std::this_thread::sleep_for(std::chrono::microseconds(turn < 500 ? 20 : 500));
    if (turn % 256 == 255 && std::chrono::steady_clock::now() > end) return false;
  }
  return true;
}

}  // namespace

struct Segment::Header {
  std::atomic<int> joined, arrived, broken;
  std::atomic<uint64_t> round;
  std::atomic<int> process[kMostRanks];
  Announcement announcements[kMostRanks];
};

Segment::Segment(void* memory, size_t bytes, int rank, int size)
    : header_(static_cast<Header*>(memory)), memory_(static_cast<char*>(memory)), bytes_(bytes), rank_(rank), size_(size) {}

Segment::~Segment() {
  munmap(memory_, bytes_);
}

Segment* Segment::join(const std::string& name, int rank, int size) {
  if (size > kMostRanks) return nullptr;
  const int file = shm_open(name.c_str(), O_CREAT | O_RDWR, 0600);
  if (file < 0) return nullptr;
  const size_t bytes = sizeof(Header) + static_cast<size_t>(size) * kPart;
  // new pages are zero, which is the state at the beginning of every field; a second rank sets the same length
  void* memory = MAP_FAILED;
  if (ftruncate(file, static_cast<off_t>(bytes)) == 0) memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  if (memory == MAP_FAILED) return nullptr;
  auto* segment = new Segment(memory, bytes, rank, size);
  segment->header_->process[rank] = getpid();
  const bool last = ++segment->header_->joined == size;
  if (last) shm_unlink(name.c_str());  // who is in keeps it, nobody else needs the name
  if (wait_until([&] { return segment->header_->joined == size; }, std::chrono::seconds(120))) return segment;
  shm_unlink(name.c_str());
  delete segment;
  return nullptr;
}

bool Segment::somebody_is_gone() const {
  for (int r = 0; r < size_; ++r)
    if (kill(header_->process[r], 0) != 0 && errno == ESRCH) return true;
  return false;
}

bool Segment::barrier(const std::atomic<bool>& closed) {
  if (header_->broken || closed) return false;
  const uint64_t round = header_->round;
  if (++header_->arrived == size_) {
    header_->arrived = 0;
    ++header_->round;
    return true;
  }
  int looks = 0;
  // no limit: as on a GPU, who waits for a rank that never comes waits until it is closed
  while (!wait_until([&] { return header_->round != round || header_->broken || closed; }, std::chrono::seconds(1)))
    if (++looks > 1 && somebody_is_gone()) break_all();
  return header_->round != round;
}

char* Segment::part(int rank) const {
  return memory_ + sizeof(Header) + static_cast<size_t>(rank) * kPart;
}

Announcement& Segment::announcement(int rank) const {
  return header_->announcements[rank];
}

void Segment::break_all() {
  header_->broken = 1;
}

bool Segment::is_broken() const {
  return header_->broken != 0;
}

}  // namespace fakegpu
