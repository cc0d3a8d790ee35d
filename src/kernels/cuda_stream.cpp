#include "cuda_stream.hpp"

#include <c10/core/Event.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "dinoxx/base/error.hpp"

namespace dinoxx {

cudaStream_t current_stream() {
  return c10::cuda::getCurrentCUDAStream().stream();
}

bool kernels_run_on(c10::Device device) {
  return device.is_cuda();
}

void check_launch(cudaError_t code, const char* what) {
  if (code != cudaSuccess)
    fail(what, "a kernel launch", cudaGetErrorString(code), "Was dinoxx built for this GPU? (CMAKE_CUDA_ARCHITECTURES)");
}

namespace {

class CudaEvent : public StreamEvent {
 public:
  explicit CudaEvent(const c10::Stream& stream) : event_(c10::DeviceType::CUDA) { event_.record(stream); }
  ~CudaEvent() override {
    try {
      wait();
    } catch (const std::exception&) {  // a device that has failed has been told of already, and needs no order
    }
  }
  void wait() const override { event_.block(c10::cuda::getCurrentCUDAStream()); }

 private:
  c10::Event event_;
};

}  // namespace

std::shared_ptr<StreamEvent> beside_current_stream(const std::function<void()>& work) {
  static const c10::cuda::CUDAStream side = c10::cuda::getStreamFromPool();  // one device a process
  c10::Event before(c10::DeviceType::CUDA);
  before.record(c10::cuda::getCurrentCUDAStream());
  before.block(side);
  const c10::cuda::CUDAStreamGuard guard(side);
  work();
  return std::make_shared<CudaEvent>(side);
}

}  // namespace dinoxx
