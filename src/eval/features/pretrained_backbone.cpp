#include "dinoxx/eval/pretrained_backbone.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include "dinoxx/base/error.hpp"
#include "features.hpp"
#include "model_source.hpp"

namespace dinoxx {

// The embedder refers to the network of the model, so that both stay where they are.
struct PretrainedBackbone::Impl {
  explicit Impl(const eval::ModelRequest& request)
      : model(eval::load_model(request)), embedder(eval::backbone_embedder("backbone", "", *model.network)) {}

  eval::LoadedModel model;
  eval::Embedder embedder;
  BackboneFacts facts;
};

namespace {

BackboneFacts facts_of(const eval::LoadedModel& model) {
  const BackboneConfig config = model.network->config();
  const auto* vit = std::get_if<VitConfig>(&config);
  BackboneFacts facts;
  facts.file = model.file;
  facts.description = describe(config);
  facts.feature_dim = model.network->feature_dim();
  facts.channels = channels_of(config);
  facts.patch_size = vit ? vit->patch_size : 0;
  facts.side_multiple = side_multiple(config);
  facts.image_size = model.image_size;
  facts.mean = model.normalization.value().values.mean;
  facts.std = model.normalization.value().values.std;
  facts.normalization_source = model.normalization.value().source;
  facts.step = model.step;
  facts.notes = model.notes;
  return facts;
}

at::Tensor run(const std::function<at::Tensor(const at::Tensor&)>& network, const at::Tensor& images) {
  if (!images.defined() || images.scalar_type() != at::kFloat)
    fail("backbone input", "images in float32", images.defined() ? c10::toString(images.scalar_type()) : "no tensor",
         "Convert them: images.to(at::kFloat).");
  const at::NoGradGuard no_grad;
  return network(images).to(at::kCPU, at::kFloat);
}

}  // namespace

PretrainedBackbone::PretrainedBackbone(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}

PretrainedBackbone PretrainedBackbone::load(const std::filesystem::path& path, const BackboneOptions& options) {
  eval::ModelRequest request;
  request.checkpoint = path;
  request.step = options.step;
  request.which.heads = options.heads;
  if (options.bfloat16) request.dtype = at::kBFloat16;
  const auto impl = std::make_shared<Impl>(request);
  impl->facts = facts_of(impl->model);
  return PretrainedBackbone(impl);
}

const BackboneFacts& PretrainedBackbone::facts() const {
  return impl_->facts;
}

at::Tensor PretrainedBackbone::forward(const at::Tensor& images) const {
  return run(impl_->embedder.embed, images);
}

at::Tensor PretrainedBackbone::patch_tokens(const at::Tensor& images) const {
  return run(impl_->embedder.patches, images);
}

}  // namespace dinoxx
