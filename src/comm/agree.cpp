#include "agree.hpp"

#include <ATen/ATen.h>

#include <cstring>

namespace dinoxx {

void on_all_ranks(Communicator& comm, const std::function<void()>& work) {
  constexpr int64_t text_size = 2048;
  std::string message;
  bool failed = false, usage = false;
  try {
    work();
  } catch (const Error& error) {
    failed = true;
    usage = error.exit_code() == ExitCode::kUsage;
    message = error.what();
  } catch (const std::exception& error) {
    failed = true;
    message = error.what();
  }
  at::Tensor first = at::full({1}, failed ? comm.rank() : comm.size(), at::kLong);
  comm.all_reduce(first, ReduceOp::kMin)->wait();
  const auto rank = static_cast<int>(first.item<int64_t>());
  if (rank == comm.size()) return;
  at::Tensor text = at::zeros({text_size}, at::kByte);
  if (rank == comm.rank()) {
    text[0] = usage ? 1 : 0;
    std::memcpy(text.data_ptr<uint8_t>() + 1, message.data(), std::min<size_t>(message.size(), text_size - 2));
  }
  comm.broadcast(text, rank)->wait();
  std::string what = reinterpret_cast<const char*>(text.data_ptr<uint8_t>() + 1);
  if (rank != 0) what = fmt::format("rank {}: {}", rank, what);
  throw AgreedError(what, text.data_ptr<uint8_t>()[0] == 1 ? ExitCode::kUsage : ExitCode::kFailed);
}

}  // namespace dinoxx
