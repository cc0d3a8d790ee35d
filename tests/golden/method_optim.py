"""The optimizers of make_method_curves.py: parameter groups, clipping and LARS as published (facebookresearch/dino utils.py, bytedance/ibot, dinov2's
param_groups.py, vturrisi/solo-learn lars.py), torch.optim.AdamW."""
import math

import torch
from torch import nn


def no_decay_by_shape(name, parameter):
    return name.endswith(".bias") or parameter.ndim == 1


def no_decay_by_name(name, parameter):
    return name.endswith("bias") or "norm" in name or "gamma" in name


def layer_rate(name, depth, decay, patch_embed):
    """DINOv2's layer-wise rate: embeddings are layer 0, block i is layer i + 1, the rest (final norm, heads) layer depth + 1."""
    layer = depth + 1
    if name.startswith("backbone."):
        if any(part in name for part in ("pos_embed", "patch_embed", "mask_token", "cls_token", "register_tokens")):
            layer = 0
        elif ".blocks." in name:
            layer = int(name.split(".blocks.")[1].split(".")[0]) + 1
    return decay ** (depth + 1 - layer) * (patch_embed if "patch_embed" in name else 1.0)


class Lars:
    """dino's, or with `solo` solo-learn's whose local rate never exceeds the rate itself (clip_lr)."""

    def __init__(self, named, trust, momentum, solo):
        self.named, self.trust, self.momentum, self.solo = named, trust, momentum, solo
        self.velocity = {name: torch.zeros_like(p) for name, p in named.items()}

    @torch.no_grad()
    def step(self, lr, weight_decay, frozen=False):
        for name, p in self.named.items():
            if frozen and "last_layer" in name:
                continue
            d = p.grad
            if not no_decay_by_shape(name, p):
                weight, gradient = p.norm(), d.norm()
                d = d + weight_decay * p
                if self.solo:
                    ratio = torch.clamp(self.trust * weight / (gradient + weight_decay * weight + 1e-8) / lr, max=1.0)  # 1 at a rate of 0
                else:
                    ratio = self.trust * weight / d.norm()
                d = d * ratio
            self.velocity[name].mul_(self.momentum).add_(d)
            p.sub_(lr * self.velocity[name])


class AdamW:
    """torch.optim.AdamW with a group for each parameter. freeze: None, or "skip" (no gradient) or "rate" (rate 0) for last layers."""

    def __init__(self, named, no_decay, rate, freeze):
        self.freeze, self.last = freeze, {name: "last_layer" in name for name in named}
        self.rate = {name: rate(name) for name in named}
        self.decays = {name: not no_decay(name, p) for name, p in named.items()}
        self.named = named
        self.optimizer = torch.optim.AdamW([{"params": [p], "name": name} for name, p in named.items()], betas=(0.9, 0.999), eps=1e-8)

    def step(self, lr, weight_decay, frozen=False):
        for group in self.optimizer.param_groups:
            name = group["name"]
            last = frozen and self.last[name]
            group["lr"] = 0.0 if last and self.freeze == "rate" else lr * self.rate[name]
            group["weight_decay"] = weight_decay if self.decays[name] else 0.0
            if last and self.freeze == "skip":
                self.named[name].grad = None
        self.optimizer.step()


def clip_each(named, limit):
    for p in named.values():
        p.grad.mul_(min(1.0, limit / (p.grad.norm().item() + 1e-6)))


def clip_modules(network, limit):
    clipped = 0
    for part in network.values():
        clipped += nn.utils.clip_grad_norm_([p for p in part.parameters() if p.grad is not None], limit).item() > limit
    return clipped


def average(student, teacher, momentum):
    with torch.no_grad():
        for ours, theirs in zip(student.parameters(), teacher.parameters(), strict=True):
            theirs.mul_(momentum).add_((1 - momentum) * ours)


def grad_norm(named):
    return math.sqrt(sum(p.grad.norm().item() ** 2 for p in named.values()))
