"""Writes data/families.safetensors: what timm makes of small networks of EUPE, TIPSv2, LingBot-Vision and C-RADIO, with the names and shapes of their state
dicts and their config.json as a repository of the Hugging Face Hub has it.

    python make_families.py          (versions: requirements.txt; as recorded in the file)

Weights are functions of timm's names (golden_common.named_value), so only outputs are stored: [CLS, registers, patches] after the final norm where there is
one; of a ConvNeXt the pooled output and the positions, both after its norm.
"""
import json
import os
import tempfile
from unittest import mock

import timm
import timm.layers.pos_embed_sincos
import torch
from timm.models._hub import save_config_for_hf

from golden_common import named_value, put, save, uniform, versions

DIM, DEPTH, HEADS, PATCH, IMAGE, BATCH = 48, 2, 3, 4, 16, 2
VIT = dict(img_size=IMAGE, patch_size=PATCH, embed_dim=DIM, depth=DEPTH, num_heads=HEADS, dynamic_img_size=True)
NETWORKS = {
    "eupe_vit": ("vit_tiny_patch16_dinov3_qkvb.eupe_lvd1689m", VIT),
    "eupe_convnext": ("convnext_tiny.eupe_lvd1689m", dict(depths=(1, 2, 1, 1), dims=(8, 16, 24, 40))),
    "tipsv2": ("vit_base_patch14_reg1_tipsv2.webli", VIT),
    "tipsv2_so400m": ("vit_so400m_patch14_reg1_tipsv2.webli", VIT | {"num_heads": 4}),
    "tipsv2_giant": ("vit_giant_patch14_reg1_tipsv2.webli", VIT),
    "lingbot": ("vit_small_patch16_lingbot.robbyant", VIT),
    "lingbot_giant": ("vit_giant_patch16_lingbot.robbyant", VIT),
    "radio_v3": ("vit_base_patch16_radio_v3.c_radio", VIT),
    "radio_v3_huge": ("vit_huge_patch16_radio_v3.c_radio", VIT),
    "radio_v4": ("vit_so400m_patch16_radio_v4.c_radio", VIT | {"num_heads": 4}),
}
SIZES = (("native", 16, 16), ("larger", 24, 24), ("oblong", 12, 20))
CONV_SIZES = (("native", 64, 64), ("oblong", 32, 96))


def build(name, arguments, dtype):
    model = timm.create_model(name, pretrained=False, num_classes=0, **arguments).to(dtype).eval()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            parameter.copy_(named_value(key, tuple(parameter.shape)))
    if hasattr(model, "rope") and model.rope is not None and dtype == torch.float64:  # its defaults of float32 were bound before they could mean float64
        model.rope.register_buffer("periods", model.rope._compute_periods(dtype=torch.float64), persistent=False)
        for function in (timm.layers.pos_embed_sincos.make_coords_dinov3, timm.layers.pos_embed_sincos._build_grid):
            function.__defaults__ = tuple(torch.float64 if isinstance(d, torch.dtype) else d for d in function.__defaults__)
    return model


def tokens(model, images):
    features = model.forward_features(images)
    if features.ndim == 3:
        return features
    pooled = model.forward_head(features, pre_logits=True)
    return torch.cat([pooled.unsqueeze(1), model.head.norm(features).flatten(2).transpose(1, 2)], 1)


def hub_config(model):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "config.json")
        save_config_for_hf(model, path)
        with open(path) as file:
            return file.read()


def run(dtype, cases, out):
    for case, (name, arguments) in NETWORKS.items():
        model = build(name, arguments, dtype)
        state = model.state_dict()
        cases[case] = {"shapes": {key: list(value.shape) for key, value in state.items()}, "config": hub_config(model)}
        with torch.no_grad():
            for size, height, width in CONV_SIZES if "convnext" in case else SIZES:
                images = uniform(f"images/{case}/{size}", (BATCH, 3, height, width)).to(dtype)
                put(out, f"{case}/{size}", tokens(model, images))


def main():
    torch.set_num_threads(1)
    single, out, cases = {}, {}, {}
    run(torch.float32, {}, single)
    # timm resizes positions and computes rotary ones in float32 whatever the network's type: for the float64 values its "float32" means float64
    torch.set_default_dtype(torch.float64)
    with mock.patch.object(torch, "float32", torch.float64), mock.patch.object(torch.Tensor, "float", torch.Tensor.double):
        run(torch.float64, cases, out)
    deviation = max(((single[k] - out[k]).abs().max() / out[k].abs().max()).item() for k in out)
    meta = versions() | {"timm": timm.__version__, "made_by": "tests/golden/make_families.py", "float32_deviation": f"{deviation:.2e}"}
    print(meta)
    meta["cases"] = json.dumps(cases, separators=(",", ":"))
    save(os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "families.safetensors"), out, meta)


if __name__ == "__main__":
    main()
