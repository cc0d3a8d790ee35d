// NCCL over host memory: ranks are processes or threads of this machine, collectives are computed with values, on a thread of each
// communicator, so that the host's call returns at once as on a GPU. On request (the environment):
//
//   FAKEGPU_NCCL_DELAY_MS=N     every collective waits up to N ms, another time on every rank and communicator
//   FAKEGPU_NCCL_REORDER=1      every second collective waits until another communicator of the process has been at work, at most 20 ms
//   FAKEGPU_NCCL_FAIL=RANK:N    the N-th collective of this rank breaks its communicator (a network that is cut)
//   FAKEGPU_NCCL_HANG=RANK:N    the N-th collective of this rank never begins
//   FAKEGPU_NCCL_BYTES=N        larger collectives meet and move nothing
#include <nccl.h>

#include <algorithm>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "device/counters.hpp"
#include "device/settings.hpp"
#include "device/streams.hpp"
#include "nccl_collective.hpp"

namespace {

using namespace fakegpu;

std::atomic<long> performed{0};  // by all communicators of the process

struct Place {  // RANK:N of the environment
  int rank = -1;
  long call = -1;
};
Place place_from_environment(const char* name) {
  Place place;
  if (const char* text = std::getenv(name)) std::sscanf(text, "%d:%ld", &place.rank, &place.call);
  return place;
}

}  // namespace

struct ncclComm {
  ncclComm(std::string segment_name, Segment* joined, int rank_in, int size_in)
      : name(std::move(segment_name)), segment(joined), rank(rank_in), size(size_in), worker([this] { work(); }) {}

  void add(const Collective& what, const void* stream) {
    auto task = std::make_shared<Task>();
    const Tasks first = pending(stream);
    put_on_stream(stream, task);
    {
      const std::lock_guard lock(mutex);
      queue.push_back({what, first, task});
    }
    changed.notify_all();
  }
  void wait_until_empty() {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return (queue.empty() && !busy) || state != ncclSuccess; });
  }
  /// What waits ends without a result.
  void close() {
    {
      const std::lock_guard lock(mutex);
      closed = true;
    }
    changed.notify_all();
    worker.join();
    for (auto& entry : queue) entry.task->finish();
  }
  bool is_gone() const { return closed; }

  struct Entry {
    Collective what;
    Tasks first;
    std::shared_ptr<Task> task;
  };
  const std::string name;
  std::unique_ptr<Segment> segment;
  const int rank, size;
  int splits = 0;
  std::atomic<ncclResult_t> state{ncclSuccess};

 private:
  void work() {
    static const Place fail = place_from_environment("FAKEGPU_NCCL_FAIL"), hang = place_from_environment("FAKEGPU_NCCL_HANG");
    std::unique_lock lock(mutex);
    for (long call = 1;; ++call) {
      changed.wait(lock, [&] { return closed || !queue.empty(); });
      if (closed) return;
      const Entry entry = queue.front();
      busy = true;
      lock.unlock();
      wait_for(entry.first);
      ncclResult_t result = ncclSuccess;
      const auto here = [&](const Place& place) { return place.rank == rank && place.call == call; };
      disturb(call);
      if (here(fail)) segment->break_all();
      if (here(hang))
        result = ncclInProgress;
      else
        result = perform(entry.what, *segment, rank, size, closed);
      ++performed;
      lock.lock();
      // after a failure the kernel would wait on the GPU until the communicator is aborted
      if (result != ncclSuccess) {
        if (result != ncclInProgress) state = result;
        changed.notify_all();
        changed.wait(lock, [&] { return closed.load(); });
        return;
      }
      busy = false;
      queue.pop_front();
      entry.task->finish();
      changed.notify_all();
    }
  }

  void disturb(long call) const {
    static const auto delay = static_cast<uint32_t>(number_from_environment("FAKEGPU_NCCL_DELAY_MS", 0) * 1000);
    static const bool reorder = number_from_environment("FAKEGPU_NCCL_REORDER", 0) != 0;
    if (delay > 0) {
      std::minstd_rand numbers(
          static_cast<uint32_t>(std::hash<std::string>()(name) + static_cast<size_t>(call) * 7919 + static_cast<size_t>(rank) * 104729));
      numbers.discard(3);
      std::this_thread::sleep_for(std::chrono::microseconds(numbers() % delay));
    }
    const long before = performed;
    for (int turn = 0; reorder && call % 2 == 0 && turn < 200 && performed == before && !closed; ++turn)
      std::this_thread::sleep_for(std::chrono::microseconds(100));
  }

  std::mutex mutex;
  std::condition_variable changed;
  std::deque<Entry> queue;
  bool busy = false;
  std::atomic<bool> closed{false};
  std::thread worker;  // last: it uses the others
};

namespace {

struct Grouped {
  ncclComm_t comm;
  Collective what;
  const void* stream;
};
thread_local int group_depth = 0;
thread_local std::vector<Grouped> group;

void refuse_what_is_gone(ncclComm_t comm, const char* call) {
  if (!comm->is_gone()) return;
  std::fprintf(stderr, "stand-in for NCCL: %s on a communicator that was destroyed or aborted\n", call);
  std::abort();
}

ncclResult_t post(ncclComm_t comm, const Collective& what, const void* stream) {
  refuse_what_is_gone(comm, "a collective");
  if (comm->state != ncclSuccess) return comm->state;
  count([&](Counters& c) {
    ++c.collectives;
    c.collective_bytes += payload(what, comm->size);
  });
  if (group_depth > 0)
    group.push_back({comm, what, stream});
  else
    comm->add(what, stream);
  return ncclSuccess;
}

ncclResult_t open(ncclComm_t* comm, const std::string& name, int rank, int size) {
  Segment* segment = Segment::join(name, rank, size);
  if (!segment) return ncclSystemError;
  *comm = new ncclComm(name, segment, rank, size);
  return ncclSuccess;
}

std::string name_of(const ncclUniqueId& id) {
  std::string name = "/dinoxx-fakegpu-";
  for (int i = 0; i < 16; ++i) {
    char text[3];
    std::snprintf(text, sizeof text, "%02x", static_cast<unsigned char>(id.internal[i]));
    name += text;
  }
  return name;
}

}  // namespace

