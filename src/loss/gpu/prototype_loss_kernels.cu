#include "prototype_loss_kernels.hpp"

#include "row_statistics.hpp"

namespace dinoxx::loss_cuda {
namespace {

constexpr int kImageThreads = 256;  // at most, of a block
constexpr unsigned kMostFlatBlocks = 4096;

template <class T>
struct Dino {
  const T *student, *teacher;
  const float* centre;
  T* grad;
  int64_t batch;
  int views, teacher_views, dim;
  float student_scale, teacher_scale, local_weight, coefficient;
  const RowStatistics *student_rows, *teacher_rows;
  float* dots;  // [B, chunks, 2]: sums of target * t, of pairs with a teacher's view and of the others
};

template <class T>
__device__ __forceinline__ void add_probabilities(const Dino<T>& d, int view, int64_t image, int column, float (&target)[kVector<T>]) {
  const int64_t row = view * d.batch + image;
  const RowStatistics all = d.teacher_rows[row];
  const float scale = 1 / all.sum;
  float x[kVector<T>];
  load_centred(d.teacher + row * d.dim + column, d.centre + column, x);
#pragma unroll
  for (int i = 0; i < kVector<T>; ++i) target[i] += exp2f((x[i] - all.top) * d.teacher_scale) * scale;
}

// One vector of columns of all views of an image: targets, the gradient, and the targets' products with the student's logits.
// grid: [images, chunks of columns]
template <class T>
__global__ void __launch_bounds__(kImageThreads) dino_columns(const __grid_constant__ Dino<T> d) {
  __shared__ float shared[2][kMaxWarps];
  const int64_t image = blockIdx.x;
  const int column = static_cast<int>(blockIdx.y * blockDim.x + threadIdx.x) * kVector<T>;
  float own_dots = 0, other_dots = 0;
  if (column < d.dim) {
    float total[kVector<T>] = {};
    for (int g = 0; g < d.teacher_views; ++g) add_probabilities(d, g, image, column, total);
    for (int v = 0; v < d.views; ++v) {
      const bool paired_with_itself = v < d.teacher_views;
      float target[kVector<T>] = {};
      if (paired_with_itself) {
        for (int g = 0; g < d.teacher_views; ++g)
          if (g != v) add_probabilities(d, g, image, column, target);
      } else {
#pragma unroll
        for (int i = 0; i < kVector<T>; ++i) target[i] = total[i];
      }
      const int64_t row = v * d.batch + image;
      const RowStatistics all = d.student_rows[row];
      const float coefficient = d.coefficient * (paired_with_itself ? 1 : d.local_weight);
      const float scale = static_cast<float>(d.teacher_views - (paired_with_itself ? 1 : 0)) / all.sum;
      float x[kVector<T>], dot = 0;
      cuda::load_vector(d.student + row * d.dim + column, x);
#pragma unroll
      for (int i = 0; i < kVector<T>; ++i) {
        const float t = (x[i] - all.top) * d.student_scale;
        dot += target[i] * t;
        x[i] = coefficient * (exp2f(t) * scale - target[i]);
      }
      if (d.grad) cuda::store_vector(d.grad + row * d.dim + column, x);
      (paired_with_itself ? own_dots : other_dots) += dot;
    }
  }
  const float own = cuda::block_sum(own_dots, shared[0]), other = cuda::block_sum(other_dots, shared[1]);
  if (threadIdx.x != 0) return;
  float* const to = d.dots + 2 * (image * gridDim.y + blockIdx.y);
  to[0] = own;
  to[1] = other;
}

// The sum over the threads of a block, in thread 0.
__device__ double block_sum_double(double x, double* shared) {
  shared[threadIdx.x] = x;
  for (unsigned half = kFlatThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) shared[threadIdx.x] += shared[threadIdx.x + half];
  }
  __syncthreads();
  const double sum = shared[0];
  __syncthreads();
  return sum;
}

struct Sums {
  double loss = 0, cross_entropy = 0, entropy = 0, student_entropy = 0;
};
struct Divisors {
  double loss, pairs, teacher_rows, student_rows;
};

__device__ void write_figures(const Sums& own, const Divisors& divisors, double* figures, float* loss) {
  __shared__ double shared[kFlatThreads];
  const double value = block_sum_double(own.loss, shared) / divisors.loss;
  const double cross_entropy = block_sum_double(own.cross_entropy, shared) / divisors.pairs;
  const double teacher_entropy = block_sum_double(own.entropy, shared) / divisors.teacher_rows;
  const double student_entropy = block_sum_double(own.student_entropy, shared) / divisors.student_rows;
  if (threadIdx.x != 0) return;
  *loss = static_cast<float>(value);
  figures[0] = static_cast<double>(*loss);
  figures[1] = teacher_entropy;
  figures[2] = student_entropy;
  figures[3] = cross_entropy - teacher_entropy;
}

// One block.
__global__ void dino_figures(const RowStatistics* student, const RowStatistics* teacher, const float* dots, int64_t dot_count,
                             int64_t views, int64_t teacher_views, int64_t batch, double local_weight, double* figures, float* loss) {
  Sums sums;
  for (int64_t i = threadIdx.x; i < views * batch; i += blockDim.x) {
    const bool paired_with_itself = i / batch < teacher_views;
    const double cross_entropy = static_cast<double>(teacher_views - (paired_with_itself ? 1 : 0)) * log_sum(student[i]);
    sums.loss += paired_with_itself ? cross_entropy : local_weight * cross_entropy;
    sums.cross_entropy += cross_entropy;
    sums.student_entropy += entropy(student[i]);
  }
  for (int64_t i = threadIdx.x; i < teacher_views * batch; i += blockDim.x) sums.entropy += entropy(teacher[i]);
  for (int64_t i = threadIdx.x; i < dot_count; i += blockDim.x) {
    const double own = kLn2 * static_cast<double>(dots[2 * i]), other = kLn2 * static_cast<double>(dots[2 * i + 1]);
    sums.loss -= own + local_weight * other;
    sums.cross_entropy -= own + other;
  }
  const auto rows = static_cast<double>(batch);
  const double pairs = static_cast<double>(teacher_views * (views - 1)) * rows;
  write_figures(sums, {pairs, pairs, static_cast<double>(teacher_views) * rows, static_cast<double>(views) * rows}, figures, loss);
}

struct PatchRow {
  RowStatistics student, teacher;
  float dot;  // sum of target * t
};
constexpr int64_t kPatchFloats = sizeof(PatchRow) / sizeof(float);

template <class T>
struct Patch {
  const T *student, *teacher;
  const float *centre, *row_weight;
  T* grad;
  int dim;
  float student_scale, teacher_scale, coefficient;
  PatchRow* rows;  // [M]
};

// A block for each row. The second read goes from the end to the start: what the first read last is still in the cache.
template <class T>
__global__ void __launch_bounds__(kRowThreads) patch_rows(const __grid_constant__ Patch<T> p) {
  __shared__ float shared[4][kMaxWarps];
  const int64_t row = blockIdx.x;
  const T *const student = p.student + row * p.dim, *const teacher = p.teacher + row * p.dim;
  const RowStatistics target = row_statistics<T, false>(teacher, p.centre, p.dim, p.teacher_scale, shared, nullptr);
  const RowStatistics own = row_statistics<T, false>(student, nullptr, p.dim, p.student_scale, shared, nullptr);
  const float target_scale = 1 / target.sum, scale = 1 / own.sum, coefficient = p.row_weight[row] * p.coefficient;
  const int stride = static_cast<int>(blockDim.x) * kVector<T>, first = static_cast<int>(threadIdx.x) * kVector<T>;
  float dot = 0;
  for (int j = (p.dim - 1) / stride * stride + first; j >= 0; j -= stride) {
    if (j >= p.dim) continue;
    float x[kVector<T>], y[kVector<T>];
    load_centred(teacher + j, p.centre + j, y);
    cuda::load_vector(student + j, x);
#pragma unroll
    for (int i = 0; i < kVector<T>; ++i) {
      const float t = (x[i] - own.top) * p.student_scale;
      const float probability = exp2f((y[i] - target.top) * p.teacher_scale) * target_scale;
      dot += probability * t;
      x[i] = coefficient * (exp2f(t) * scale - probability);
    }
    if (p.grad) cuda::store_vector(p.grad + row * p.dim + j, x);
  }
  dot = cuda::block_sum(dot, shared[3]);
  if (threadIdx.x == 0) p.rows[row] = {own, target, dot};
}

// One block.
__global__ void patch_figures(const PatchRow* rows, const float* row_weight, int64_t count, double divisor, double* figures, float* loss) {
  Sums sums;
  for (int64_t i = threadIdx.x; i < count; i += blockDim.x) {
    const double cross_entropy = log_sum(rows[i].student) - kLn2 * static_cast<double>(rows[i].dot);
    sums.loss += static_cast<double>(row_weight[i]) * cross_entropy;
    sums.cross_entropy += cross_entropy;
    sums.entropy += entropy(rows[i].teacher);
    sums.student_entropy += entropy(rows[i].student);
  }
  const auto all = static_cast<double>(count);
  write_figures(sums, {divisor, all, all, all}, figures, loss);
}

// Nothing is read or written for a weight of 1.
template <class T>
__global__ void __launch_bounds__(kFlatThreads) scale_elements(T* x, int64_t vectors, const float* weight) {
  const float factor = *weight;
  if (factor == 1) return;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t k = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; k < vectors; k += stride) {
    float v[kVector<T>];
    cuda::load_vector(x + k * kVector<T>, v);
#pragma unroll
    for (int i = 0; i < kVector<T>; ++i) v[i] *= factor;
    cuda::store_vector(x + k * kVector<T>, v);
  }
}

