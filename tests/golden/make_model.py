"""Writes data/model.safetensors: outputs and gradients of facebookresearch/dino's own networks in float64.

    python make_model.py DINO_CHECKOUT          (commit 7c446df; torch as recorded in the file)
"""
import argparse
import os
import sys

import torch

from golden_common import fill_parameters, put, save, uniform, versions

DIM, DEPTH, HEADS, PATCH, IMAGE, BATCH = 48, 2, 3, 4, 16, 3
HEAD = dict(out_dim=37, hidden_dim=40, bottleneck_dim=16)


def build_vit(dino, dtype):
    model = dino.VisionTransformer(img_size=[IMAGE], patch_size=PATCH, embed_dim=DIM, depth=DEPTH, num_heads=HEADS, mlp_ratio=4, qkv_bias=True,
                                   norm_layer=lambda d: torch.nn.LayerNorm(d, eps=1e-6)).to(dtype)
    fill_parameters(model)
    return model


def build_head(dino, dtype, norm_last_layer, layers=3):
    head = dino.DINOHead(DIM, norm_last_layer=norm_last_layer, nlayers=layers, **HEAD).to(dtype)
    fill_parameters(head, keep=("weight_g",) if norm_last_layer else ())
    return head


def backward(output, name):
    (output * uniform(name + "/direction", tuple(output.shape)).to(output.dtype)).sum().backward()


def put_gradients(out, prefix, module):
    for name, parameter in module.named_parameters():
        if parameter.grad is not None:
            put(out, f"{prefix}/grad/{name}", parameter.grad)


def vit_cases(dino, out, dtype):
    for name, height, width in (("native", 16, 16), ("larger", 24, 24), ("local", 8, 8), ("oblong", 12, 20)):
        model = build_vit(dino, dtype).train()
        images = uniform(f"images/{name}", (BATCH, 3, height, width)).to(dtype)
        features = model(images)
        put(out, f"vit/{name}/features", features)
        backward(features, f"vit/{name}")
        put_gradients(out, f"vit/{name}", model)
        with torch.no_grad():
            put(out, f"vit/{name}/tokens", model.get_intermediate_layers(images, 1)[0])


def head_cases(dino, out, dtype):
    for name, norm_last_layer, layers in (("frozen_gain", True, 3), ("free_gain", False, 3), ("one_layer", False, 1)):
        head = build_head(dino, dtype, norm_last_layer, layers)
        x = uniform("head/input", (6, DIM)).to(dtype).requires_grad_()
        logits = head(x)
        put(out, f"head/{name}/logits", logits)
        backward(logits, f"head/{name}")
        put(out, f"head/{name}/grad_input", x.grad)
        put_gradients(out, f"head/{name}", head)


def multi_crop_case(dino, utils, out, dtype):
    network = utils.MultiCropWrapper(build_vit(dino, dtype), build_head(dino, dtype, False))
    fill_parameters(network)  # by their full names, backbone.* and head.*
    crops = [uniform(f"multi_crop/view{v}", (2, 3, size, size)).to(dtype) for v, size in enumerate((16, 16, 8, 8, 8))]
    # the wrapper starts its concatenation from an empty tensor of the default type
    torch.set_default_dtype(dtype)
    logits = network(crops)
    torch.set_default_dtype(torch.float32)
    put(out, "multi_crop/logits", logits.reshape(5, 2, -1))
    backward(logits, "multi_crop")
    put_gradients(out, "multi_crop", network)


def run(dino, utils, dtype):
    out = {}
    vit_cases(dino, out, dtype)
    head_cases(dino, out, dtype)
    multi_crop_case(dino, utils, out, dtype)
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dino", help="checkout of facebookresearch/dino")
    args = parser.parse_args()
    sys.path.insert(0, args.dino)
    import utils
    import vision_transformer as dino

    torch.set_num_threads(1)
    out, single = run(dino, utils, torch.float64), run(dino, utils, torch.float32)
    deviation = max(((single[k] - out[k]).abs().max() / out[k].abs().max()).item() for k in out)
    meta = versions() | {"source": "facebookresearch/dino", "made_by": "tests/golden/make_model.py",
                         "official_float32_deviation": f"{deviation:.2e}"}
    print(meta)
    save(os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "model.safetensors"), out, meta)


if __name__ == "__main__":
    main()
