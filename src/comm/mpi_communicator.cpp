#include "dinoxx/comm/mpi_communicator.hpp"

#include <ATen/ATen.h>
#include <mpi.h>

#include <exception>
#include <functional>

#include "checks.hpp"

namespace dinoxx {
namespace {

using namespace comm_detail;

std::string mpi_message(int code) {
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  if (MPI_Error_string(code, text, &length) != MPI_SUCCESS) return fmt::format("MPI error {}", code);
  return std::string(text, length);
}

/// The requests of one collective and what they need alive.
class MpiWork : public Work {
 public:
  MpiWork(std::string subject, std::vector<at::Tensor> tensors) : subject_(std::move(subject)), tensors_(std::move(tensors)) {}

  ~MpiWork() override {
    if (finished_) return;
    if (std::uncaught_exceptions() > unwinding_) {
      // An error is on its way up and the other ranks may never come: waiting would hide it. The buffers must outlive the requests, so they
      // are left to the process, which is about to end.
      new std::vector<at::Tensor>(std::move(tensors_));
      new std::vector<MPI_Request>(std::move(requests_));
      return;
    }
    try {
      wait();
    } catch (const std::exception& error) {
      fmt::print(stderr, "{}\n", error.what());
      MPI_Abort(MPI_COMM_WORLD, 1);
    }
  }

  MPI_Request* new_request() { return &requests_.emplace_back(MPI_REQUEST_NULL); }
  void reserve(int64_t count) { requests_.reserve(count); }
  void check(int code) const {
    if (code != MPI_SUCCESS)
      fail(subject_, "success", mpi_message(code), "Another rank may have ended; look for the first error of the job");
  }
  void keep(at::Tensor tensor) { tensors_.push_back(std::move(tensor)); }
  void when_done(std::function<void()> finish) { finish_ = std::move(finish); }

  void wait() override {
    if (finished_) return;
    require_main_thread();
    const int code = MPI_Waitall(static_cast<int>(requests_.size()), requests_.data(), MPI_STATUSES_IGNORE);
    complete(code);
  }
  bool test() override {
    if (finished_) return true;
    require_main_thread();
    int done = 0;
    const int code = MPI_Testall(static_cast<int>(requests_.size()), requests_.data(), &done, MPI_STATUSES_IGNORE);
    if (code != MPI_SUCCESS || done) complete(code);
    return finished_;
  }

  void require_main_thread() const {
    int main_thread = 0;
    MPI_Is_thread_main(&main_thread);
    if (!main_thread) {
      fail(subject_, "a call from the thread that initialised MPI", "another thread",
           "Hooks on other threads must hand their work to that thread");
    }
  }

 private:
  void complete(int code) {
    finished_ = true;
    check(code);
    if (finish_) finish_();
    finish_ = nullptr;
    tensors_.clear();
  }

  std::string subject_;
  std::vector<at::Tensor> tensors_;
  std::vector<MPI_Request> requests_;
  std::function<void()> finish_;
  bool finished_ = false;
  const int unwinding_ = std::uncaught_exceptions();
};

MPI_Datatype wire_type(const Communicator& comm, const char* operation, at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return MPI_FLOAT;
    case at::kDouble:
      return MPI_DOUBLE;
    case at::kInt:
      return MPI_INT32_T;
    case at::kLong:
      return MPI_INT64_T;
    case at::kByte:
      return MPI_UINT8_T;
    case at::kBFloat16:
      return MPI_UINT16_T;  // to be moved, not to be computed with
    default:
      fail(subject(comm, operation), "float32, float64, bfloat16, int32, int64 or uint8", c10::toString(type), "Convert the tensor first");
  }
}

MPI_Op mpi_op(ReduceOp op) {
  return op == ReduceOp::kSum || op == ReduceOp::kSumOnWire ? MPI_SUM : op == ReduceOp::kMax ? MPI_MAX : MPI_MIN;
}

char* bytes(const at::Tensor& tensor) {
  return static_cast<char*>(tensor.data_ptr());
}

class MpiCommunicator : public Communicator {
 public:
  MpiCommunicator(MPI_Comm comm, int64_t piece_bytes) : comm_(comm), piece_bytes_(piece_bytes) {
    MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN);
    MPI_Comm_rank(comm_, &rank_);
    MPI_Comm_size(comm_, &size_);
  }
  ~MpiCommunicator() override {
    int finalized = 0;
    MPI_Finalized(&finalized);
    // MPI_Comm_free is collective: while an error unwinds, the other ranks may not come
    if (!finalized && std::uncaught_exceptions() == 0) MPI_Comm_free(&comm_);
  }
  int rank() const override { return rank_; }
  int size() const override { return size_; }
  std::string name() const override { return "mpi"; }

  std::unique_ptr<Work> all_reduce(at::Tensor tensor, ReduceOp op) override {
    auto work = begin("all_reduce", tensor);
    at::Tensor buffer = tensor;
    if (tensor.scalar_type() == at::kBFloat16) {
      // MPI_Op functions round at every hop; through float32 the sum is rounded once, the same on all ranks
      buffer = tensor.to(at::kFloat);
      work->keep(buffer);
      work->when_done([tensor, buffer]() mutable { tensor.copy_(buffer); });
    }
    const MPI_Datatype type = wire_type(*this, "all_reduce", buffer.scalar_type());
    for_pieces(*work, buffer.numel(), buffer.element_size(), [&](int64_t first, int count, MPI_Request* request) {
      return MPI_Iallreduce(MPI_IN_PLACE, bytes(buffer) + first * buffer.element_size(), count, type, mpi_op(op), comm_, request);
    });
    return work;
  }