template <class T>
int64_t image_chunks(int64_t dim) {
  return blocks_for(dim / kVector<T>, kImageThreads);
}

template <class T>
cudaError_t dino(const DinoPass& pass, cudaStream_t stream) {
  const int64_t student_rows = pass.views * pass.batch, teacher_rows = pass.teacher_views * pass.batch;
  const int64_t chunks = image_chunks<T>(pass.dim);
  const int dim = static_cast<int>(pass.dim);
  auto* const statistics = reinterpret_cast<RowStatistics*>(pass.scratch);
  Dino<T> d;
  d.student = static_cast<const T*>(pass.student);
  d.teacher = static_cast<const T*>(pass.teacher);
  d.centre = pass.centre;
  d.grad = static_cast<T*>(pass.student_grad);
  d.batch = pass.batch;
  d.views = static_cast<int>(pass.views);
  d.teacher_views = static_cast<int>(pass.teacher_views);
  d.dim = dim;
  d.student_scale = scale_of(pass.student_temp);
  d.teacher_scale = scale_of(pass.teacher_temp);
  d.local_weight = static_cast<float>(pass.local_weight);
  const auto pairs = static_cast<double>(pass.teacher_views * (pass.views - 1));
  d.coefficient = static_cast<float>(1 / (pairs * static_cast<double>(pass.batch) * pass.student_temp));
  d.student_rows = statistics;
  d.teacher_rows = statistics + student_rows;
  d.dots = pass.scratch + kRowFloats * (student_rows + teacher_rows);

  const Rows<T> student{d.student, nullptr, student_rows, d.student_scale, statistics};
  const Rows<T> teacher{d.teacher, d.centre, teacher_rows, d.teacher_scale, statistics + student_rows};
  DINOXX_LAUNCH_TOGETHER((statistics_of_rows<T, false>), static_cast<unsigned>(student_rows + teacher_rows),
                         threads_for<T>(dim, kRowThreads), stream)
  (student, teacher, dim, nullptr);
  if (const cudaError_t code = cudaGetLastError(); code != cudaSuccess) return code;
  const dim3 images(static_cast<unsigned>(pass.batch), static_cast<unsigned>(chunks));
  DINOXX_LAUNCH_TOGETHER(dino_columns<T>, images, threads_for<T>(dim, kImageThreads), stream)(d);
  if (const cudaError_t code = cudaGetLastError(); code != cudaSuccess) return code;
  DINOXX_LAUNCH_TOGETHER(dino_figures, 1, kFlatThreads, stream)
  (d.student_rows, d.teacher_rows, d.dots, pass.batch * chunks, pass.views, pass.teacher_views, pass.batch, pass.local_weight, pass.figures,
   pass.loss);
  return cudaGetLastError();
}