extern "C" {

ncclResult_t ncclGetVersion(int* version) {
  *version = NCCL_VERSION_CODE;
  return ncclSuccess;
}
ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  std::random_device source;
  std::memset(id, 0, sizeof *id);
  for (int i = 0; i < 16; ++i) id->internal[i] = static_cast<char>(source());
  return ncclSuccess;
}
ncclResult_t ncclCommInitRank(ncclComm_t* comm, int size, ncclUniqueId id, int rank) {
  return open(comm, name_of(id), rank, size);
}
ncclResult_t ncclCommInitRankConfig(ncclComm_t* comm, int size, ncclUniqueId id, int rank, ncclConfig_t*) {
  return open(comm, name_of(id), rank, size);
}
ncclResult_t ncclCommSplit(ncclComm_t comm, int color, int key, ncclComm_t* part, ncclConfig_t*) {
  comm->wait_until_empty();
  if (comm->state != ncclSuccess) return comm->state;
  const std::atomic<bool> open_still{false};
  Announcement& mine = comm->segment->announcement(comm->rank);
  mine = {.root = color, .key = key};
  std::snprintf(mine.kind, sizeof mine.kind, "split");
  if (!comm->segment->barrier(open_still)) return ncclRemoteError;
  std::vector<std::pair<int, int>> members;  // key, rank
  bool all_split = true;
  for (int r = 0; r < comm->size; ++r) {
    const Announcement& other = comm->segment->announcement(r);
    all_split = all_split && std::strcmp(other.kind, "split") == 0;
    if (other.root == color) members.emplace_back(other.key, r);
  }
  if (!comm->segment->barrier(open_still)) return ncclRemoteError;
  if (!all_split) return ncclInvalidUsage;
  *part = nullptr;
  const int number = comm->splits++;
  if (color == NCCL_SPLIT_NOCOLOR) return ncclSuccess;
  std::sort(members.begin(), members.end());
  const auto me = std::find(members.begin(), members.end(), std::pair(key, comm->rank));
  return open(part, comm->name + "-" + std::to_string(number) + "." + std::to_string(color), static_cast<int>(me - members.begin()),
              static_cast<int>(members.size()));
}
ncclResult_t ncclCommUserRank(const ncclComm_t comm, int* rank) {
  *rank = comm->rank;
  return ncclSuccess;
}
ncclResult_t ncclCommCount(const ncclComm_t comm, int* size) {
  *size = comm->size;
  return ncclSuccess;
}
ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* error) {
  refuse_what_is_gone(comm, "ncclCommGetAsyncError");
  *error = comm->state;
  return ncclSuccess;
}
ncclResult_t ncclCommFinalize(ncclComm_t comm) {
  comm->wait_until_empty();
  return comm->state;
}
// What remains of a communicator is kept, so that its use behind its end is found.
ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  comm->close();
  comm->segment.reset();
  return ncclSuccess;
}
ncclResult_t ncclCommAbort(ncclComm_t comm) {
  comm->segment->break_all();
  comm->close();
  comm->segment.reset();
  return ncclSuccess;
}
const char* ncclGetErrorString(ncclResult_t result) {
  switch (result) {
    case ncclSuccess:
      return "no error";
    case ncclRemoteError:
      return "remote process exited or there was a network error";
    case ncclInvalidUsage:
      return "invalid usage";
    case ncclInvalidArgument:
      return "invalid argument";
    default:
      return "unhandled system error";
  }
}
const char* ncclGetLastError(ncclComm_t) {
  return "";
}
ncclResult_t ncclGroupStart() {
  ++group_depth;
  return ncclSuccess;
}
ncclResult_t ncclGroupEnd() {
  if (group_depth == 0) return ncclInvalidUsage;
  if (--group_depth > 0) return ncclSuccess;
  for (const Grouped& call : group) call.comm->add(call.what, call.stream);
  group.clear();
  return ncclSuccess;
}
ncclResult_t ncclAllReduce(const void* send, void* receive, size_t count, ncclDataType_t type, ncclRedOp_t operation, ncclComm_t comm,
                           cudaStream_t stream) {
  return post(comm, {.kind = Kind::kAllReduce, .send = send, .receive = receive, .count = count, .type = type, .operation = operation},
              stream);
}
ncclResult_t ncclReduceScatter(const void* send, void* receive, size_t count, ncclDataType_t type, ncclRedOp_t operation, ncclComm_t comm,
                               cudaStream_t stream) {
  return post(comm, {.kind = Kind::kReduceScatter, .send = send, .receive = receive, .count = count, .type = type, .operation = operation},
              stream);
}
ncclResult_t ncclAllGather(const void* send, void* receive, size_t count, ncclDataType_t type, ncclComm_t comm, cudaStream_t stream) {
  return post(comm, {.kind = Kind::kAllGather, .send = send, .receive = receive, .count = count, .type = type}, stream);
}
ncclResult_t ncclBroadcast(const void* send, void* receive, size_t count, ncclDataType_t type, int root, ncclComm_t comm,
                           cudaStream_t stream) {
  return post(comm, {.kind = Kind::kBroadcast, .send = send, .receive = receive, .count = count, .type = type, .root = root}, stream);
}

}  // extern "C"
