"""Writes data/published.safetensors: how timm and transformers name and order the parameters of each style, and timm's features.

    python make_published.py          (versions: requirements.txt; as recorded in the file)

Weights are filled under the official names (make_vit_family.official) and handed to a timm or transformers model by maps written here; then the
model's own state dict is digested: for each of its tensors the name, the shape, the norm and the product with uniform(name). The C++ side
exports the same weights under that naming and must give the same digests. Official names of DINOv3 are written out from the published layout.
"""
import json
import os
import tempfile
from unittest import mock

import timm
import timm.layers.pos_embed_sincos
import torch
import transformers
from safetensors.torch import load_file

import make_vit_family as family
from golden_common import parameter_value, put, save, uniform, versions

DEPTH, DIM = family.DEPTH, family.DIM
SIZES = family.SIZES


def digest(tensors):
    rows, names = [], []
    for name in sorted(tensors):
        t = tensors[name].detach().double()
        flat = t.reshape(-1)
        names.append([name, list(t.shape)])
        rows.append(torch.stack([flat.norm(), (flat * uniform(name, (flat.numel(),))).sum()]))
    return names, torch.stack(rows)


def official_v1():
    """DINO v1 has no mask token, no LayerScale."""
    weights = {k: v for k, v in family.official("dinov2", False).items() if k != "mask_token" and "gamma" not in k}
    return weights


def transformers_state(model):
    """As written to a file, whose names differ from those in memory."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        return load_file(os.path.join(folder, "model.safetensors"))


def vit_model(weights, dtype):
    config = transformers.ViTConfig(hidden_size=DIM, num_hidden_layers=DEPTH, num_attention_heads=family.HEADS, image_size=family.IMAGE,
                                    patch_size=family.PATCH, intermediate_size=4 * DIM, layer_norm_eps=1e-6)
    model = transformers.ViTModel(config, add_pooling_layer=False)
    state = {}
    for name, value in weights.items():
        kind = name.rsplit(".", 1)[-1]
        if name in ("cls_token", "pos_embed"):
            state["embeddings." + {"cls_token": "cls_token", "pos_embed": "position_embeddings"}[name]] = value
        elif name.startswith("patch_embed"):
            state[f"embeddings.patch_embeddings.projection.{kind}"] = value
        elif name.startswith("norm."):
            state[f"layernorm.{kind}"] = value
        else:
            _, i, rest = name.split(".", 2)
            part = rest.rsplit(".", 1)[0]
            if part == "attn.qkv":
                for word, piece in zip(("q_proj", "k_proj", "v_proj"), value.chunk(3)):
                    state[f"layers.{i}.attention.{word}.{kind}"] = piece
            else:
                word = {"norm1": "layernorm_before", "norm2": "layernorm_after", "attn.proj": "attention.o_proj", "mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2"}[part]
                state[f"layers.{i}.{word}.{kind}"] = value
    own = model.state_dict()
    assert set(own) == set(state), (sorted(set(own) - set(state)), sorted(set(state) - set(own)))
    model.double().load_state_dict(state, strict=True)
    return model.to(dtype).eval()


def timm_model(style, swiglu, weights):
    common = dict(img_size=family.IMAGE, patch_size=family.PATCH, embed_dim=DIM, depth=DEPTH, num_heads=family.HEADS, num_classes=0, dynamic_img_size=True)
    state = {}
    if style == "dinov3":
        name = "vit_small_plus_patch16_dinov3_qkvb" if swiglu else "vit_small_patch16_dinov3_qkvb"
        model = timm.create_model(name, **common, num_reg_tokens=family.REGISTERS, mlp_ratio=6 * 2 / 3 if swiglu else 4)
    elif style == "dinov2_reg":
        model = timm.create_model("vit_small_patch14_reg4_dinov2", **common, reg_tokens=family.REGISTERS)
    elif style == "dinov2" and swiglu:
        from timm.layers import SwiGLUPacked
        model = timm.models.vision_transformer.VisionTransformer(**common, init_values=1e-5, mlp_layer=SwiGLUPacked, act_layer=torch.nn.SiLU,
                                                                 mlp_ratio=2 * family.SWIGLU_V2 / DIM)
    else:
        model = timm.create_model("vit_small_patch14_dinov2" if style == "dinov2" else "vit_small_patch16_224", **common)
    for name, value in weights.items():
        rest = name.split(".", 2)[2] if name.startswith("blocks.") else ""
        prefix = name[: len(name) - len(rest)]
        kind = name.rsplit(".", 1)[-1]
        if name == "mask_token":
            continue
        if name == "register_tokens":
            state["reg_token"] = value
        elif style == "dinov2_reg" and name == "cls_token":
            state[name] = value + weights["pos_embed"][:, :1]
        elif style == "dinov2_reg" and name == "pos_embed":
            state[name] = value[:, 1:]
        elif style == "dinov3" and rest == "attn.qkv.bias":
            q, _, v = value.chunk(3)
            state[prefix + "attn.q_bias"], state[prefix + "attn.v_bias"] = q, v
        elif style == "dinov3" and rest.startswith("ls"):
            state[prefix + ("gamma_1" if rest.startswith("ls1") else "gamma_2")] = value
        elif style == "dinov3" and rest.startswith("mlp.w12"):
            gate, linear = value.chunk(2)
            state[f"{prefix}mlp.fc1_g.{kind}"], state[f"{prefix}mlp.fc1_x.{kind}"] = gate, linear
        elif rest.startswith("mlp.w12"):
            state[f"{prefix}mlp.fc1.{kind}"] = value
        elif rest.startswith("mlp.w3"):
            state[f"{prefix}mlp.fc2.{kind}"] = value
        else:
            state[name] = value
    model.double().load_state_dict(state, strict=True)
    if style == "dinov3":  # its defaults of float32 were bound before they could mean float64
        model.rope.register_buffer("periods", model.rope._compute_periods(dtype=torch.get_default_dtype()), persistent=False)
        for function in (timm.layers.pos_embed_sincos.make_coords_dinov3, timm.layers.pos_embed_sincos._build_grid):
            function.__defaults__ = tuple(torch.get_default_dtype() if isinstance(d, torch.dtype) else d for d in function.__defaults__)
    return model


def official_v3(weights):
    """storage_tokens, w1 and w2 apart, the keys' mask, the periods."""
    out = {}
    for name, value in weights.items():
        if name == "register_tokens":
            out["storage_tokens"] = value
        elif ".mlp.w12." in name:
            out[name.replace("w12", "w1")], out[name.replace("w12", "w2")] = value.chunk(2)
        else:
            out[name] = value
    for i in range(DEPTH):
        mask = torch.ones(3 * DIM, dtype=torch.float64)
        mask[DIM:2 * DIM] = 0
        out[f"blocks.{i}.attn.qkv.bias_mask"] = mask
    quarter = DIM // family.HEADS // 4
    out["rope_embed.periods"] = 100.0 ** (torch.arange(quarter, dtype=torch.float64) / quarter)
    return out


