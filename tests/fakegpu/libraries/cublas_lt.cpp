// cuBLASLt: the sizes of a product stand in descriptors that the caller makes.
#include <cublasLt.h>

#include <cstdio>
#include <cstring>

#include "device/counters.hpp"
#include "device/settings.hpp"

namespace {

using namespace fakegpu;

struct MatrixLayout {
  uint64_t rows, columns;
  int32_t batch = 1;
  cudaDataType type;
};
struct Description {
  int32_t transposed = 0;
  uint32_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
};

template <class Stand, class Handle>
Stand& stand_in(Handle handle) {
  return *reinterpret_cast<Stand*>(handle);
}

}  // namespace

extern "C" {

size_t cublasLtGetVersion() {
  return 130100;
}
cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  static char place[64];
  *handle = reinterpret_cast<cublasLtHandle_t>(place);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType type, uint64_t rows, uint64_t columns, int64_t) {
  *layout = reinterpret_cast<cublasLtMatrixLayout_t>(new MatrixLayout{.rows = rows, .columns = columns, .type = type});
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  delete &stand_in<MatrixLayout>(layout);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t layout, cublasLtMatrixLayoutAttribute_t attribute, const void* value,
                                                size_t) {
  if (attribute == CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT) std::memcpy(&stand_in<MatrixLayout>(layout).batch, value, sizeof(int32_t));
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* description, cublasComputeType_t, cudaDataType_t) {
  *description = reinterpret_cast<cublasLtMatmulDesc_t>(new Description);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t description) {
  delete &stand_in<Description>(description);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t description, cublasLtMatmulDescAttributes_t attribute, const void* value,
                                              size_t) {
  Description& d = stand_in<Description>(description);
  if (attribute == CUBLASLT_MATMUL_DESC_TRANSA) std::memcpy(&d.transposed, value, sizeof d.transposed);
  if (attribute == CUBLASLT_MATMUL_DESC_EPILOGUE) std::memcpy(&d.epilogue, value, sizeof d.epilogue);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  *preference = reinterpret_cast<cublasLtMatmulPreference_t>(new char[64]());
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  delete[] reinterpret_cast<char*>(preference);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t, cublasLtMatmulPreferenceAttributes_t, const void*, size_t) {
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t, cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                              cublasLtMatrixLayout_t, cublasLtMatrixLayout_t, cublasLtMatmulPreference_t, int,
                                              cublasLtMatmulHeuristicResult_t* results, int* found) {
  std::memset(results, 0, sizeof *results);
  *found = 1;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t description, const void*, const void*, cublasLtMatrixLayout_t a,
                              const void*, cublasLtMatrixLayout_t, const void*, const void*, cublasLtMatrixLayout_t, void*,
                              cublasLtMatrixLayout_t d, const cublasLtMatmulAlgo_t*, void*, size_t, cudaStream_t) {
  const auto& what = stand_in<Description>(description);
  const auto &left = stand_in<MatrixLayout>(a), &result = stand_in<MatrixLayout>(d);
  const auto inner = static_cast<double>(what.transposed ? left.rows : left.columns);
  const auto m = static_cast<double>(result.rows), n = static_cast<double>(result.columns);
  count([&](Counters& c) {
    ++c.products;
    c.product_flops += 2 * m * n * inner * result.batch;
  });
  if (settings().names_of_step > 0) {
    char text[120];
    std::snprintf(text, sizeof text, "product Lt%s epilogue %u %.0f x %.0f x %.0f, %d times", left.type == CUDA_R_16BF ? " bf16" : "",
                  what.epilogue, m, n, inner, result.batch);
    note_name(text);
  }
  return CUBLAS_STATUS_SUCCESS;
}

}  // extern "C"
