#pragma once
#include <memory>

#include "dinoxx/comm/communicator.hpp"
#include "parallel/gradient_sync.hpp"

/// What gradient averaging must do on any back end and on either path of the gradients (absent: that of the CPU); each rank calls, checks
/// are EXPECT_*.
namespace dinoxx::testing_support {

/// The averaged gradient is the gradient of the mean over the global batch, computed serially: float64, several backward passes too.
void check_average_is_serial_gradient(const std::shared_ptr<Communicator>& comm, GradientPath path = {});
/// Several passes, of which not every one has a gradient for every parameter: gathered gradients are those of the views bit for bit, for a
/// bf16 network too; parameters have no .grad meanwhile and their views again afterwards, and one that the hook has not taken is named.
void check_gathered_is_added(const std::shared_ptr<Communicator>& comm);
/// With float32 gradients of a bf16 network: equal on all ranks bit for bit.
void check_bf16_network(const std::shared_ptr<Communicator>& comm, GradientPath path = {});
/// Gradients that travel as bf16: each rank's rounded, their sum rounded (once on these back ends), then the mean. On one rank nothing is
/// rounded.
void check_bf16_messages(const std::shared_ptr<Communicator>& comm, GradientPath path = {});
/// Buckets are posted once each in index order, each completes after it was posted, and all are posted before backward ends.
void check_event_log(const std::shared_ptr<Communicator>& comm, GradientPath path = {});
/// Backward waits at a layer until the buckets of the layers behind it are done, so overlap is a matter of order and not of time: with no
/// bucket posted from hooks, or no progress driven, it would wait for ever.
void check_overlap(const std::shared_ptr<Communicator>& comm, GradientPath path = {});
/// Nothing but the hooks asks for progress: what was posted before all ranks have met in backward is logged as completed before backward
/// ends.
void check_hooks_drive_progress(const std::shared_ptr<Communicator>& comm, GradientPath path = {});
/// A parameter without a gradient is named, and it holds back every bucket.
void check_missing_gradient_is_named(const std::shared_ptr<Communicator>& comm, GradientPath path = {});
/// Broadcast of the start values, and the divergence check before and after one bit differs on the last rank.
void check_divergence_is_found(const std::shared_ptr<Communicator>& comm);

}  // namespace dinoxx::testing_support
