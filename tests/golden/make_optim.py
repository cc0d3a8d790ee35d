"""Writes data/optim.safetensors: facebookresearch/dino's schedules, and ten steps of its update with given gradients: clipping, cancelled last layer, AdamW with
two groups, teacher average; in float64.

    python make_optim.py DINO_CHECKOUT           (commit 7c446df; torch as recorded in the file)
"""
import argparse
import os
import sys

import torch
from torch import nn

from golden_common import fill_parameters, save, uniform, versions

# name: base, final, epochs, iterations per epoch, warm-up epochs, start
COSINE = {
    "learning_rate": (5e-4, 1e-6, 5, 4, 2, 0.0),
    "weight_decay": (0.04, 0.4, 5, 4, 0, 0.0),
    "momentum": (0.996, 1.0, 5, 4, 0, 0.0),
    "one_warmup_step": (1e-3, 1e-5, 7, 1, 1, 1e-6),
    "all_warmup": (1e-3, 1e-5, 3, 5, 3, 1e-4),
    "long": (0.002, 0.0, 30, 10, 10, 1e-7),
}
# name: start, end, warm-up epochs, epochs
TEMPERATURE = {"published": (0.04, 0.07, 30, 100), "none": (0.04, 0.04, 0, 4), "one": (0.03, 0.06, 1, 4), "all": (0.02, 0.09, 6, 6)}

STEPS, PER_EPOCH, FREEZE_EPOCHS, CLIP = 10, 2, 2, 1.5


class Student(nn.Module):
    def __init__(self):
        super().__init__()
        self.pos_embed = nn.Parameter(torch.zeros(1, 3, 5))
        self.proj = nn.Linear(5, 7)
        self.norm = nn.LayerNorm(7)
        self.last_layer = nn.utils.weight_norm(nn.Linear(7, 6, bias=False))
        self.last_layer.weight_g.data.fill_(1)
        self.last_layer.weight_g.requires_grad = False


def gradient(step, name, shape):
    scale = {"pos_embed": 4.0, "proj.weight": 0.3, "last_layer.weight_v": 0.9}.get(name, 0.05)  # some above the clip, some below
    return scale * uniform(f"gradient{step}/{name}", shape) * (1 + 0.3 * step)


def train(utils, dtype):
    student, teacher = Student().to(dtype), Student().to(dtype)
    fill_parameters(student, keep=("weight_g",))
    teacher.load_state_dict(student.state_dict())
    lr = utils.cosine_scheduler(0.02, 1e-4, STEPS // PER_EPOCH, PER_EPOCH, warmup_epochs=1, start_warmup_value=0.003)
    wd = utils.cosine_scheduler(0.04, 0.4, STEPS // PER_EPOCH, PER_EPOCH)
    momentum = utils.cosine_scheduler(0.9, 1, STEPS // PER_EPOCH, PER_EPOCH)
    optimizer = torch.optim.AdamW(utils.get_params_groups(student))
    out = {"train/lr": torch.tensor(lr), "train/weight_decay": torch.tensor(wd), "train/momentum": torch.tensor(momentum)}
    for step in range(STEPS):
        for i, group in enumerate(optimizer.param_groups):
            group["lr"] = lr[step]
            if i == 0:
                group["weight_decay"] = wd[step]
        optimizer.zero_grad()
        for name, parameter in student.named_parameters():
            if parameter.requires_grad:
                parameter.grad = gradient(step, name, tuple(parameter.shape)).to(dtype)
        norms = utils.clip_gradients(student, CLIP)
        clipped = [p.grad.flatten().double() for p in student.parameters() if p.grad is not None]
        utils.cancel_gradients_last_layer(step // PER_EPOCH, student, FREEZE_EPOCHS)
        optimizer.step()
        with torch.no_grad():
            for q, k in zip(student.parameters(), teacher.parameters()):
                k.mul_(momentum[step]).add_((1 - momentum[step]) * q)
        out[f"train/norms{step}"] = torch.tensor(norms, dtype=torch.float64)
        out[f"train/clipped{step}"] = torch.cat(clipped)
        out[f"train/student{step}"] = torch.cat([p.detach().flatten().double() for p in student.parameters()])
        out[f"train/teacher{step}"] = torch.cat([p.detach().flatten().double() for p in teacher.parameters()])
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dino", help="checkout of facebookresearch/dino")
    args = parser.parse_args()
    sys.path.insert(0, args.dino)
    import main_dino
    import utils

    out, single = train(utils, torch.float64), train(utils, torch.float32)
    deviation = max(((single[k] - out[k]).abs().max() / out[k].abs().max()).item() for k in out)
    for name, (base, final, epochs, per_epoch, warmup, start) in COSINE.items():
        out[f"cosine/{name}/arguments"] = torch.tensor([base, final, epochs, per_epoch, warmup, start], dtype=torch.float64)
        out[f"cosine/{name}/values"] = torch.tensor(utils.cosine_scheduler(base, final, epochs, per_epoch, warmup, start))
    for name, (start, end, warmup, epochs) in TEMPERATURE.items():
        out[f"temperature/{name}/arguments"] = torch.tensor([start, end, warmup, epochs], dtype=torch.float64)
        out[f"temperature/{name}/values"] = torch.tensor(main_dino.DINOLoss(2, 2, start, end, warmup, epochs).teacher_temp_schedule)
    meta = versions() | {"source": "facebookresearch/dino", "made_by": "tests/golden/make_optim.py", "official_float32_deviation": f"{deviation:.2e}"}
    print(meta)
    save(os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "optim.safetensors"), out, meta)


if __name__ == "__main__":
    main()
