#pragma once
#include <ATen/core/Tensor.h>

namespace dinoxx {

/// What becomes of negative similarities before student and teacher are compared.
enum class GramNegatives {
  kKeep,
  kRemoveBoth,     ///< 0 on both sides
  kRemoveTeacher,  ///< 0 in the teacher's; in the student's where both are negative
};
/// Which patches of an image are compared.
enum class GramTokens { kAll, kMasked, kUnmasked };

/// The forms of the published code (dino_family.md 3.3).
struct GramOptions {
  int64_t group_size = 0;  ///< 0: a matrix for each image; n: one for the tokens of n consecutive images together (n divides B)
  GramNegatives negatives = GramNegatives::kKeep;
  GramTokens tokens = GramTokens::kAll;  ///< others than all need group_size > 0, because images differ in their numbers of tokens
};

/// Gram anchoring of DINOv3 (dino_family.md 3.3): mean squared difference of the matrices X X^T of L2-normalised patch tokens (no CLS, no
/// registers) of student and Gram teacher, over all entries of a matrix, then over matrices. student and teacher [B, P, D], any float
/// types; the loss and its gradient in float32 (float64 for float64). mask [B, P] bool, for tokens other than kAll: true where the student
/// saw the mask token; in host memory, else the host waits for the device. A group without a token counts 0. The published code's batch
/// level is group_size = B.
///
/// Memory beyond the tokens: float32 [B, P, D], of the student normalised, gradient and scaled gradient, of the teacher normalised; blocks
/// of rows of one matrix, two or three of at most 16 MB; never [B, P, P]. Three matrix products where autograd needs four: the matrix of
/// differences is symmetric.
at::Tensor gram_loss(const at::Tensor& student, const at::Tensor& teacher, const GramOptions& options, const at::Tensor& mask = {});

/// A larger teacher's map of tokens on the student's grid, before gram_loss: bicubic (a = -0.75), align_corners false, no antialias.
/// tokens [B, from_height from_width, D], row by row -> [B, height width, D], float32 (float64 for float64). Equal sizes: as it is.
at::Tensor reduce_tokens(const at::Tensor& tokens, int64_t from_height, int64_t from_width, int64_t height, int64_t width);

}  // namespace dinoxx
