// What a run is fed with, for make_program.py: sample ids, crops, masks and stochastic depth of each step, made by the library for one rank
// straight from configuration and seed, without any of src/train.
//
//   program_inputs DATA COMMON.cfg METHOD.cfg OUT.safetensors
#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cstdio>
#include <map>

#include "data_pipeline/loader/loader.hpp"
#include "formats/safetensors.hpp"
#include "method/settings/resolve.hpp"
#include "method/teacher_config.hpp"
#include "model/layers/stochastic_depth.hpp"
#include "step/train_step.hpp"
#include "train/training_config.hpp"

namespace dinoxx {
namespace {

class Output {
 public:
  void add(const std::string& name, const at::Tensor& tensor) { tensors_[name] = tensor.detach().contiguous().clone(); }
  void write(const std::filesystem::path& path) const {
    const std::map<at::ScalarType, DType> types{
        {at::kFloat, DType::kF32}, {at::kDouble, DType::kF64}, {at::kLong, DType::kI64}, {at::kByte, DType::kU8}};
    std::map<std::string, TensorView> views;
    for (const auto& [name, tensor] : tensors_)
      views[name] = {
          types.at(tensor.scalar_type()), tensor.sizes().vec(), {static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()}};
    write_safetensors(path, views);
  }

 private:
  std::map<std::string, at::Tensor> tensors_;
};

// What each residual branch is multiplied with, [blocks, 2, rows]: 0 for a row that a block leaves out.
at::Tensor branch_gains(const VitConfig& vit, const RowOrigin& origin, int64_t rows) {
  at::Tensor gains = at::ones({vit.depth, 2, rows}, at::kDouble);
  const BranchDraws draws(vit, &origin, rows, 2, at::TensorOptions().dtype(at::kDouble));
  for (int block = 0; block < vit.depth; ++block)
    for (int branch = 0; branch < 2; ++branch) {
      const BranchDraw draw = draws.of(static_cast<size_t>(block), branch);
      at::Tensor row = gains[block][branch];
      if (draw.scale.defined()) row.copy_(draw.scale);
      if (draw.kept.defined()) row.zero_().index_fill_(0, draw.kept, draw.gain);
    }
  return gains;
}

void export_inputs(const std::filesystem::path& data, const std::vector<std::filesystem::path>& files, const std::filesystem::path& out) {
  const auto dataset = Dataset::open(data);
  const std::vector<uint64_t> ids = dataset->ids(Split::kTrain);
  Config given = default_config();
  for (const auto& file : files) apply_settings(given, read_settings(file));
  if (given.train->method.starts_with("distill")) given.teacher->distill = "stands in a file of its own";
  const Config config = resolve_config(given, ids.size(), 1);
  const MethodSpec spec = make_method(config);
  const auto seed = static_cast<uint64_t>(config.train->seed);
  Output output;

  LoaderConfig loading;
  loading.seed = seed;
  loading.global_batch = static_cast<int>(config.train->batch_size);
  Loader loader(dataset, ids, spec.plans(), loading);
  loader.start(0);
  const int64_t steps = config.train->length.steps(ids.size(), config.train->batch_size);
  for (int64_t step = 0; step < steps; ++step) {
    const Batch& batch = loader.next();
    const auto slots = static_cast<int64_t>(batch.positions.size());
    const std::string at_step = fmt::format("step{}/", step);
    output.add(at_step + "ids", at::tensor(std::vector<int64_t>(batch.sample_ids.begin(), batch.sample_ids.end()), at::kLong));
    const at::Tensor masked = draw_masks(spec, batch.groups.front().size, batch.positions, seed);
    if (masked.defined()) output.add(at_step + "masked", masked.to(at::kByte));
    for (size_t g = 0; g < batch.groups.size(); ++g) {
      const CropGroup& group = batch.groups[g];
      const int64_t rows = group.views * slots;
      output.add(fmt::format("{}crops{}", at_step, g), at::from_blob(group.pixels.data(), {rows, 3, group.size, group.size}, at::kFloat));
      if (group.first_view >= spec.student_views()) continue;  // the Gram teacher's
      const RowOrigin origin{seed, batch.positions, group.first_view, static_cast<uint64_t>(step)};
      output.add(fmt::format("{}gains{}", at_step, g), branch_gains(std::get<VitConfig>(spec.network.backbone), origin, rows));
    }
  }
  output.write(out);
}

}  // namespace
}  // namespace dinoxx

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fprintf(stderr, "usage: %s DATA COMMON.cfg METHOD.cfg OUT.safetensors\n", argv[0]);
    return 2;
  }
  try {
    dinoxx::export_inputs(argv[1], {argv[2], argv[3]}, argv[4]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
