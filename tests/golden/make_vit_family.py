"""Writes data/vit_family.safetensors: outputs and gradients of transformers' DINOv2, DINOv2 with registers and DINOv3 in float64.

    python make_vit_family.py          (versions: requirements.txt; as recorded in the file)

Parameters are filled under the official names (those of the C++ side) and handed over by the maps below. transformers computes positions in
float32 whatever the network's type; for the float64 values its "float32" is made to mean float64.
"""
import os
from unittest import mock

import torch
import transformers
from transformers import DINOv3ViTConfig, DINOv3ViTModel, Dinov2Config, Dinov2Model, Dinov2WithRegistersConfig, Dinov2WithRegistersModel

from golden_common import parameter_value, put, save, uniform, versions

DIM, DEPTH, HEADS, PATCH, IMAGE, BATCH, REGISTERS = 48, 3, 3, 4, 16, 2, 2
SIZES = (("native", 16, 16), ("larger", 24, 24), ("oblong", 12, 20))
SWIGLU_V2 = 128  # two thirds of 4 * 48, rounded up to a multiple of 8
SWIGLU_V3 = 192  # two thirds of 6 * 48


def value(name, shape):
    if name.endswith("gamma"):
        return 0.7 + 0.3 * uniform(name, shape)
    if name in ("register_tokens", "mask_token"):
        return 0.5 * uniform(name, shape)
    return parameter_value(name, shape)


def official(style, swiglu):
    """Names and shapes in the official state dict."""
    hidden = (SWIGLU_V3 if style == "dinov3" else SWIGLU_V2) if swiglu else 4 * DIM
    shapes = {"cls_token": (1, 1, DIM), "mask_token": (1, DIM), "patch_embed.proj.weight": (DIM, 3, PATCH, PATCH), "patch_embed.proj.bias": (DIM,),
              "norm.weight": (DIM,), "norm.bias": (DIM,)}
    if style != "dinov3":
        shapes["pos_embed"] = (1, (IMAGE // PATCH) ** 2 + 1, DIM)
    if style != "dinov2":
        shapes["register_tokens"] = (1, REGISTERS, DIM)
    for i in range(DEPTH):
        block = {"norm1.weight": (DIM,), "norm1.bias": (DIM,), "attn.qkv.weight": (3 * DIM, DIM), "attn.qkv.bias": (3 * DIM,),
                 "attn.proj.weight": (DIM, DIM), "attn.proj.bias": (DIM,), "ls1.gamma": (DIM,), "ls2.gamma": (DIM,), "norm2.weight": (DIM,),
                 "norm2.bias": (DIM,)}
        if swiglu:
            block |= {"mlp.w12.weight": (2 * hidden, DIM), "mlp.w12.bias": (2 * hidden,), "mlp.w3.weight": (DIM, hidden), "mlp.w3.bias": (DIM,)}
        else:
            block |= {"mlp.fc1.weight": (hidden, DIM), "mlp.fc1.bias": (hidden,), "mlp.fc2.weight": (DIM, hidden), "mlp.fc2.bias": (DIM,)}
        shapes |= {f"blocks.{i}.{k}": s for k, s in block.items()}
    return {name: value(name, shape) for name, shape in shapes.items()}


def fill(model, weights, style):
    """Hands the weights over. Returns how a gradient of the model is put together again under the official names."""
    parts = {}  # official name -> list of parameters of the model, stacked by rows
    own = dict(model.named_parameters())

    def give(name, *targets):
        parts[name] = [own.pop(t) for t in targets]

    v3 = style == "dinov3"
    give("cls_token", "embeddings.cls_token")
    give("mask_token", "embeddings.mask_token")
    if "register_tokens" in weights:
        give("register_tokens", "embeddings.register_tokens")
    if "pos_embed" in weights:
        give("pos_embed", "embeddings.position_embeddings")
    for kind in ("weight", "bias"):
        give(f"patch_embed.proj.{kind}", f"embeddings.patch_embeddings.{kind}" if v3 else f"embeddings.patch_embeddings.projection.{kind}")
        give(f"norm.{kind}", f"norm.{kind}" if v3 else f"layernorm.{kind}")
        for i in range(DEPTH):
            us = f"blocks.{i}."
            them = next(p for p in (f"layer.{i}.", f"model.layer.{i}.", f"encoder.layer.{i}.") if p + "norm1.weight" in own or p + "norm1.weight" in parts or
                        any(k.startswith(p) for k in own))
            if v3:
                q, k, v, o = (f"{them}attention.{x}_proj.{kind}" for x in "qkvo")
            else:
                q, k, v = (f"{them}attention.attention.{x}.{kind}" for x in ("query", "key", "value"))
                o = f"{them}attention.output.dense.{kind}"
                if q not in own:
                    q, k, v, o = (f"{them}attention.{x}_proj.{kind}" for x in "qkvo")
            if v3 and kind == "bias":
                parts[us + "attn.qkv.bias"] = [own.pop(q), torch.zeros(DIM), own.pop(v)]
            else:
                give(f"{us}attn.qkv.{kind}", q, k, v)
            give(f"{us}attn.proj.{kind}", o)
            for n in ("norm1", "norm2"):
                give(f"{us}{n}.{kind}", f"{them}{n}.{kind}")
            if us + "mlp.w12.weight" in weights:
                give(f"{us}mlp.w12.{kind}", f"{them}mlp.gate_proj.{kind}", f"{them}mlp.up_proj.{kind}")
                give(f"{us}mlp.w3.{kind}", f"{them}mlp.down_proj.{kind}")
            else:
                first, second = (("up_proj", "down_proj") if f"{them}mlp.up_proj.{kind}" in own else ("fc1", "fc2"))
                give(f"{us}mlp.fc1.{kind}", f"{them}mlp.{first}.{kind}")
                give(f"{us}mlp.fc2.{kind}", f"{them}mlp.{second}.{kind}")
            if kind == "weight":
                give(us + "ls1.gamma", them + "layer_scale1.lambda1")
                give(us + "ls2.gamma", them + "layer_scale2.lambda1")
    assert not own, f"left over: {sorted(own)}"
    assert set(parts) == set(weights)
    with torch.no_grad():
        for name, targets in parts.items():
            rows = torch.split(weights[name].reshape(-1, *targets[0].shape[1:]) if len(targets) > 1 else weights[name], [len(t) for t in targets]) \
                if len(targets) > 1 else [weights[name]]
            for target, row in zip(targets, rows):
                target.copy_(row.reshape(target.shape))
    return parts


def build(style, swiglu, dtype):
    common = dict(hidden_size=DIM, num_hidden_layers=DEPTH, num_attention_heads=HEADS, image_size=IMAGE, patch_size=PATCH)
    if style == "dinov3":
        config = DINOv3ViTConfig(**common, intermediate_size=SWIGLU_V3 if swiglu else 4 * DIM, hidden_act="silu" if swiglu else "gelu", use_gated_mlp=swiglu,
                                 num_register_tokens=REGISTERS, pos_embed_rescale=None)
        return DINOv3ViTModel(config).to(dtype).eval()
    if style == "dinov2_reg":
        return Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**common, use_swiglu_ffn=swiglu, num_register_tokens=REGISTERS)).to(dtype).eval()
    return Dinov2Model(Dinov2Config(**common, use_swiglu_ffn=swiglu)).to(dtype).eval()


