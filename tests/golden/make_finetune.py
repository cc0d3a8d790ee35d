"""Writes data/finetune.safetensors: a few steps of fine-tuning in float64 by plain PyTorch: torch.optim.AdamW with parameter groups, LoRA as a
branch of its own beside the frozen layer (Hu et al. 2022, section 4.1), a linear head on features of root mean square 1.

    python make_finetune.py            (torch as recorded in the file)

The network is a vision transformer written here from its description (pre-norm blocks, learned positions, exact GELU); parameters are
golden_common.parameter_value of their names, images and the factors of LoRA uniform(name).
"""
import math
import os

import torch
from torch import nn
from torch.nn import functional as F

from golden_common import parameter_value, put, save, uniform, versions

DIM, DEPTH, HEADS, PATCH, IMAGE, CLASSES, BATCH, STEPS = 24, 3, 3, 4, 12, 4, 6, 5
RANK, ALPHA = 2, 6.0
WARMUP, LAYER_DECAY, WEIGHT_DECAY, HEAD_LR, EMA = 2, 0.6, 0.1, 5.0, 0.7


def names():
    yield "cls_token", (1, 1, DIM)
    yield "pos_embed", (1, 1 + (IMAGE // PATCH) ** 2, DIM)
    yield "patch_embed.proj.weight", (DIM, 3, PATCH, PATCH)
    yield "patch_embed.proj.bias", (DIM,)
    for i in range(DEPTH):
        for norm in ("norm1", "norm2"):
            yield f"blocks.{i}.{norm}.weight", (DIM,)
            yield f"blocks.{i}.{norm}.bias", (DIM,)
        for layer, out, inner in (("attn.qkv", 3 * DIM, DIM), ("attn.proj", DIM, DIM), ("mlp.fc1", 4 * DIM, DIM), ("mlp.fc2", DIM, 4 * DIM)):
            yield f"blocks.{i}.{layer}.weight", (out, inner)
            yield f"blocks.{i}.{layer}.bias", (out,)
    yield "norm.weight", (DIM,)
    yield "norm.bias", (DIM,)


def layer_of(name):
    if name.startswith(("cls_token", "pos_embed", "patch_embed")):
        return 0
    return int(name.split(".")[1]) + 1 if name.startswith("blocks.") else DEPTH + 1


def dense(p, adapters, name, x):
    y = F.linear(x, p[name + ".weight"], p[name + ".bias"])
    if name in adapters:
        a, b = adapters[name]
        y = y + ALPHA / RANK * F.linear(F.linear(x, a), b)
    return y


def features(p, adapters, images):
    batch = images.shape[0]
    x = F.conv2d(images, p["patch_embed.proj.weight"], p["patch_embed.proj.bias"], stride=PATCH).flatten(2).transpose(1, 2)
    x = torch.cat([p["cls_token"].expand(batch, -1, -1), x], 1) + p["pos_embed"]
    for i in range(DEPTH):
        b = f"blocks.{i}."
        h = F.layer_norm(x, (DIM,), p[b + "norm1.weight"], p[b + "norm1.bias"], 1e-6)
        q, k, v = dense(p, adapters, b + "attn.qkv", h).reshape(batch, -1, 3, HEADS, DIM // HEADS).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-2, -1) / math.sqrt(DIM // HEADS)).softmax(-1)
        x = x + dense(p, adapters, b + "attn.proj", (weights @ v).transpose(1, 2).reshape(batch, -1, DIM))
        h = F.layer_norm(x, (DIM,), p[b + "norm2.weight"], p[b + "norm2.bias"], 1e-6)
        x = x + dense(p, adapters, b + "mlp.fc2", F.gelu(dense(p, adapters, b + "mlp.fc1", h)))
    return F.layer_norm(x, (DIM,), p["norm.weight"], p["norm.bias"], 1e-6)[:, 0]


def rate(step, peak):
    if step < WARMUP:
        return peak * step / (WARMUP - 1) if WARMUP > 1 else 0.0
    return peak / 2 * (1 + math.cos(math.pi * (step - WARMUP) / (STEPS - WARMUP)))


def run(out, case, peak):
    p = {name: parameter_value(name, shape) for name, shape in names()}
    head = {"head.weight": 0.3 * uniform("finetune/head.weight", (CLASSES, DIM)), "head.bias": 0.1 * uniform("finetune/head.bias", (CLASSES,))}
    adapters, leaves, groups = {}, dict(head), []
    if case == "lora":
        for i in range(DEPTH):
            for layer in ("attn.qkv", "attn.proj"):
                name = f"blocks.{i}.{layer}"
                weight = p[name + ".weight"]
                adapters[name] = (0.4 * uniform(name + ".a", (RANK, weight.shape[1])), torch.zeros(weight.shape[0], RANK, dtype=torch.float64))
                leaves[f"backbone.{name}.weight.lora_a"], leaves[f"backbone.{name}.weight.lora_b"] = adapters[name]
    else:
        leaves |= {"backbone." + name: tensor for name, tensor in p.items()}
    for name, tensor in leaves.items():
        tensor.requires_grad_()
        of_head = name.startswith("head.")
        layer = DEPTH + 1 if of_head or case == "lora" else layer_of(name[len("backbone."):])
        scale = LAYER_DECAY ** (DEPTH + 1 - layer) * (HEAD_LR if of_head else 1)
        decays = not (name.endswith("bias") or "norm" in name)
        groups.append({"params": [tensor], "scale": scale, "weight_decay": WEIGHT_DECAY if decays else 0.0})
    optimizer = torch.optim.AdamW(groups, lr=peak, betas=(0.9, 0.999), eps=1e-8)
    mean = {name: tensor.detach().clone() for name, tensor in leaves.items()}
    losses = []
    for step in range(STEPS):
        images = uniform(f"finetune/images{step}", (BATCH, 3, IMAGE, IMAGE))
        labels = torch.tensor([(3 * step + i * i) % CLASSES for i in range(BATCH)])
        f = features(p, adapters, images)
        logits = F.linear(f * math.sqrt(DIM) / f.norm(dim=1, keepdim=True), head["head.weight"], head["head.bias"])
        loss = F.cross_entropy(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        for group in optimizer.param_groups:
            group["lr"] = rate(step, peak) * group["scale"]
        optimizer.step()
        for name, tensor in leaves.items():
            mean[name] = EMA * mean[name] + (1 - EMA) * tensor.detach()
        losses.append(loss.detach())
    out[case + "/losses"] = torch.stack(losses)
    for name, tensor in leaves.items():
        put(out, f"{case}/{name}", tensor)
        put(out, f"{case}/mean/{name}", mean[name])
    with torch.no_grad():
        put(out, case + "/features", features(p, adapters, uniform("finetune/query", (3, 3, IMAGE, IMAGE))))


def main():
    out = {}
    run(out, "full", 2e-3)
    run(out, "lora", 1e-2)
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "finetune.safetensors")
    save(path, out, versions())


main()
