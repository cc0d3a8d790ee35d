#pragma once
#include <ATen/core/Tensor.h>

#include "dinoxx/comm/communicator.hpp"

namespace dinoxx {

/// Mean over rows of 1 - cos(student, target), half the squared distance of the normalised two: what distillation of features and the
/// anchor of a backbone minimise (Ranzinger et al. 2024, AM-RADIO, for the first). student, target [..., D] of one shape, any float types;
/// the loss in float32 (float64 for float64). The target gets no gradient. `counts`: bool [...], the rows that count, on the student's
/// device; undefined: all. 0 where none does. Error for other shapes.
at::Tensor match_cosine(const at::Tensor& student, const at::Tensor& target, const at::Tensor& counts = {});

/// Cross-entropy between the similarities of student and target to all targets of a step: rows of softmax(s T^T / student_temp) against
/// softmax(t T^T / target_temp), T the normalised targets of all ranks. The form of distillation by a queue of the teacher's features (Fang
/// et al. 2021, SEED), with the images of the step as the queue. student, target [M, D], as many on each rank of `comm`; the loss is this
/// rank's mean, in float32 (float64 for float64). Memory: [M, M size]. Error for other shapes. Collective.
at::Tensor match_batch(const at::Tensor& student, const at::Tensor& target, double student_temp, double target_temp, Communicator& comm);

}  // namespace dinoxx
