// cuBLAS: matrix products are counted with their floating-point operations.
#include <cublas_v2.h>

#include <cstdio>

#include "device/counters.hpp"
#include "device/settings.hpp"

namespace {

using namespace fakegpu;

cublasStatus_t product(const char* name, double m, double n, double k, double batch) {
  count([&](Counters& c) {
    ++c.products;
    c.product_flops += 2 * m * n * k * batch;
  });
  if (settings().names_of_step > 0) {
    char text[120];
    std::snprintf(text, sizeof text, "product %s %.0f x %.0f x %.0f, %.0f times", name, m, n, k, batch);
    note_name(text);
  }
  return CUBLAS_STATUS_SUCCESS;
}

const char* type_name(cudaDataType type) {
  return type == CUDA_R_16BF ? "bf16" : type == CUDA_R_32F ? "fp32" : "another type";
}

}  // namespace

extern "C" {

cublasStatus_t cublasCreate_v2(cublasHandle_t* handle) {
  static char place[64];
  *handle = reinterpret_cast<cublasHandle_t>(place);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasDestroy_v2(cublasHandle_t) {
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetStream_v2(cublasHandle_t, cudaStream_t) {
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetWorkspace_v2(cublasHandle_t, void*, size_t) {
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetMathMode(cublasHandle_t, cublasMath_t) {
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasGetMathMode(cublasHandle_t, cublasMath_t* mode) {
  *mode = CUBLAS_DEFAULT_MATH;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetPointerMode_v2(cublasHandle_t, cublasPointerMode_t) {
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasGetPointerMode_v2(cublasHandle_t, cublasPointerMode_t* mode) {
  *mode = CUBLAS_POINTER_MODE_HOST;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasGemmEx(cublasHandle_t, cublasOperation_t, cublasOperation_t, int m, int n, int k, const void*, const void*,
                            cudaDataType a, int, const void*, cudaDataType, int, const void*, void*, cudaDataType, int, cublasComputeType_t,
                            cublasGemmAlgo_t) {
  return product(type_name(a), m, n, k, 1);
}
cublasStatus_t cublasGemmStridedBatchedEx(cublasHandle_t, cublasOperation_t, cublasOperation_t, int m, int n, int k, const void*,
                                          const void*, cudaDataType a, int, long long, const void*, cudaDataType, int, long long,
                                          const void*, void*, cudaDataType, int, long long, int batch, cublasComputeType_t,
                                          cublasGemmAlgo_t) {
  return product(type_name(a), m, n, k, batch);
}
cublasStatus_t cublasSgemm_v2(cublasHandle_t, cublasOperation_t, cublasOperation_t, int m, int n, int k, const float*, const float*, int,
                              const float*, int, const float*, float*, int) {
  return product("fp32", m, n, k, 1);
}
cublasStatus_t cublasSgemmStridedBatched(cublasHandle_t, cublasOperation_t, cublasOperation_t, int m, int n, int k, const float*,
                                         const float*, int, long long, const float*, int, long long, const float*, float*, int, long long,
                                         int batch) {
  return product("fp32", m, n, k, batch);
}
cublasStatus_t cublasSgemv_v2(cublasHandle_t, cublasOperation_t, int m, int n, const float*, const float*, int, const float*, int,
                              const float*, float*, int) {
  return product("fp32 vector", m, n, 1, 1);
}
cublasStatus_t cublasDgemm_v2(cublasHandle_t, cublasOperation_t, cublasOperation_t, int m, int n, int k, const double*, const double*, int,
                              const double*, int, const double*, double*, int) {
  return product("fp64", m, n, k, 1);
}
cublasStatus_t cublasDgemmStridedBatched(cublasHandle_t, cublasOperation_t, cublasOperation_t, int m, int n, int k, const double*,
                                         const double*, int, long long, const double*, int, long long, const double*, double*, int,
                                         long long, int batch) {
  return product("fp64", m, n, k, batch);
}

}  // extern "C"
