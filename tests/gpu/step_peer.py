#!/usr/bin/env python3
"""A training step as PyTorch users write it, for first_ten_minutes.py: a timm ViT, heads, losses and optimizer in plain PyTorch, eager or through torch.compile.

  step_peer.py --arch small|base|large --method dino|dinov2 --patch 16 --batch 64 --locals 8 [--local-size 96] [--out-dim 65536] [--steps 20] [--compile]

bf16 autocast, fused AdamW, averages by torch._foreach, crops of random numbers that lie on the device. The losses are written from the papers' formulas: DINO's cross-entropy between
views with a centred or Sinkhorn-normalised teacher; dinov2 adds iBOT's loss of masked patches and KoLeo. Prints "name value" lines: seconds of a step (median behind a third
of the steps, so that compilation is left out), images_per_s, peak_gb of the allocator. Ends with 1 where memory does not suffice.
"""
import argparse
import statistics
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--arch", default="small", choices=("tiny", "small", "base", "large"))
parser.add_argument("--method", default="dino", choices=("dino", "dinov2"))
for option, default in dict(patch=16, batch=64, locals=8, local_size=96, global_size=224, out_dim=65536, steps=20).items():
    parser.add_argument("--" + option.replace("_", "-"), type=int, default=default)
parser.add_argument("--compile", action="store_true")
parser.add_argument("--device", default="cuda")
options = parser.parse_args()
device = torch.device(options.device)
torch.manual_seed(0)
torch.backends.cuda.matmul.allow_tf32 = True


class Head(nn.Module):
    def __init__(self, width, out):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(width, 2048), nn.GELU(), nn.Linear(2048, 2048), nn.GELU(), nn.Linear(2048, 256))
        self.last = nn.utils.parametrizations.weight_norm(nn.Linear(256, out, bias=False))

    def forward(self, x):
        return self.last(F.normalize(self.mlp(x), dim=-1))


class Network(nn.Module):
    """Backbone and head: views of one size at a time; logits of CLS, and the tokens of the patches."""

    def __init__(self, drop):
        super().__init__()
        import timm

        self.backbone = timm.create_model("vit_%s_patch16_224" % options.arch, patch_size=options.patch, img_size=options.global_size, num_classes=0, dynamic_img_size=True,
                                          drop_path_rate=drop, init_values=1e-5 if options.method == "dinov2" else None)
        self.head = Head(self.backbone.embed_dim, options.out_dim)
        self.patch_head = Head(self.backbone.embed_dim, options.out_dim) if options.method == "dinov2" else None

    def forward(self, images):
        tokens = self.backbone.forward_features(images)
        return tokens[:, 0], tokens[:, 1:]


def sinkhorn(logits, temperature, rounds=3):
    q = (logits.float() / temperature).exp().t()
    q /= q.sum()
    for _ in range(rounds):
        q /= q.sum(1, keepdim=True) * q.shape[0]
        q /= q.sum(0, keepdim=True) * q.shape[1]
    return (q * q.shape[1]).t()


def cross_entropy(target, logits):
    return -(target * F.log_softmax(logits.float() / 0.1, -1)).sum(-1).mean()


def koleo(features):
    x = F.normalize(features.float(), dim=-1)
    with torch.no_grad():
        nearest = (x @ x.t()).fill_diagonal_(-1).argmax(1)
    return -torch.log((x - x[nearest]).norm(dim=-1) + 1e-8).mean()


student, teacher = Network(0.1).to(device), Network(0.0).to(device)
teacher.load_state_dict(student.state_dict())
teacher.requires_grad_(False)
trained = [p for p in student.parameters() if p.requires_grad]
optimizer = torch.optim.AdamW(trained, lr=1e-4, weight_decay=0.04, fused=device.type == "cuda")
centre = torch.zeros(options.out_dim, device=device)
run_student, run_teacher = (torch.compile(student, dynamic=False), torch.compile(teacher, dynamic=False)) if options.compile else (student, teacher)
views = [torch.randn(2 * options.batch, 3, options.global_size, options.global_size, device=device)]
if options.locals:
    views.append(torch.randn(options.locals * options.batch, 3, options.local_size, options.local_size, device=device))
patches = (options.global_size // options.patch) ** 2
masked = torch.randperm(options.batch * patches, device=device)[: options.batch * patches * 3 // 10]  # a half of the images, a tenth to a half of their patches


def loss_of_step():
    with torch.autocast(device.type, torch.bfloat16):
        with torch.no_grad():
            cls, tokens = run_teacher(views[0])
            logits = teacher.head(cls)
            if options.method == "dinov2":
                targets = sinkhorn(logits, 0.07).chunk(2)
                patch_target = sinkhorn(teacher.patch_head(tokens.flatten(0, 1)[masked]), 0.07)
            else:
                targets = F.softmax((logits.float() - centre) / 0.04, -1).chunk(2)
                centre.mul_(0.9).add_(logits.float().mean(0), alpha=0.1)
        cls, tokens = run_student(views[0])
        outputs = list(student.head(cls).chunk(2))
        if options.locals:
            outputs += student.head(run_student(views[1])[0]).chunk(options.locals)
        pairs = [(t, o) for i, t in enumerate(targets) for o in outputs[:i] + outputs[i + 1 :]]
        loss = sum(cross_entropy(t, o) for t, o in pairs) / len(pairs)
        if options.method == "dinov2":
            loss = loss + cross_entropy(patch_target, student.patch_head(tokens.flatten(0, 1)[masked])) + 0.1 * sum(koleo(c) for c in cls.chunk(2))
    return loss


def step():
    optimizer.zero_grad(set_to_none=True)
    loss_of_step().backward()
    nn.utils.clip_grad_norm_(trained, 3.0)
    optimizer.step()
    with torch.no_grad():
        torch._foreach_lerp_(list(teacher.parameters()), list(student.parameters()), 0.004)


def synchronize():
    if device.type == "cuda":
        torch.cuda.synchronize()


seconds = []
try:
    for _ in range(options.steps):
        synchronize()
        start = time.perf_counter()
        step()
        synchronize()
        seconds.append(time.perf_counter() - start)
except torch.cuda.OutOfMemoryError as error:
    print("out of memory:", str(error).splitlines()[0])
    sys.exit(1)
median = statistics.median(seconds[options.steps // 3 :])
print("seconds %.6f" % median)
print("images_per_s %.2f" % (options.batch / median))
if device.type == "cuda":
    print("peak_gb %.3f" % (torch.cuda.max_memory_reserved() / 1e9))
