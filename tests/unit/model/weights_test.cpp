// Weights to a file and back; every kind of mismatch is named and loads nothing.
#include "model/weights/weights.hpp"

#include <gmock/gmock.h>

#include <unistd.h>

#include <filesystem>

#include "dinoxx/base/error.hpp"
#include "small_vit.hpp"

namespace dinoxx {
namespace {

using testing::HasSubstr;

class Weights : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() /
              fmt::format("dinoxx_weights_{}_{}", ::getpid(), testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  WeightFile written(const NamedTensors& tensors) {
    write_safetensors(folder_ / "w.safetensors", tensor_views(tensors));
    return WeightFile::open(folder_ / "w.safetensors");
  }
  std::filesystem::path folder_;
};

NamedTensors three() {
  return {
      {"a.weight", at::arange(6, at::kFloat).view({2, 3})}, {"a.bias", at::ones({3}, at::kFloat)}, {"b", at::full({}, 4.0, at::kFloat)}};
}

TEST_F(Weights, RoundTripOfEveryType) {
  for (const at::ScalarType type : {at::kDouble, at::kFloat, at::kBFloat16, at::kHalf, at::kLong, at::kInt, at::kByte}) {
    const at::Tensor values = at::arange(1, 25, at::kLong).view({2, 3, 4}).to(type);
    const WeightFile file = written({{"x", values}});
    const at::Tensor back = read_entry(file.at("x"));
    EXPECT_EQ(back.scalar_type(), type);
    EXPECT_TRUE(at::equal(back, values)) << c10::toString(type);
  }
}

TEST_F(Weights, NetworkRoundTripAcrossTypes) {
  VisionTransformer vit(small_vit(), at::kFloat), copy(small_vit(), at::kDouble);
  vit.initialize(9);
  const WeightFile file = written(vit.parameters());
  load_named(file, "w.safetensors", copy.parameters());
  for (size_t i = 0; i < vit.parameters().size(); ++i)
    EXPECT_TRUE(at::equal(copy.parameters()[i].tensor, vit.parameters()[i].tensor.to(at::kDouble))) << vit.parameters()[i].name;
}

TEST_F(Weights, PrefixSelects) {
  NamedTensors stored;
  for (const auto& [name, tensor] : three()) stored.push_back({"backbone." + name, tensor});
  stored.push_back({"head.c", at::ones({2})});
  const WeightFile file = written(stored);
  NamedTensors into = three();
  for (auto& [name, tensor] : into) tensor.zero_();
  load_named(file, "w.safetensors", into, {"backbone.", {}});
  EXPECT_TRUE(at::equal(into[0].tensor, three()[0].tensor));
  load_named(file, "w.safetensors", {stored[0], stored[1], stored[2]}, {"", {"head."}});
}

TEST_F(Weights, MismatchIsListedAndLoadsNothing) {
  const WeightFile file = written({{"a.weight", at::zeros({3, 2})}, {"a.bias", at::zeros({3})}, {"c", at::zeros({1})}});
  const NamedTensors into = three();
  std::string message;
  try {
    load_named(file, "w.safetensors", into);
  } catch (const Error& error) {
    message = error.what();
  }
  EXPECT_THAT(message, HasSubstr("w.safetensors"));
  EXPECT_THAT(message, HasSubstr("1 missing: b;"));
  EXPECT_THAT(message, HasSubstr("a.weight [3, 2] instead of [2, 3]"));
  EXPECT_THAT(message, HasSubstr("1 unexpected: c;"));
  EXPECT_TRUE(at::equal(into[1].tensor, three()[1].tensor)) << "a matching tensor was loaded although another did not match";
}

TEST_F(Weights, OnlyContiguousTensorsAreGivenOut) {
  EXPECT_THROW(tensor_views({{"x", at::zeros({2, 3}).t()}}), Error);
  EXPECT_THROW(tensor_views({{"x", at::zeros({2})}, {"x", at::zeros({2})}}), Error);
}

}  // namespace
}  // namespace dinoxx
