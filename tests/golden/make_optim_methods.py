"""Writes data/optim_methods.safetensors: parameter groups, schedules and ten steps of the optimizers of the methods after DINO v1, in float64.

Groups by dinov2's and dinov3's own functions; AdamW with those groups, a last layer at rate 0 and clipping by module; torch.optim.SGD; LARS by
facebookresearch/dino's and solo-learn's classes; schedules of dinov2 and dinov3.

    python make_optim_methods.py DINO DINOV2 DINOV3 SOLO      (checkouts: 7c446df, b8931f7, 6876159, 9187ea3; torch as recorded in the file)
"""
import argparse
import importlib.util
import os

import torch
from torch import nn

from golden_common import parameter_value, save, uniform, versions

STEPS, STORED, FREEZE, CLIP, LAYER_DECAY, PATCH_EMBED = 10, (0, 4, 9), 4, 1.5, 0.8, 0.2

BACKBONE = {
    "cls_token": (1, 1, 4), "pos_embed": (1, 3, 4), "register_tokens": (1, 2, 4), "mask_token": (1, 4),
    "patch_embed.proj.weight": (4, 3, 2, 2), "patch_embed.proj.bias": (4,),
    **{f"blocks.{i}.{name}": shape for i in range(3) for name, shape in {
        "norm1.weight": (4,), "norm1.bias": (4,), "attn.qkv.weight": (12, 4), "attn.qkv.bias": (12,), "ls1.gamma": (4,), "mlp.gain": (4,)}.items()},
    "norm.weight": (4,), "norm.bias": (4,),
}
HEAD = {"mlp.0.weight": (6, 4), "mlp.0.bias": (6,), "last_layer.weight_g": (5, 1), "last_layer.weight_v": (5, 6)}


def load(path, name):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def module_of(shapes):
    root = nn.Module()
    for name, shape in shapes.items():
        *path, leaf = name.split(".")
        at = root
        for part in path:
            if part not in at._modules:
                at.add_module(part, nn.ModuleList() if part == "blocks" else nn.Module())
            at = at._modules[part]
        at.register_parameter(leaf, nn.Parameter(torch.zeros(shape, dtype=torch.float64)))
    return root


class Student:
    """Backbone and two heads, with names as the published code joins them."""

    def __init__(self, backbone=BACKBONE):
        self.modules = {"backbone": module_of(backbone), "dino_head": module_of(HEAD), "ibot_head": module_of(HEAD)}
        self.parameters = {f"{m}.{n}": p for m, module in self.modules.items() for n, p in module.named_parameters()}
        with torch.no_grad():
            for name, p in self.parameters.items():
                p.copy_(parameter_value(name, tuple(p.shape)))

    def set_gradients(self, step, silent=()):
        for name, p in self.parameters.items():
            scale = 0.0 if name in silent else (1.0 if "blocks.1" in name or "ibot_head" in name else 0.1)
            p.grad = scale * uniform(f"gradient{step}/{name}", tuple(p.shape)) * (1 + 0.3 * step)

    def flat(self):
        return torch.cat([p.detach().flatten() for p in self.parameters.values()])


def put_groups(out, prefix, student, groups_of):
    for m, module in student.modules.items():
        for group in groups_of(module):
            out[f"{prefix}/{m}.{group['name']}"] = torch.tensor(
                [group["lr_multiplier"], group["wd_multiplier"], float(group["is_last_layer"])], dtype=torch.float64)


def adamw(out, param_groups):
    student = Student()
    groups = [g for module in student.modules.values() for g in param_groups.get_params_groups_with_decay(module, LAYER_DECAY, PATCH_EMBED)]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.99))
    for step in range(STEPS):
        lr, wd = 0.02 * (1 + step), 0.04 + 0.03 * step
        for group in optimizer.param_groups:
            group["weight_decay"] = wd * group["wd_multiplier"]
            group["lr"] = (0 if group["is_last_layer"] and step < FREEZE else lr) * group["lr_multiplier"]
        student.set_gradients(step)
        norms = [torch.nn.utils.clip_grad_norm_(module.parameters(), CLIP) for module in student.modules.values()]
        out[f"adamw/norms{step}"] = torch.stack(norms)
        optimizer.step()
        if step in STORED:
            out[f"adamw/student{step}"] = student.flat()


