"""Writes data/loss.safetensors: loss, gradient and centre of facebookresearch/dino's DINOLoss over several steps, in float64.

    python make_loss.py DINO_CHECKOUT           (commit 7c446df; torch as recorded in the file)
"""
import argparse
import os
import sys

import torch
import torch.distributed as dist

from golden_common import save, uniform, versions

# name: views, global views are always 2, batch, prototypes, size of the logits
CASES = {"heads": (5, 3, 37, 1.0), "two_views": (2, 4, 64, 1.0), "sharp": (4, 2, 48, 12.0)}
EPOCHS, WARMUP, TEMP_START, TEMP = 5, 3, 0.04, 0.07


def run(main_dino, dtype):
    out = {}
    for name, (views, batch, dim, size) in CASES.items():
        loss_module = main_dino.DINOLoss(dim, views, TEMP_START, TEMP, WARMUP, EPOCHS, center_momentum=0.9).to(dtype)
        losses, temps = [], []
        for epoch in range(EPOCHS):
            student = (size * uniform(f"{name}/student{epoch}", (views * batch, dim))).to(dtype).requires_grad_()
            teacher = (size * uniform(f"{name}/teacher{epoch}", (2 * batch, dim)) + 0.3 * uniform(f"{name}/shift", (dim,))).to(dtype)
            loss = loss_module(student, teacher, epoch)
            loss.backward()
            losses.append(loss.detach().double())
            temps.append(loss_module.teacher_temp_schedule[epoch])
            out[f"{name}/grad{epoch}"] = student.grad.double().reshape(views, batch, dim)
            out[f"{name}/centre{epoch}"] = loss_module.center.detach().double().reshape(dim).clone()
        out[f"{name}/losses"] = torch.stack(losses)
        out[f"{name}/teacher_temps"] = torch.tensor(temps, dtype=torch.float64)
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dino", help="checkout of facebookresearch/dino")
    args = parser.parse_args()
    sys.path.insert(0, args.dino)
    import main_dino

    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    out, single = run(main_dino, torch.float64), run(main_dino, torch.float32)
    deviation = max(((single[k] - out[k]).abs().max() / out[k].abs().max()).item() for k in out)
    meta = versions() | {"source": "facebookresearch/dino", "made_by": "tests/golden/make_loss.py", "official_float32_deviation": f"{deviation:.2e}"}
    print(meta)
    save(os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "loss.safetensors"), out, meta)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
