// In the place of CUDA's header where a .cu file is compiled with the host's compiler: a CPU instance of every kernel, for tests on machines without a GPU and
// without the toolkit. DINOXX_LAUNCH runs a kernel as a loop over its blocks and threads, in the order that the test sets, since its result may not depend on it.
// DINOXX_LAUNCH_TOGETHER is for kernels whose threads wait for each other (__syncthreads, __shfl_xor_sync): the threads of a block are fibers, which take
// turns, and shared memory is one static variable. A block whose threads do not all arrive at a barrier ends the program: on a GPU it would hang.
#pragma once
#include <setjmp.h>
#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __grid_constant__
#define __launch_bounds__(...)
#define __shared__ static

struct dim3 {
  constexpr dim3(unsigned x_in = 1, unsigned y_in = 1, unsigned z_in = 1) : x(x_in), y(y_in), z(z_in) {}
  unsigned x, y, z;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
enum cudaError_t { cudaSuccess };
using cudaStream_t = void*;
inline cudaError_t cudaGetLastError() {
  return cudaSuccess;
}
inline const char* cudaGetErrorString(cudaError_t) {
  return "no error";
}
inline unsigned __float_as_uint(float x) {
  unsigned bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}
// A product that is rounded before it is added, whatever the compiler may contract.
inline float __fmul_rn(float a, float b) {
  volatile float product = a * b;
  return product;
}
inline float __fadd_rn(float a, float b) {
  return a + b;
}
inline float __uint_as_float(unsigned bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

inline thread_local dim3 gridDim, blockDim, blockIdx, threadIdx;

namespace cuda_on_cpu {

inline bool backwards = false;  ///< the last thread of the last block first
inline bool takes_tensors = true;  ///< whether the program takes the kernels for tensors in main memory
constexpr unsigned kWarp = 32;

template <class Work>
void for_each_index(dim3 size, dim3& index, Work work) {
  const uint64_t all = uint64_t{size.x} * size.y * size.z;
  for (uint64_t k = 0; k < all; ++k) {
    const uint64_t i = backwards ? all - 1 - k : k;
    index = dim3(static_cast<unsigned>(i % size.x), static_cast<unsigned>(i / size.x % size.y), static_cast<unsigned>(i / size.x / size.y));
    work();
  }
}

/// The threads of one block, which take turns.
class Fibers {
 public:
  static Fibers& get() {
    static Fibers fibers;
    return fibers;
  }

  /// One-dimensional blocks.
  void run(unsigned threads, const std::function<void()>& body) {
    while (fibers_.size() < threads) fibers_.push_back(std::make_unique<Fiber>());
    body_ = &body;
    live_ = threads;
    block_ = {};
    warps_.assign((threads + kWarp - 1) / kWarp, {});
    for (unsigned t = 0; t < threads; ++t) {
      Fiber& f = *fibers_[t];
      f.done = f.started = false;
      getcontext(&f.context);
      f.context.uc_stack.ss_sp = f.stack;
      f.context.uc_stack.ss_size = sizeof f.stack;
      f.context.uc_link = nullptr;
      makecontext(&f.context, &Fibers::enter, 0);
    }
    for (auto& w : warps_) w.size = 0;
    for (unsigned t = 0; t < threads; ++t) ++warps_[t / kWarp].size;
    block_.size = threads;
    while (live_ > 0) {
      const uint64_t before = events_;
      for (unsigned k = 0; k < threads; ++k) {
        current_ = backwards ? threads - 1 - k : k;
        if (fibers_[current_]->done) continue;
        threadIdx = dim3(current_);
        resume(*fibers_[current_]);
      }
      if (events_ == before) {
        std::fprintf(stderr, "a barrier that not all threads of the block reach\n");
        std::abort();
      }
    }
  }
  void sync_block() { wait(block_); }
  void sync_warp() { wait(warps_[current_ / kWarp]); }
  float exchange(float value, unsigned lane_mask) {
    Barrier& warp = warps_[current_ / kWarp];
    warp.values[current_ % kWarp] = value;
    sync_warp();
    const float other = warps_[current_ / kWarp].values[(current_ % kWarp) ^ lane_mask];
    sync_warp();
    return other;
  }

 private:
  struct Fiber {
    ucontext_t context;
    jmp_buf place;  // where it waits: jumps cost no system call, as the switches of ucontext.h do
    bool done = false, started = false;
    alignas(16) char stack[32768];
  };
  struct Barrier {
    unsigned size = 0, arrived = 0;
    uint64_t turn = 0;
    float values[kWarp] = {};
  };
  void resume(Fiber& fiber) {
    if (_setjmp(back_) != 0) return;
    if (fiber.started) _longjmp(fiber.place, 1);
    fiber.started = true;
    setcontext(&fiber.context);
  }
  static void enter() {
    Fibers& self = get();
    (*self.body_)();
    self.fibers_[self.current_]->done = true;
    --self.live_;
    ++self.events_;
    self.leave(self.block_);  // a thread that has ended is not waited for
    self.leave(self.warps_[self.current_ / kWarp]);
    _longjmp(self.back_, 1);
  }
  void leave(Barrier& barrier) {
    --barrier.size;
    if (barrier.size > 0 && barrier.arrived == barrier.size) release(barrier);
  }
  void release(Barrier& barrier) {
    barrier.arrived = 0;
    ++barrier.turn;
    ++events_;
  }
  void wait(Barrier& barrier) {
    const uint64_t turn = barrier.turn;
    ++events_;
    if (++barrier.arrived == barrier.size) return release(barrier);
    while (barrier.turn == turn)
      if (_setjmp(fibers_[current_]->place) == 0) _longjmp(back_, 1);
  }

  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Barrier> warps_;
  Barrier block_;
  jmp_buf back_;
  const std::function<void()>* body_ = nullptr;
  unsigned current_ = 0, live_ = 0;
  uint64_t events_ = 0;
};

template <class Kernel>
auto launch(Kernel* kernel, dim3 grid, dim3 block) {
  return [=](auto... arguments) {
    gridDim = grid;
    blockDim = block;
    for_each_index(grid, blockIdx, [&] { for_each_index(block, threadIdx, [&] { kernel(arguments...); }); });
  };
}

template <class Kernel>
auto launch_together(Kernel* kernel, dim3 grid, dim3 block) {
  return [=](auto... arguments) {
    gridDim = grid;
    blockDim = block;
    for_each_index(grid, blockIdx, [&] { Fibers::get().run(block.x, [&] { kernel(arguments...); }); });
  };
}

}  // namespace cuda_on_cpu

inline void __syncthreads() {
  cuda_on_cpu::Fibers::get().sync_block();
}
inline void __syncwarp(unsigned = ~0u) {
  cuda_on_cpu::Fibers::get().sync_warp();
}
inline float __shfl_xor_sync(unsigned, float value, int lane_mask) {
  return cuda_on_cpu::Fibers::get().exchange(value, static_cast<unsigned>(lane_mask));
}

#define DINOXX_LAUNCH(kernel, grid, block, stream) (static_cast<void>(stream), cuda_on_cpu::launch(&kernel, grid, block))
#define DINOXX_LAUNCH_TOGETHER(kernel, grid, block, stream) (static_cast<void>(stream), cuda_on_cpu::launch_together(&kernel, grid, block))