template <class T>
cudaError_t patch(const PatchPass& pass, cudaStream_t stream) {
  Patch<T> p;
  p.student = static_cast<const T*>(pass.student);
  p.teacher = static_cast<const T*>(pass.teacher);
  p.centre = pass.centre;
  p.row_weight = pass.row_weight;
  p.grad = static_cast<T*>(pass.student_grad);
  p.dim = static_cast<int>(pass.dim);
  p.student_scale = scale_of(pass.student_temp);
  p.teacher_scale = scale_of(pass.teacher_temp);
  p.coefficient = static_cast<float>(1 / (pass.divisor * pass.student_temp));
  p.rows = reinterpret_cast<PatchRow*>(pass.scratch);
  DINOXX_LAUNCH_TOGETHER(patch_rows<T>, static_cast<unsigned>(pass.rows), threads_for<T>(pass.dim, kRowThreads), stream)(p);
  if (const cudaError_t code = cudaGetLastError(); code != cudaSuccess) return code;
  DINOXX_LAUNCH_TOGETHER(patch_figures, 1, kFlatThreads, stream)(p.rows, p.row_weight, pass.rows, pass.divisor, pass.figures, pass.loss);
  return cudaGetLastError();
}

template <class T>
cudaError_t scale(T* x, int64_t count, const float* weight, cudaStream_t stream) {
  const int64_t vectors = count / kVector<T>;
  const unsigned blocks = blocks_for(vectors, kFlatThreads);
  DINOXX_LAUNCH(scale_elements<T>, blocks < kMostFlatBlocks ? blocks : kMostFlatBlocks, kFlatThreads, stream)(x, vectors, weight);
  return cudaGetLastError();
}

}  // namespace

int64_t dino_scratch(const DinoPass& pass) {
  const int64_t chunks = pass.type == Storage::kFloat ? image_chunks<float>(pass.dim) : image_chunks<Bf16>(pass.dim);
  return kRowFloats * (pass.views + pass.teacher_views) * pass.batch + 2 * pass.batch * chunks;
}
cudaError_t launch_dino(const DinoPass& pass, cudaStream_t stream) {
  return pass.type == Storage::kFloat ? dino<float>(pass, stream) : dino<Bf16>(pass, stream);
}

int64_t patch_scratch(const PatchPass& pass) {
  return kPatchFloats * pass.rows;
}
cudaError_t launch_patch(const PatchPass& pass, cudaStream_t stream) {
  return pass.type == Storage::kFloat ? patch<float>(pass, stream) : patch<Bf16>(pass, stream);
}

cudaError_t launch_scale(Storage type, void* x, int64_t count, const float* weight, cudaStream_t stream) {
  return type == Storage::kFloat ? scale(static_cast<float*>(x), count, weight, stream)
                                 : scale(static_cast<Bf16*>(x), count, weight, stream);
}

}  // namespace dinoxx::loss_cuda