def without_key_bias(weights):
    """What import makes of a masked bias: its keys' part has no effect and is 0."""
    out = dict(weights)
    for name in out:
        if name.endswith("attn.qkv.bias"):
            out[name] = out[name].clone()
            out[name][DIM:2 * DIM] = 0
    return out


def run(dtype, names, out):
    for style, swiglu in (("dino", False), ("dinov2", False), ("dinov2", True), ("dinov2_reg", False), ("dinov3", False), ("dinov3", True)):
        case = f"{style}{'_swiglu' if swiglu else ''}"
        weights = official_v1() if style == "dino" else family.official(style, swiglu)
        if style == "dinov3":
            weights = without_key_bias(weights)
        reference = vit_model(weights, dtype) if style == "dino" else family.build(style, swiglu, dtype)
        if style != "dino":
            family.fill(reference, weights, style)
        timm_reference = timm_model(style, swiglu, weights).to(dtype).eval()
        for naming, state in (("transformers", transformers_state(reference)), ("timm", timm_reference.state_dict()),
                              ("official", official_v3(weights) if style == "dinov3" else weights)):
            names[f"{case}/{naming}"], out[f"{case}/{naming}"] = digest(state)
        with torch.no_grad():
            for size, height, width in SIZES:
                images = uniform(f"images/{size}", (family.BATCH, 3, height, width)).to(dtype)
                put(out, f"{case}/timm/{size}/tokens", timm_reference.forward_features(images))
                if style == "dino":
                    tokens = reference(images, interpolate_pos_encoding=True).last_hidden_state
                    put(out, f"{case}/transformers/{size}/tokens", tokens)


def main():
    torch.set_num_threads(1)
    names, out = {}, {}
    # both systems resize and rotate in float32 whatever the network's type: for the float64 values their "float32" means float64
    torch.set_default_dtype(torch.float64)
    with mock.patch.object(torch, "float32", torch.float64), mock.patch.object(torch.Tensor, "float", torch.Tensor.double):
        run(torch.float64, names, out)
    torch.set_default_dtype(torch.float32)
    single = {}
    run(torch.float32, {}, single)
    deviation = max(((single[k] - out[k]).abs().max() / out[k].abs().max().clamp_min(1e-30)).item() for k in out if "tokens" in k)
    meta = versions() | {"timm": timm.__version__, "transformers": transformers.__version__, "made_by": "tests/golden/make_published.py",
                         "float32_deviation": f"{deviation:.2e}"}
    print(meta)
    meta["names"] = json.dumps(names, separators=(",", ":"))
    save(os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "published.safetensors"), out, meta)


if __name__ == "__main__":
    main()
