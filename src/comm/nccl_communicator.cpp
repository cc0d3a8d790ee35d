// GPU collectives by NCCL's own interface. MPI stays the control plane: it carries the id and nothing that a GPU computes with.
#include "nccl_communicator.hpp"

#include <ATen/ATen.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>
#include <fmt/format.h>
#include <nccl.h>

#include <chrono>
#include <exception>
#include <functional>
#include <thread>

#include "checks.hpp"

namespace dinoxx {
namespace {

using namespace comm_detail;

void check_cuda(cudaError_t code, const std::string& what) {
  if (code != cudaSuccess) fail(what, "success", cudaGetErrorString(code), "");
}

/// Owns the ncclComm_t. Shared by the communicator and its Works, so that the last of them tears it down.
class Handle {
 public:
  Handle(ncclComm_t comm, int device) : comm_(comm), device_(device) {}
  Handle(const Handle&) = delete;
  // Finalize is collective: after an error the other ranks may not come. And to abort communicators one by one while other ranks still wait
  // in another of them is a deadlock: who fails leaves them as they are, for MPI_Abort to end.
  ~Handle() {
    ncclResult_t state = ncclSuccess;
    if (std::uncaught_exceptions() > 0 || ncclCommGetAsyncError(comm_, &state) != ncclSuccess || state != ncclSuccess) return;
    c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(device_));
    ncclCommFinalize(comm_);
    ncclCommDestroy(comm_);
  }
  ncclComm_t comm() const { return comm_; }
  int device() const { return device_; }

  void check(ncclResult_t code, const std::string& what) {
    if (code == ncclSuccess) return;
    std::string found = ncclGetErrorString(code);
    if (const char* detail = ncclGetLastError(comm_); detail != nullptr && *detail != '\0') found += fmt::format(" ({})", detail);
    fail(what, "success", found, "Another rank may have ended; look for the first error of the job. NCCL_DEBUG=INFO says more");
  }
  /// A peer that is gone shows here, not in the call that waits for it.
  void check_async(const std::string& what) {
    ncclResult_t state = ncclSuccess;
    check(ncclCommGetAsyncError(comm_, &state), what);
    if (state == ncclSuccess || state == ncclInProgress) return;
    fail(what, "ranks that are alive", ncclGetErrorString(state),
         "Another rank or the network has failed; look for the first error of the job");
  }

 private:
  ncclComm_t comm_;
  int device_;
};

class Event {
 public:
  Event() { check_cuda(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "CUDA event"); }
  ~Event() { cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  cudaEvent_t get() const { return event_; }
  void record(cudaStream_t stream) { check_cuda(cudaEventRecord(event_, stream), "CUDA event record"); }
  void block(cudaStream_t stream) const { check_cuda(cudaStreamWaitEvent(stream, event_, 0), "CUDA stream wait"); }

 private:
  cudaEvent_t event_ = nullptr;
};

class NcclWork : public Work {
 public:
  NcclWork(std::shared_ptr<Handle> handle, std::string subject) : handle_(std::move(handle)), subject_(std::move(subject)) {}
  ~NcclWork() override {
    if (finished_ || std::uncaught_exceptions() > unwinding_) return;
    try {
      wait();
    } catch (const std::exception& error) {
      fmt::print(stderr, "{}\n", error.what());
    }
  }
  void wait() override {
    if (finished_) return;
    handle_->check_async(subject_);
    finish();
  }
  bool test() override {
    if (finished_) return true;
    handle_->check_async(subject_);
    c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(handle_->device()));
    const cudaError_t state = cudaEventQuery(done.get());
    if (state == cudaErrorNotReady) return false;
    check_cuda(state, subject_);
    finish();
    return true;
  }

  Event done;
  std::vector<at::Tensor> tensors;
  std::function<void()> when_done;  // enqueued on the stream that waits

 private:
  void finish() {
    finished_ = true;
    c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(handle_->device()));
    done.block(c10::cuda::getCurrentCUDAStream().stream());
    if (when_done) when_done();
    when_done = nullptr;
    tensors.clear();
  }
  std::shared_ptr<Handle> handle_;
  std::string subject_;
  bool finished_ = false;
  const int unwinding_ = std::uncaught_exceptions();
};

ncclRedOp_t nccl_op(ReduceOp op) {
  return op == ReduceOp::kSum || op == ReduceOp::kSumOnWire ? ncclSum : op == ReduceOp::kMax ? ncclMax : ncclMin;
}

/// Of a communicator from which others are split: they share its buffers and proxies.
ncclConfig_t sharing() {
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.splitShare = 1;
  return config;
}