def momentum_steps(out, name, make, decay_of=None):
    """Ten steps with a rate and a weight decay that change. One parameter is zero, one never has a gradient."""
    student = Student()
    with torch.no_grad():
        student.parameters["backbone.mask_token"].zero_()
    parameters = student.parameters
    decayed = [p for n, p in parameters.items() if not (n.endswith(".bias") or p.ndim == 1)]
    others = [p for n, p in parameters.items() if n.endswith(".bias") or p.ndim == 1]
    optimizer = make([{"params": decayed}, {"params": others}])
    for step in range(STEPS):
        optimizer.param_groups[0]["weight_decay"] = 0.04 + 0.03 * step
        optimizer.param_groups[1]["weight_decay"] = 0.0
        for group in optimizer.param_groups:
            group["lr"] = 0.3 / (1 + step)
        student.set_gradients(step, silent=("backbone.pos_embed",))
        optimizer.step()
        if step in STORED:
            out[f"{name}/student{step}"] = student.flat()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("dino", "dinov2", "dinov3", "solo"):
        parser.add_argument(name, help=f"checkout of {name}")
    args = parser.parse_args()
    groups2 = load(os.path.join(args.dinov2, "dinov2/utils/param_groups.py"), "groups2")
    groups3 = load(os.path.join(args.dinov3, "dinov3/train/param_groups.py"), "groups3")
    schedules2 = load(os.path.join(args.dinov2, "dinov2/utils/utils.py"), "schedules2")
    schedules3 = load(os.path.join(args.dinov3, "dinov3/train/cosine_lr_scheduler.py"), "schedules3")
    dino = load(os.path.join(args.dino, "utils.py"), "dino_utils")
    solo = load(os.path.join(args.solo, "solo/utils/lars.py"), "solo_lars")

    out = {}
    put_groups(out, "groups/dinov2", Student(), lambda m: groups2.get_params_groups_with_decay(m, LAYER_DECAY, PATCH_EMBED))
    v3 = {("storage_tokens" if n == "register_tokens" else n): s for n, s in BACKBONE.items() if n != "pos_embed"}
    put_groups(out, "groups/dinov3", Student(v3), lambda m: groups3.get_params_groups_with_decay(m, LAYER_DECAY, PATCH_EMBED))
    adamw(out, groups2)
    momentum_steps(out, "sgd", lambda groups: torch.optim.SGD(groups, lr=1, momentum=0.9))
    momentum_steps(out, "lars/update", lambda groups: dino.LARS(groups, momentum=0.9, eta=0.01))
    momentum_steps(out, "lars/sum", lambda groups: solo.LARS(groups, lr=1, momentum=0.9, eta=0.02, exclude_bias_n_norm=True))
    momentum_steps(out, "lars/sum_clip", lambda groups: solo.LARS(groups, lr=1, momentum=0.9, eta=0.02, exclude_bias_n_norm=True, clip_lr=True))

    # start, peak, end, warm-up, total, cosine (-1: what remains)
    for i, a in enumerate([(0, 4e-4, 4e-4, 6, 20, -1), (0, 1e-3, 1e-6, 5, 30, 15), (0.04, 0.07, 0.07, 10, 12, -1), (0, 2.0, 2.0, 0, 9, 9),
                           (0, 0, 7.1e-5, 0, 24, 8), (1, 3, 2, 4, 8, 1), (1, 3, 2, 4, 8, 0)]):
        out[f"phase/{i}/arguments"] = torch.tensor(a, dtype=torch.float64)
        out[f"phase/{i}/values"] = torch.tensor(schedules3.linear_warmup_cosine_decay(*a[:5], None if a[5] < 0 else a[5]))
    temperature = schedules2.CosineScheduler(0.07, 0.07, 12, warmup_iters=12, start_warmup_value=0.04)
    out["temperature_per_step"] = torch.tensor([float(temperature[i]) for i in range(16)], dtype=torch.float64)
    meta = versions() | {"source": "facebookresearch dino, dinov2, dinov3; vturrisi/solo-learn", "made_by": "tests/golden/make_optim_methods.py"}
    save(os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "optim_methods.safetensors"), out, meta)


if __name__ == "__main__":
    main()
