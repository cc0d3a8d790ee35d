#include "nccl_collective.hpp"

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "device/memory.hpp"
#include "device/settings.hpp"

namespace fakegpu {
namespace {

const char* name_of(Kind kind) {
  switch (kind) {
    case Kind::kAllReduce:
      return "all-reduce";
    case Kind::kReduceScatter:
      return "reduce-scatter";
    case Kind::kAllGather:
      return "all-gather";
    case Kind::kBroadcast:
      return "broadcast";
  }
  return "";
}

template <class T>
T combined(T a, T b, ncclRedOp_t operation) {
  switch (operation) {
    case ncclProd:
      return static_cast<T>(a * b);
    case ncclMax:
      return std::max(a, b);
    case ncclMin:
      return std::min(a, b);
    default:
      return static_cast<T>(a + b);
  }
}

template <class T>
void reduce_as(const Segment& segment, int size, size_t count, ncclRedOp_t operation, void* out) {
  T* result = static_cast<T*>(out);
  for (size_t i = 0; i < count; ++i) {
    T value = reinterpret_cast<const T*>(segment.part(0))[i];
    for (int r = 1; r < size; ++r) value = combined(value, reinterpret_cast<const T*>(segment.part(r))[i], operation);
    result[i] = operation == ncclAvg ? static_cast<T>(value / static_cast<T>(size)) : value;
  }
}

float from_bf16(uint16_t bits) {
  const uint32_t wide = static_cast<uint32_t>(bits) << 16;
  float value;
  std::memcpy(&value, &wide, sizeof value);
  return value;
}

uint16_t to_bf16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return value != value ? 0x7fc0 : static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// Rounded after every rank, as NCCL does.
void reduce_bf16(const Segment& segment, int size, size_t count, ncclRedOp_t operation, void* out) {
  auto* result = static_cast<uint16_t*>(out);
  for (size_t i = 0; i < count; ++i) {
    uint16_t value = reinterpret_cast<const uint16_t*>(segment.part(0))[i];
    for (int r = 1; r < size; ++r)
      value = to_bf16(combined(from_bf16(value), from_bf16(reinterpret_cast<const uint16_t*>(segment.part(r))[i]), operation));
    result[i] = operation == ncclAvg ? to_bf16(from_bf16(value) / static_cast<float>(size)) : value;
  }
}

bool reduce(const Segment& segment, int size, size_t count, ncclDataType_t type, ncclRedOp_t operation, void* out) {
  switch (type) {
    case ncclInt8:
      reduce_as<int8_t>(segment, size, count, operation, out);
      return true;
    case ncclUint8:
      reduce_as<uint8_t>(segment, size, count, operation, out);
      return true;
    case ncclInt32:
      reduce_as<int32_t>(segment, size, count, operation, out);
      return true;
    case ncclUint32:
      reduce_as<uint32_t>(segment, size, count, operation, out);
      return true;
    case ncclInt64:
      reduce_as<int64_t>(segment, size, count, operation, out);
      return true;
    case ncclUint64:
      reduce_as<uint64_t>(segment, size, count, operation, out);
      return true;
    case ncclFloat32:
      reduce_as<float>(segment, size, count, operation, out);
      return true;
    case ncclFloat64:
      reduce_as<double>(segment, size, count, operation, out);
      return true;
    case ncclBfloat16:
      reduce_bf16(segment, size, count, operation, out);
      return true;
    default:
      return false;
  }
}

bool same(const Announcement& a, const Announcement& b) {
  return std::strcmp(a.kind, b.kind) == 0 && a.count == b.count && a.type == b.type && a.operation == b.operation && a.root == b.root;
}

}  // namespace

size_t bytes_of(ncclDataType_t type) {
  switch (type) {
    case ncclInt8:
    case ncclUint8:
      return 1;
    case ncclFloat16:
    case ncclBfloat16:
      return 2;
    case ncclInt32:
    case ncclUint32:
    case ncclFloat32:
      return 4;
    default:
      return 8;
  }
}

double payload(const Collective& what, int size) {
  const bool wide = what.kind == Kind::kReduceScatter || what.kind == Kind::kAllGather;
  return static_cast<double>(what.count * bytes_of(what.type)) * (wide ? size : 1);
}

ncclResult_t perform(const Collective& what, Segment& segment, int rank, int size, const std::atomic<bool>& closed) {
  Announcement& mine = segment.announcement(rank);
  mine = {.count = what.count, .type = what.type, .operation = what.operation, .root = what.root};
  std::snprintf(mine.kind, sizeof mine.kind, "%s", name_of(what.kind));
  if (!segment.barrier(closed)) return ncclRemoteError;
  for (int r = 0; r < size; ++r) {
    const Announcement& other = segment.announcement(r);
    if (same(mine, other)) continue;
    std::fprintf(stderr, "stand-in for NCCL: rank %d calls %s of %zu (type %d), rank %d %s of %zu (type %d)\n", rank, mine.kind, mine.count,
                 mine.type, r, other.kind, static_cast<size_t>(other.count), other.type);
    segment.break_all();
    return ncclInvalidUsage;
  }
  static const double limit = number_from_environment("FAKEGPU_NCCL_BYTES", 1e18);
  const size_t width = bytes_of(what.type);
  const char* send = static_cast<const char*>(host_address(what.send));
  char* receive = static_cast<char*>(host_address(what.receive));
  if (payload(what, size) > limit) return segment.barrier(closed) ? ncclSuccess : ncclRemoteError;  // meeting alone
  const size_t bytes = what.count * width;
  // one source and one place in turn: of reduce-scatter the part of each rank, of the others the whole
  const int turns = what.kind == Kind::kReduceScatter ? size : 1;
  for (int turn = 0; turn < turns; ++turn) {
    for (size_t begin = 0; begin < std::max<size_t>(bytes, 1); begin += Segment::kPart) {
      const size_t now = std::min(Segment::kPart, bytes - begin);
      if (what.kind != Kind::kBroadcast || rank == what.root)
        std::memcpy(segment.part(rank), send + static_cast<size_t>(turn) * bytes + begin, now);
      if (!segment.barrier(closed)) return ncclRemoteError;
      if (what.kind == Kind::kBroadcast) {
        std::memcpy(receive + begin, segment.part(what.root), now);
      } else if (what.kind == Kind::kAllGather) {
        for (int r = 0; r < size; ++r) std::memcpy(receive + static_cast<size_t>(r) * bytes + begin, segment.part(r), now);
      } else if (what.kind == Kind::kAllReduce || turn == rank) {
        if (!reduce(segment, size, now / width, what.type, what.operation, receive + begin)) return ncclInvalidArgument;
      }
      if (!segment.barrier(closed)) return ncclRemoteError;
    }
  }
  return ncclSuccess;
}

}  // namespace fakegpu
