// A ViT's step: what vit_packed.cpp, ops/packed and LibTorch's attention compute and keep.
#include <algorithm>
#include <cmath>

#include "cost.hpp"

namespace dinoxx::plan {
namespace {

constexpr double kBlockLaunches = 15, kBlockBackwardLaunches = 21;  // kernels and products of a block, counted (docs/plan.md)
constexpr double kAttentionLaunches = 8;                            // of these, from the normed tokens to the projection

struct Rows {
  double all = 0;      // tokens of all crops
  double samples = 0;  // crops
  double squares = 0;  // sum over crops of tokens^2
  double patches = 0;
};

Rows rows_of(const std::vector<CropGroup>& crops, int64_t batch) {
  Rows rows;
  for (const CropGroup& group : crops) {
    const auto samples = static_cast<double>(group.views * batch), tokens = static_cast<double>(group.tokens);
    rows.all += samples * tokens;
    rows.samples += samples;
    rows.squares += samples * tokens * tokens;
    rows.patches += samples * static_cast<double>(group.patches);
  }
  return rows;
}

class VitCost {
 public:
  VitCost(const VitConfig& vit, int64_t batch, int64_t element, const Pass& pass)
      : vit_(vit), batch_(batch), c_(static_cast<double>(element)), pass_(pass) {}

  Cost of(const std::vector<CropGroup>& crops) {
    embed(rows_of(crops, batch_));
    const bool subset = pass_.trains && vit_.drop_path > 0 && vit_.drop_path_form != "mask";
    const bool local_norm =
        pass_.trains && vit_.untied_local_cls_norm && std::any_of(crops.begin(), crops.end(), [](const CropGroup& g) { return g.local; });
    // VisionTransformer::last_block_for_cls and packed_first_and_cls
    const bool cls = vit_.ffn != "swiglu" && vit_.qkv_bias && vit_.positions != "rope" && !subset && !local_norm;
    const bool only_cls = cls && !pass_.patches, others_cls = cls && pass_.patches && crops.size() > 1 && !vit_.untied_cls_norm;
    const Rows rows = rows_of(crops, batch_);
    for (int64_t i = 0; i < vit_.depth; ++i) {
      stages_.emplace_back();
      if (i + 1 < vit_.depth || !(only_cls || others_cls)) {
        block(rows, i);
        continue;
      }
      if (others_cls) {
        block(rows_of({crops.front()}, batch_), i);
        cls_block(rows_of({crops.begin() + 1, crops.end()}, batch_));
      } else {
        cls_block(rows);
      }
    }
    // what the backward pass needs first, or later, when what the blocks behind kept is gone
    double gone = 0;
    for (auto stage = stages_.rbegin(); stage != stages_.rend(); ++stage) {
      cost_.backward = std::max(cost_.backward, stage->needs - gone);
      cost_.saved += stage->saved;
      gone += stage->saved;
    }
    return cost_;
  }

 private:
  // One block, or the two forms of the last one: bytes that it keeps, and that its backward pass needs beside what is kept.
  struct Stage {
    double saved = 0, needs = 0;
  };
  double dim() const { return vit_.dim; }
  double hidden() const { return vit_.hidden_dim(); }
  double up() const { return vit_.ffn == "swiglu" ? 2 * hidden() : hidden(); }

  // Pixels as [rows, 3 p^2]: kept for the weight's gradient. The tokens are kept as the input of the first norm.
  void embed(const Rows& rows) {
    const double pixels = static_cast<double>(vit_.channels) * vit_.patch_size * vit_.patch_size;
    if (vit_.stem == "patch") {
      add_linear(cost_, rows.patches, pixels, dim(), pass_.trains, false);
      if (pass_.trains) cost_.saved += c_ * rows.patches * pixels;
    } else {
      stem(rows);
    }
    if (pass_.trains && vit_.recompute.of(0) != "block") cost_.saved += c_ * rows.all * dim();  // else the first block keeps its input
    cost_.traffic += c_ * (2 * rows.patches * pixels + 4 * rows.all * dim()) * (pass_.trains ? 2 : 1);
    cost_.launches += pass_.trains ? 24 : 8;
  }

  // 3x3 convolutions at stride 2 down to the grid, each with a norm over channels and GELU (vit_parameters has their widths).
  void stem(const Rows& rows) {
    int layers = 0;
    for (int side = vit_.patch_size; side > 1; side /= 2) ++layers;
    double in = vit_.channels;
    for (int i = 0; i < layers; ++i) {
      const double out = dim() / std::exp2(layers - 1 - i), places = rows.patches * std::pow(4, layers - 1 - i);
      add_linear(cost_, places, 9 * in, out, pass_.trains, i > 0);
      if (pass_.trains) cost_.saved += c_ * places * out * 4 + 8 * places;
      cost_.traffic += c_ * places * out * 8;
      in = out;
    }
    add_linear(cost_, rows.patches, dim(), dim(), pass_.trains);
  }

  void attention(double squares, double forwards) {
    cost_.attention += 4 * squares * dim() * forwards;
    if (pass_.trains) cost_.attention += 10 * squares * dim();  // five products of the same size, of which one is computed again
  }

