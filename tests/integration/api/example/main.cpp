// Opens a packed folder, loads a backbone and embeds the test images: which other image is nearest to each, and how often it has its label.
//   embed_pictures DATA WEIGHTS OUT      OUT: the features, raw float32, a row for each image
#include <cstdio>
#include <fstream>
#include <vector>

#include "dinoxx/base/error.hpp"
#include "dinoxx/data_pipeline/dataset.hpp"
#include "dinoxx/eval/embedding.hpp"
#include "dinoxx/eval/pretrained_backbone.hpp"

int main(int argc, char** argv) try {
  if (argc != 4) {
    std::fprintf(stderr, "usage: embed_pictures DATA WEIGHTS OUT\n");
    return 2;
  }
  const auto dataset = dinoxx::Dataset::open(argv[1]);
  const auto backbone = dinoxx::PretrainedBackbone::load(argv[2]);
  const dinoxx::BackboneFacts& facts = backbone.facts();
  std::printf("%s: %s, %d features, images of %d pixels\n", facts.file.c_str(), facts.description.c_str(), facts.feature_dim,
              facts.image_size);

  const std::vector<uint64_t> ids = dataset->ids(dinoxx::Split::kTest);
  const at::Tensor rows = dinoxx::embed_images(backbone, *dataset, ids, {.threads = 2});  // [images, features], of length 1

  const at::Tensor nearest = rows.matmul(rows.t()).fill_diagonal_(-2).argmax(1);  // cosines; an image is not its own neighbour
  size_t right = 0;
  for (size_t i = 0; i < ids.size(); ++i) {
    const uint64_t neighbour = ids[static_cast<size_t>(nearest.data_ptr<int64_t>()[i])];
    right += dataset->meta(neighbour).label == dataset->meta(ids[i]).label;
  }
  std::printf("%zu images; the nearest has the same label for %zu\n", ids.size(), right);

  std::ofstream out(argv[3], std::ios::binary);
  out.write(reinterpret_cast<const char*>(rows.data_ptr<float>()), static_cast<std::streamsize>(rows.nbytes()));
  return out.flush() ? 0 : 1;
} catch (const dinoxx::Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return static_cast<int>(error.exit_code());
}
