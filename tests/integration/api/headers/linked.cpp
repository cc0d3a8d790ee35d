// Something of every public header that has a source, and what the calls of a user do: values that are known, errors that are documented.
#include <ATen/Functions.h>

#include <cmath>
#include <cstdio>
#include <functional>

#include "dinoxx/base/error.hpp"
#include "dinoxx/comm/mpi_communicator.hpp"
#include "dinoxx/comm/runtime.hpp"
#include "dinoxx/comm/self_communicator.hpp"
#include "dinoxx/data_pipeline/image.hpp"
#include "dinoxx/eval/embedding.hpp"
#include "dinoxx/eval/pretrained_backbone.hpp"
#include "dinoxx/loss/byol_loss.hpp"
#include "dinoxx/loss/dino_loss.hpp"
#include "dinoxx/loss/gram.hpp"
#include "dinoxx/loss/koleo.hpp"
#include "dinoxx/loss/nt_xent.hpp"
#include "dinoxx/loss/patch_loss.hpp"
#include "dinoxx/loss/sinkhorn.hpp"
#include "dinoxx/loss/supervised.hpp"

namespace {

int failures = 0;

void expect(bool ok, const char* what) {
  if (!ok) std::printf("FAILED: %s\n", what);
  failures += !ok;
}

bool near(double a, double b) {
  return std::abs(a - b) < 1e-6;
}

bool is_usage_error(const std::function<void()>& call) {
  try {
    call();
  } catch (const dinoxx::Error& error) {
    return error.exit_code() == dinoxx::ExitCode::kUsage;
  }
  return false;
}

bool is_error(const std::function<void()>& call) {
  try {
    call();
  } catch (const dinoxx::Error&) {
    return true;
  }
  return false;
}

void losses(dinoxx::Communicator& comm) {
  const at::Tensor views = at::eye(4).reshape({2, 2, 4}), rows = at::eye(4), none = at::zeros({4});
  expect(near(dinoxx::byol_loss(views, views).item<double>(), 4), "byol_loss: two ordered pairs at right angles, 2 each");
  expect(near(dinoxx::dino_loss(at::zeros({2, 2, 4}), at::zeros({2, 2, 4}), none, 1, 1).loss.item<double>(), std::log(4.0)),
         "dino_loss of nothing: ln K");
  expect(near(dinoxx::patch_loss(at::zeros({3, 4}), at::zeros({3, 4}), none, at::ones({3}), 1, 1, 3).loss.item<double>(), std::log(4.0)),
         "patch_loss of nothing: ln K");
  expect(near(dinoxx::gram_loss(views, views, {}).item<double>(), 0), "gram_loss of equal tokens");
  expect(near(dinoxx::koleo_loss(rows, 4, 1, &comm).item<double>(), -std::log(std::sqrt(2.0))), "koleo_loss: neighbours at sqrt 2");
  expect(near(dinoxx::nt_xent(at::ones({2, 2, 4}), 1, comm).item<double>(), std::log(3.0)),
         "nt_xent of equal images: ln of the three others");
  expect(near(dinoxx::supervised_loss(at::zeros({2, 4}), at::zeros({2}, at::kLong), {}).item<double>(), std::log(4.0)),
         "supervised_loss: ln C");
  const at::Tensor centre = dinoxx::sinkhorn_centre(at::zeros({4, 4}), 1, 3, comm);
  expect(near(centre.sub(centre[0]).abs().max().item<double>(), 0), "sinkhorn_centre of equal prototypes");
  dinoxx::Centre running(4, 0.9);
  running.update(at::ones({4}), 1);
  expect(near(running.value()[0].item<double>(), 0.1), "Centre::update");
}

void backbone(const char* weights, const char* data) {
  const auto loaded = dinoxx::PretrainedBackbone::load(weights);
  const dinoxx::BackboneFacts& facts = loaded.facts();
  expect(near(facts.mean[0], 0.4914) && near(facts.std[2], 0.2616), "the input's numbers are those of the run's profile, not ImageNet's");
  const at::Tensor images = at::zeros({2, facts.channels, 2 * facts.patch_size, 3 * facts.patch_size});
  expect(loaded.forward(images).sizes() == at::IntArrayRef({2, facts.feature_dim}), "forward: [B, feature_dim]");
  expect(loaded.patch_tokens(images).sizes() == at::IntArrayRef({2, 6, facts.feature_dim}), "patch_tokens: [B, N, D]");
  expect(!loaded.forward(images).requires_grad(), "forward without autograd");
  expect(is_error([&] { loaded.forward(images.to(at::kDouble)); }), "forward refuses float64");
  expect(is_error([&] { loaded.forward(images.narrow(2, 0, facts.patch_size + 1)); }), "forward refuses sides that patches do not fit");
  expect(is_usage_error([&] { dinoxx::PretrainedBackbone::load("nothing/here"); }), "load refuses what is not there");

  const auto dataset = dinoxx::Dataset::open(data);
  const std::vector<uint64_t> ids = dataset->ids(dinoxx::Split::kVal), beyond{dataset->size()};
  const at::Tensor rows = dinoxx::embed_images(loaded, *dataset, ids);
  expect(near(rows.norm(2, 1).sub(1).abs().max().item<double>(), 0), "rows of length 1");
  const at::Tensor plain = dinoxx::embed_images(loaded, *dataset, ids, {.normalize = false, .threads = 2});
  expect(near(plain.div(plain.norm(2, 1, true)).sub(rows).abs().max().item<double>(), 0) && !near(plain.norm(2, 1)[0].item<double>(), 1),
         "the same rows not divided");
  expect(dinoxx::embed_images(loaded, *dataset, {}).sizes() == at::IntArrayRef({0, facts.feature_dim}), "no image: no row");
  expect(is_error([&] { dinoxx::embed_images(loaded, *dataset, beyond); }), "an id outside is refused");
  expect(is_usage_error([&] { dinoxx::embed_images(loaded, *dataset, ids, {.image_size = facts.patch_size + 1}); }),
         "a size that patches do not fit");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const auto self = dinoxx::make_self_communicator();
  losses(*self);
  expect(dinoxx::launched_tasks().count == 1, "launched_tasks alone");
  auto* volatile make_mpi = &dinoxx::make_mpi_communicator;  // needs MPI: named only, so that it is linked
  expect(make_mpi != nullptr, "make_mpi_communicator");
  expect(dinoxx::detect_codec(dinoxx::encode_png({1, 1, {1, 2, 3}})) == dinoxx::Codec::kPng, "encode_png");
  backbone(argv[1], argv[2]);
  std::printf("%d failures\n", failures);
  return failures == 0 ? 0 : 1;
}