def run(dtype):
    out = {}
    for style, swiglu in (("dinov2", False), ("dinov2", True), ("dinov2_reg", False), ("dinov3", False), ("dinov3", True)):
        case = f"{style}{'_swiglu' if swiglu else ''}"
        weights = official(style, swiglu)
        for size, height, width in SIZES:
            model = build(style, swiglu, dtype)
            parts = fill(model, weights, style)
            images = uniform(f"images/{size}", (BATCH, 3, height, width)).to(dtype)
            masked = uniform(f"masks/{size}", (BATCH, height // PATCH * (width // PATCH))) > 0.3
            tokens = model(images, bool_masked_pos=masked).last_hidden_state
            put(out, f"{case}/{size}/masked_tokens", tokens)
            tokens = model(images).last_hidden_state
            put(out, f"{case}/{size}/tokens", tokens)
            if size != "oblong":
                continue
            direction = uniform(f"{case}/{size}/direction", tuple(tokens.shape)).to(dtype)
            (tokens * direction).sum().backward()
            for name, targets in parts.items():
                if name != "mask_token":
                    put(out, f"{case}/{size}/grad/{name}", torch.cat([torch.zeros_like(t, dtype=dtype) if t.grad is None else t.grad for t in targets]))
    return out


def main():
    torch.set_num_threads(1)
    with mock.patch.object(torch, "float32", torch.float64):
        out = run(torch.float64)
    single = run(torch.float32)
    deviation = max(((single[k] - out[k]).abs().max() / out[k].abs().max().clamp_min(1e-30)).item() for k in out)
    meta = versions() | {"transformers": transformers.__version__, "made_by": "tests/golden/make_vit_family.py", "float32_deviation": f"{deviation:.2e}"}
    print(meta)
    save(os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "vit_family.safetensors"), out, meta)


if __name__ == "__main__":
    main()
