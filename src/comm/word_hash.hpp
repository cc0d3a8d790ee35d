#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace dinoxx {

/// A number of the bits of a contiguous tensor with elements of 4 or 8 bytes: its 32-bit words, each times an odd number of its place,
/// added up modulo 2^64. The same in any order of summation, so that it is computed where the tensor lies. Two tensors that differ in one
/// word never have the same.
int64_t word_hash(const at::Tensor& flat);

}  // namespace dinoxx