  // ops/packed/branches.cpp and qkv.cpp save: h, q, k, v, attention's output with a float for each head and row; the sum behind the first
  // branch, its norm, both matrices of the feed-forward part; the sum behind the second. Norms: two floats for each row.
  // An attention part that is computed again (ops/packed/projection.cpp) keeps h of it alone.
  void block(const Rows& rows, int64_t index) {
    const double kept = pass_.trains ? kept_share(vit_, index, batch_) : 1, r = kept * rows.all;
    const bool again = pass_.trains && vit_.recompute.of(index) == "block",
               attention_again = pass_.trains && vit_.recompute.of(index) == "attention";
    const double forwards = again ? 2 : 1, attention_forwards = again || attention_again ? 2 : 1;
    add_linear(cost_, r, dim(), 3 * dim(), pass_.trains, true, attention_forwards);
    add_linear(cost_, r, dim(), dim(), pass_.trains, true, attention_forwards);
    add_linear(cost_, r, dim(), up(), pass_.trains, true, forwards);
    add_linear(cost_, r, hidden(), dim(), pass_.trains, true, forwards);
    attention(kept * rows.squares, attention_forwards);
    const double rope = vit_.positions == "rope" ? 4 : 0;
    const double once = c_ * (2 * (2 * rows.all + 2 * r) * dim() + r * (up() + hidden()) + (4 + rope) * r * dim());
    const double back = c_ * (10 * rows.all * dim() + r * (hidden() + 2 * up()) + (14 + rope) * r * dim());
    cost_.traffic += once * forwards + (pass_.trains ? back : 0) + (attention_again ? c_ * (4 + rope) * r * dim() : 0);
    cost_.launches += kBlockLaunches * forwards + (pass_.trains ? kBlockBackwardLaunches : 0) + (attention_again ? kAttentionLaunches : 0);

    const double inner = c_ * r * (6 * dim() + up() + hidden()) + r * (16 + 4 * vit_.heads);
    const double folded = vit_.layer_scale > 0 ? c_ * dim() * (dim() + hidden()) : 0;
    const double saved = inner + 2 * c_ * rows.all * dim() + folded - (attention_again ? r * (4 * c_ * dim() + 4 * vit_.heads) : 0);
    // at the end of backward of both branches: gradients of the sum (a second one where the first belongs to the caller, as when a block
    // was computed again), of the next norm, of both branches, of both matrices, of the second norm, of attention; and of the weights
    const double sums = again ? 2 : 1;
    const double back_bytes =
        c_ * (sums * rows.all * dim() + r * ((again ? 4 : 5) * dim() + hidden() + up())) + c_ * dim() * (up() + hidden() + dim());
    cost_.forward = std::max(cost_.forward, c_ * (3 * rows.all * dim() + r * (4 * dim() + up() + hidden())));
    if (!pass_.trains) return;
    stages_.back().saved += again ? c_ * rows.all * dim() : saved;
    stages_.back().needs = back_bytes + (again ? saved : 0);
  }

  // model/layers/cls_block.cpp: the last block for the CLS token alone
  void cls_block(const Rows& rows) {
    const double b = rows.samples, heads = vit_.heads, train = pass_.trains ? 3 : 1;
    for (int i = 0; i < 2; ++i) {  // query and probe; value and projection follow
      add_linear(cost_, b, dim(), dim(), pass_.trains);
      add_linear(cost_, b, dim(), dim(), pass_.trains);
      cost_.products.push_back({rows.all, heads, dim(), train});  // scores; the mixture
    }
    add_linear(cost_, b, dim(), up(), pass_.trains);
    add_linear(cost_, b, hidden(), dim(), pass_.trains);
    if (pass_.trains) cost_.backward_flops += 2 * 2 * 2 * rows.all * heads * dim();
    cost_.traffic += c_ * rows.all * dim() * (pass_.trains ? 8 : 3);
    cost_.launches += pass_.trains ? 50 : 20;
    if (!pass_.trains) return;
    stages_.back().saved += c_ * (rows.all * dim() + 4 * rows.all * heads + b * (4 * heads * dim() + up() + hidden() + 8 * dim())) +
                            8 * rows.all + (vit_.layer_scale > 0 ? c_ * dim() * (dim() + hidden()) : 0);
    stages_.back().needs = std::max(stages_.back().needs, c_ * 4 * rows.all * dim());
  }

  const VitConfig& vit_;
  int64_t batch_;
  double c_;
  Pass pass_;
  Cost cost_;
  std::vector<Stage> stages_;  // by block
};

}  // namespace

Cost& Cost::operator+=(const Cost& more) {
  products.insert(products.end(), more.products.begin(), more.products.end());
  backward_flops += more.backward_flops;
  attention += more.attention;
  traffic += more.traffic;
  launches += more.launches;
  saved += more.saved;
  backward = std::max(backward, more.backward);
  forward = std::max(forward, more.forward);
  return *this;
}

double Cost::product_flops() const {
  double sum = 0;
  for (const Product& product : products) sum += product.flops();
  return sum;
}

void add_linear(Cost& cost, double rows, double in, double out, bool trains, bool input_gradient, double forwards) {
  if (rows <= 0) return;
  cost.products.push_back({rows, out, in, forwards});
  if (!trains) return;
  cost.products.push_back({out, in, rows, 1});
  if (input_gradient) cost.products.push_back({rows, in, out, 1});
  cost.backward_flops += 2 * rows * in * out * ((input_gradient ? 2 : 1) + forwards - 1);
}

Cost vit_cost(const VitConfig& vit, const std::vector<CropGroup>& crops, int64_t batch, int64_t element, const Pass& pass) {
  return VitCost(vit, batch, element, pass).of(crops);
}

Cost backbone_cost(const BackboneConfig& backbone, const std::vector<CropGroup>& crops, int64_t batch, int64_t element, const Pass& pass) {
  if (crops.empty()) return {};
  if (const auto* vit = std::get_if<VitConfig>(&backbone)) return vit_cost(*vit, crops, batch, element, pass);
  return conv_cost(backbone, crops, batch, element, pass);
}

}  // namespace dinoxx::plan
