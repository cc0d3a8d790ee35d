#pragma once
#include <map>
#include <memory>
#include <string>

#include "dinoxx/comm/communicator.hpp"

namespace dinoxx::testing_support {

/// Passes everything on and counts calls and bytes by operation: of the whole message, as nccl-tests states sizes (the input of an
/// all-reduce or a reduce-scatter, the output of an all-gather). What is split from it counts with it.
class CountingCommunicator : public Communicator {
 public:
  struct Count {
    int64_t calls = 0, bytes = 0;
    bool operator==(const Count&) const = default;
  };
  explicit CountingCommunicator(std::shared_ptr<Communicator> inner, std::shared_ptr<std::map<std::string, Count>> shared = nullptr)
      : counted_(shared ? std::move(shared) : std::make_shared<std::map<std::string, Count>>()),
        counts(*counted_),
        inner_(std::move(inner)) {}
  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  std::string name() const override { return inner_->name(); }
  std::unique_ptr<Work> all_reduce(at::Tensor tensor, ReduceOp op) override {
    count("all_reduce", tensor);
    return inner_->all_reduce(std::move(tensor), op);
  }
  std::unique_ptr<Work> reduce_scatter(at::Tensor output, at::Tensor input) override {
    count("reduce_scatter", input);
    return inner_->reduce_scatter(std::move(output), std::move(input));
  }
  std::unique_ptr<Work> all_gather(at::Tensor output, at::Tensor input) override {
    count("all_gather", output);
    return inner_->all_gather(std::move(output), std::move(input));
  }
  std::unique_ptr<Work> broadcast(at::Tensor tensor, int root) override {
    count("broadcast", tensor);
    return inner_->broadcast(std::move(tensor), root);
  }
  void barrier() override { inner_->barrier(); }
  std::shared_ptr<Communicator> split(int color, int key) override {
    return std::make_shared<CountingCommunicator>(inner_->split(color, key), counted_);
  }

 private:
  std::shared_ptr<std::map<std::string, Count>> counted_;

 public:
  std::map<std::string, Count>& counts;

 private:
  void count(const std::string& operation, const at::Tensor& tensor) {
    ++counts[operation].calls;
    counts[operation].bytes += static_cast<int64_t>(tensor.nbytes());
  }
  std::shared_ptr<Communicator> inner_;
};

}  // namespace dinoxx::testing_support