  std::unique_ptr<Work> reduce_scatter(at::Tensor output, at::Tensor input) override {
    auto work = begin("reduce_scatter", input);
    check_on_host("reduce_scatter", output);
    check_pair(*this, "reduce_scatter", input, output);
    work->keep(output);
    const bool widen = input.scalar_type() == at::kBFloat16;
    const at::Tensor from = (widen ? input.to(at::kFloat) : input).view({size_, -1});
    const at::Tensor to = widen ? at::empty({output.numel()}, from.options()) : output.view({-1});
    work->keep(from);
    work->keep(to);
    if (widen) work->when_done([output, to] { output.view({-1}).copy_(to); });
    const MPI_Datatype type = wire_type(*this, "reduce_scatter", from.scalar_type());
    for_pieces(*work, to.numel(), from.element_size() * size_, [&](int64_t first, int count, MPI_Request* request) {
      // a piece is a column range: every rank's block of it has to be adjacent to the next rank's
      const at::Tensor piece = from.narrow(1, first, count).contiguous();
      work->keep(piece);
      return MPI_Ireduce_scatter_block(piece.data_ptr(), bytes(to) + first * to.element_size(), count, type, MPI_SUM, comm_, request);
    });
    return work;
  }

  std::unique_ptr<Work> all_gather(at::Tensor output, at::Tensor input) override {
    auto work = begin("all_gather", input);
    check_on_host("all_gather", output);
    check_pair(*this, "all_gather", output, input);
    work->keep(output);
    const MPI_Datatype type = wire_type(*this, "all_gather", input.scalar_type());
    const int64_t width = input.element_size();
    if (input.numel() * width * size_ <= piece_bytes_) {
      work->check(MPI_Iallgather(input.data_ptr(), static_cast<int>(input.numel()), type, output.data_ptr(),
                                 static_cast<int>(input.numel()), type, comm_, work->new_request()));
      return work;
    }
    struct Piece {
      int64_t first;
      at::Tensor gathered;
    };
    auto pieces = std::make_shared<std::vector<Piece>>();
    for_pieces(*work, input.numel(), width * size_, [&](int64_t first, int count, MPI_Request* request) {
      pieces->push_back({first, at::empty({size_, count}, input.options())});
      return MPI_Iallgather(bytes(input) + first * width, count, type, pieces->back().gathered.data_ptr(), count, type, comm_, request);
    });
    // the Work owns the pieces too, for a Work that is given up while an error unwinds
    for (const Piece& piece : *pieces) work->keep(piece.gathered);
    const at::Tensor rows = output.view({size_, -1});
    work->when_done([rows, pieces] {
      for (const Piece& piece : *pieces) rows.narrow(1, piece.first, piece.gathered.size(1)).copy_(piece.gathered);
    });
    return work;
  }

  std::unique_ptr<Work> broadcast(at::Tensor tensor, int root) override {
    auto work = begin("broadcast", tensor);
    check_root(*this, "broadcast", root);
    const MPI_Datatype type = wire_type(*this, "broadcast", tensor.scalar_type());
    for_pieces(*work, tensor.numel(), tensor.element_size(), [&](int64_t first, int count, MPI_Request* request) {
      return MPI_Ibcast(bytes(tensor) + first * tensor.element_size(), count, type, root, comm_, request);
    });
    return work;
  }

  void barrier() override {
    MpiWork work(subject(*this, "barrier"), {});
    work.require_main_thread();
    work.check(MPI_Ibarrier(comm_, work.new_request()));
    work.wait();
  }

  std::shared_ptr<Communicator> split(int color, int key) override {
    MpiWork work(subject(*this, "split"), {});
    work.require_main_thread();
    require(color >= 0, *this, "split", "a colour of 0 or more", fmt::format("{}", color));
    MPI_Comm part = MPI_COMM_NULL;
    work.check(MPI_Comm_split(comm_, color, key, &part));
    work.wait();
    return std::make_shared<MpiCommunicator>(part, piece_bytes_);
  }

 private:
  void check_on_host(const char* operation, const at::Tensor& tensor) const {
    check_tensor(*this, operation, tensor);
    require(tensor.device().is_cpu(), *this, operation, "a CPU tensor", tensor.device().str());
  }
  std::unique_ptr<MpiWork> begin(const char* operation, const at::Tensor& tensor) const {
    check_on_host(operation, tensor);
    auto work = std::make_unique<MpiWork>(subject(*this, operation), std::vector<at::Tensor>{tensor});
    work->require_main_thread();
    return work;
  }
  template <class Post>
  void for_pieces(MpiWork& work, int64_t count, int64_t element_bytes, Post post) const {
    const int64_t limit = std::max<int64_t>(1, piece_bytes_ / element_bytes);
    work.reserve((count + limit - 1) / limit);
    for (int64_t first = 0; first < count; first += limit) {
      work.check(post(first, static_cast<int>(std::min(limit, count - first)), work.new_request()));
    }
  }

  MPI_Comm comm_;
  int64_t piece_bytes_;
  int rank_ = 0, size_ = 1;
};

}  // namespace

std::shared_ptr<Communicator> make_mpi_communicator(int64_t piece_bytes) {
  MPI_Comm copy = MPI_COMM_NULL;
  const int code = MPI_Comm_dup(MPI_COMM_WORLD, &copy);
  if (code != MPI_SUCCESS) fail("MPI_Comm_dup", "a new communicator", mpi_message(code), "");
  return std::make_shared<MpiCommunicator>(copy, piece_bytes);
}

}  // namespace dinoxx