class NcclCommunicator : public Communicator {
 public:
  explicit NcclCommunicator(std::shared_ptr<Handle> handle)
      : handle_(std::move(handle)),
        stream_(c10::cuda::getStreamFromPool(/*isHighPriority=*/true, static_cast<c10::DeviceIndex>(handle_->device()))) {
    handle_->check(ncclCommUserRank(handle_->comm(), &rank_), "NCCL start-up");
    handle_->check(ncclCommCount(handle_->comm(), &size_), "NCCL start-up");
  }
  int rank() const override { return rank_; }
  int size() const override { return size_; }
  std::string name() const override { return "nccl"; }

  std::unique_ptr<Work> all_reduce(at::Tensor tensor, ReduceOp op) override {
    check_on_device("all_reduce", tensor);
    // NCCL rounds bf16 at every hop; through float32 the sum is rounded once, as by the other back ends
    const bool widen = tensor.scalar_type() == at::kBFloat16 && op != ReduceOp::kSumOnWire;
    const at::Tensor buffer = widen ? tensor.to(at::kFloat) : tensor;
    auto work = post("all_reduce", {tensor, buffer}, [&](cudaStream_t stream) {
      return ncclAllReduce(buffer.data_ptr(), buffer.data_ptr(), buffer.numel(), wire_type("all_reduce", buffer), nccl_op(op),
                           handle_->comm(), stream);
    });
    if (widen) work->when_done = [tensor, buffer]() mutable { tensor.copy_(buffer); };
    return work;
  }
  std::unique_ptr<Work> reduce_scatter(at::Tensor output, at::Tensor input) override {
    check_pair(*this, "reduce_scatter", input, output);
    check_on_device("reduce_scatter", output);
    check_on_device("reduce_scatter", input);
    const bool widen = input.scalar_type() == at::kBFloat16;
    const at::Tensor from = widen ? input.to(at::kFloat) : input;
    const at::Tensor to = widen ? at::empty(output.sizes(), from.options()) : output;
    auto work = post("reduce_scatter", {output, input, from, to}, [&](cudaStream_t stream) {
      return ncclReduceScatter(from.data_ptr(), to.data_ptr(), to.numel(), wire_type("reduce_scatter", from), ncclSum, handle_->comm(),
                               stream);
    });
    if (widen) work->when_done = [output, to]() mutable { output.copy_(to); };
    return work;
  }
  std::unique_ptr<Work> all_gather(at::Tensor output, at::Tensor input) override {
    check_pair(*this, "all_gather", output, input);
    check_on_device("all_gather", output);
    check_on_device("all_gather", input);
    return post("all_gather", {output, input}, [&](cudaStream_t stream) {
      return ncclAllGather(input.data_ptr(), output.data_ptr(), input.numel(), wire_type("all_gather", input), handle_->comm(), stream);
    });
  }
  std::unique_ptr<Work> broadcast(at::Tensor tensor, int root) override {
    check_on_device("broadcast", tensor);
    check_root(*this, "broadcast", root);
    return post("broadcast", {tensor}, [&](cudaStream_t stream) {
      return ncclBroadcast(tensor.data_ptr(), tensor.data_ptr(), tensor.numel(), wire_type("broadcast", tensor), root, handle_->comm(),
                           stream);
    });
  }
  /// The host waits until all ranks' GPUs have come here.
  void barrier() override {
    const at::Tensor token =
        at::zeros({1}, at::TensorOptions(at::kInt).device(at::kCUDA, static_cast<c10::DeviceIndex>(handle_->device())));
    const std::unique_ptr<Work> work = all_reduce(token, ReduceOp::kSum);
    while (!work->test()) std::this_thread::sleep_for(std::chrono::microseconds(20));  // not cudaEventSynchronize: a dead peer must show
  }
  std::shared_ptr<Communicator> split(int color, int key) override {
    require(color >= 0, *this, "split", "a colour of 0 or more", fmt::format("{}", color));
    c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(handle_->device()));
    ncclComm_t part = nullptr;
    ncclConfig_t config = sharing();
    handle_->check(ncclCommSplit(handle_->comm(), color, key, &part, &config), subject(*this, "split"));
    return std::make_shared<NcclCommunicator>(std::make_shared<Handle>(part, handle_->device()));
  }

 private:
  ncclDataType_t wire_type(const char* operation, const at::Tensor& tensor) const {
    switch (tensor.scalar_type()) {
      case at::kFloat:
        return ncclFloat32;
      case at::kDouble:
        return ncclFloat64;
      case at::kBFloat16:
        return ncclBfloat16;
      case at::kInt:
        return ncclInt32;
      case at::kLong:
        return ncclInt64;
      case at::kByte:
        return ncclUint8;
      default:
        fail(subject(*this, operation), "float32, float64, bfloat16, int32, int64 or uint8", c10::toString(tensor.scalar_type()),
             "Convert the tensor first");
    }
  }
  void check_on_device(const char* operation, const at::Tensor& tensor) const {
    check_tensor(*this, operation, tensor);
    require(tensor.is_cuda() && tensor.get_device() == handle_->device(), *this, operation,
            fmt::format("a tensor on cuda:{}", handle_->device()), tensor.device().str());
  }
  // ready event -> communication stream -> collective -> done event; no synchronisation of the host
  template <class Call>
  std::unique_ptr<NcclWork> post(const char* operation, std::vector<at::Tensor> tensors, Call call) {
    const std::string what = subject(*this, operation);
    c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(handle_->device()));
    auto work = std::make_unique<NcclWork>(handle_, what);
    Event ready;
    ready.record(c10::cuda::getCurrentCUDAStream().stream());
    ready.block(stream_.stream());
    handle_->check(call(stream_.stream()), what);
    work->done.record(stream_.stream());
    // memory that the owner frees early must not be given out before the communication stream is through with it
    for (const at::Tensor& tensor : tensors) c10::cuda::CUDACachingAllocator::recordStream(tensor.storage().data_ptr(), stream_);
    work->tensors = std::move(tensors);
    return work;
  }

  std::shared_ptr<Handle> handle_;
  c10::cuda::CUDAStream stream_;
  int rank_ = 0, size_ = 1;
};

