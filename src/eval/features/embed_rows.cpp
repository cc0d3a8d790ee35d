#include "embed_rows.hpp"

#include <ATen/ATen.h>

#include "blocks.hpp"
#include "comm/agree.hpp"
#include "dinoxx/base/error.hpp"
#include "eval/classify/knn.hpp"

namespace dinoxx::eval {

int network_side(const LoadedModel& model, std::optional<int> asked) {
  const int multiple = side_multiple(model.network->config());
  if (asked && *asked % multiple != 0)
    fail_usage("--image-size", fmt::format("a multiple of the patch size {}", multiple), std::to_string(*asked), "Change it.");
  return asked.value_or(model.image_size);
}

void make_input(std::span<const uint8_t> bytes, const EvalTransform& transform, const Normalization& normalization, float* input) {
  Image image;
  decode_image(bytes, image);
  make_eval_view(image, transform, normalization, input);
}

void make_input(const Dataset& dataset, uint64_t id, const EvalTransform& transform, const Normalization& normalization, float* input) {
  std::vector<uint8_t> bytes;
  dataset.read(id, bytes);
  try {
    make_input(bytes, transform, normalization, input);
  } catch (const Error& e) {
    throw Error(fmt::format("{}: {}", dataset.key(id), e.what()));
  }
}

at::Tensor embed_rows(int64_t count, int side, const Embedder& embedder, bool normalize, int threads,
                      const std::function<void(int64_t, float*)>& input, const std::function<void(int64_t)>& done, Communicator& comm) {
  const ItemRange mine = rank_items(count, comm.rank(), comm.size());
  const at::Tensor local = at::empty({mine.size(), embedder.dim}, at::kFloat);
  on_all_ranks(comm, [&] {
    for_each_block(count, mine, threads, [&](int64_t, ItemRange items) {
      const at::Tensor images = at::empty({items.size(), 3, side, side}, at::kFloat);
      for (int64_t i = 0; i < items.size(); ++i) input(items.begin + i, images.data_ptr<float>() + i * images.stride(0));
      const at::Tensor rows = embedder.embed(images).to(at::kCPU, at::kFloat);
      const at::Tensor unit = normalize_rows(rows);  // also says which row is not finite
      local.narrow(0, items.begin - mine.begin, items.size()).copy_(normalize ? unit : rows);
      done(items.size());
    });
  });
  return gather_blocks(comm, local, count).contiguous();
}

}  // namespace dinoxx::eval