/// Two ranks on one GPU would hang in NCCL's first collective.
void check_one_gpu_per_rank(Communicator& control, int device) {
  int count = 0;
  check_cuda(cudaGetDeviceCount(&count), "NCCL start-up");
  const std::string what = fmt::format("NCCL start-up on rank {}", control.rank());
  if (device < 0 || device >= count) {
    fail(what, fmt::format("GPU {}", device), fmt::format("{} GPU(s)", count),
         "Start at most one rank per GPU on each machine, or look at CUDA_VISIBLE_DEVICES");
  }
  cudaDeviceProp properties;
  check_cuda(cudaGetDeviceProperties(&properties, device), what);
  constexpr int64_t kBytes = sizeof properties.uuid.bytes;
  const at::Tensor mine = at::empty({kBytes}, at::kByte), all = at::empty({control.size(), kBytes}, at::kByte);
  std::memcpy(mine.data_ptr(), properties.uuid.bytes, kBytes);
  control.all_gather(all, mine)->wait();
  for (int r = 0; r < control.size(); ++r) {
    if (r != control.rank() && at::equal(all[r], mine)) {
      fail(what, "a GPU of its own for every rank", fmt::format("the GPU of rank {}", r), "Start one rank per GPU");
    }
  }
}

}  // namespace

std::shared_ptr<Communicator> make_nccl_communicator(const std::shared_ptr<Communicator>& control, int device) {
  check_one_gpu_per_rank(*control, device);
  c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(device));
  // Several communicators have collectives under way at once. Every rank posts them in the same order, and NCCL (2.26 and newer) then
  // launches them in it, so that two GPUs do not wait for each other in different ones. Who has set it otherwise keeps that.
  setenv("NCCL_LAUNCH_ORDER_IMPLICIT", "1", /*overwrite=*/0);
  ncclUniqueId id;
  const at::Tensor wire = at::zeros({static_cast<int64_t>(sizeof id)}, at::kByte);
  if (control->rank() == 0) {
    const ncclResult_t code = ncclGetUniqueId(&id);
    if (code != ncclSuccess) fail("NCCL start-up", "an id", ncclGetErrorString(code), "NCCL_DEBUG=INFO says more");
    std::memcpy(wire.data_ptr(), &id, sizeof id);
  }
  control->broadcast(wire, 0)->wait();
  std::memcpy(&id, wire.data_ptr(), sizeof id);
  control->barrier();  // the broadcast is complete everywhere before NCCL opens connections of its own
  ncclComm_t comm = nullptr;
  ncclConfig_t config = sharing();
  const ncclResult_t code = ncclCommInitRankConfig(&comm, control->size(), id, control->rank(), &config);
  if (code != ncclSuccess) {
    fail(fmt::format("NCCL start-up on rank {}", control->rank()), "a communicator", ncclGetErrorString(code), "NCCL_DEBUG=INFO says more");
  }
  return std::make_shared<NcclCommunicator>(std::make_shared<Handle>(comm, device));
}

}  // namespace dinoxx
