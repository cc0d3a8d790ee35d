"""Writes data/train_curve.safetensors: ten steps of facebookresearch/dino's training, with its own network, head, loss, schedules, clipping and parameter groups and
torch.optim.AdamW, in float64. Augmentation is replaced by tensors that both sides compute (golden_common.uniform).

    python make_train_curve.py DINO_CHECKOUT           (commit 7c446df; torch as recorded in the file)
"""
import argparse
import os
import sys
from functools import partial

import torch
import torch.distributed as dist
import torch.nn as nn

from golden_common import fill_parameters, put, save, uniform, versions

BATCH, STEPS_PER_EPOCH, EPOCHS = 4, 5, 2
GLOBAL, LOCAL, PATCH, DIM, DEPTH, HEADS = 16, 8, 4, 32, 2, 2
OUT_DIM, HIDDEN, BOTTLENECK = 48, 40, 16
LR, MIN_LR, WD, WD_END, MOMENTUM, CLIP = 0.01, 1e-5, 0.04, 0.4, 0.9, 0.05
TEMP_START, TEMP = 0.04, 0.07


def crops(step, dtype):
    sizes = [GLOBAL, GLOBAL, LOCAL, LOCAL]
    return [(1.5 * uniform(f"step{step}/view{v}", (BATCH, 3, size, size))).to(dtype) for v, size in enumerate(sizes)]


def run(vits, main_dino, utils, dtype):
    def network():
        backbone = vits.VisionTransformer(img_size=[GLOBAL], patch_size=PATCH, embed_dim=DIM, depth=DEPTH, num_heads=HEADS, mlp_ratio=4, qkv_bias=True,
                                          norm_layer=partial(nn.LayerNorm, eps=1e-6))
        head = vits.DINOHead(DIM, OUT_DIM, use_bn=False, norm_last_layer=True, nlayers=3, hidden_dim=HIDDEN, bottleneck_dim=BOTTLENECK)
        net = utils.MultiCropWrapper(backbone, head).to(dtype)
        fill_parameters(net, keep=("weight_g",))
        return net

    student, teacher = network(), network()
    for parameter in teacher.parameters():
        parameter.requires_grad = False
    loss_module = main_dino.DINOLoss(OUT_DIM, 4, TEMP_START, TEMP, 2, EPOCHS, center_momentum=0.9).to(dtype)
    optimizer = torch.optim.AdamW(utils.get_params_groups(student))
    lr = utils.cosine_scheduler(LR, MIN_LR, EPOCHS, STEPS_PER_EPOCH, warmup_epochs=1)
    wd = utils.cosine_scheduler(WD, WD_END, EPOCHS, STEPS_PER_EPOCH)
    momentum = utils.cosine_scheduler(MOMENTUM, 1, EPOCHS, STEPS_PER_EPOCH)
    losses, norms, clipped = [], [], 0
    for step in range(EPOCHS * STEPS_PER_EPOCH):
        epoch = step // STEPS_PER_EPOCH
        for i, group in enumerate(optimizer.param_groups):
            group["lr"] = lr[step]
            if i == 0:
                group["weight_decay"] = wd[step]
        images = crops(step, dtype)
        loss = loss_module(student(images), teacher(images[:2]), epoch)
        optimizer.zero_grad()
        loss.backward()
        per_parameter = utils.clip_gradients(student, CLIP)
        clipped += sum(norm > CLIP for norm in per_parameter)
        names = [name for name, parameter in student.named_parameters() if parameter.grad is not None]
        applied = [norm for name, norm in zip(names, per_parameter, strict=True) if epoch >= 1 or "last_layer" not in name]
        norms.append(sum(norm ** 2 for norm in applied) ** 0.5)
        utils.cancel_gradients_last_layer(epoch, student, 1)
        optimizer.step()
        with torch.no_grad():
            for q, k in zip(student.parameters(), teacher.parameters()):
                k.data.mul_(momentum[step]).add_((1 - momentum[step]) * q.detach().data)
        losses.append(loss.detach().double())
    out = {"losses": torch.stack(losses), "grad_norms": torch.tensor(norms, dtype=torch.float64), "centre": loss_module.center.double().reshape(-1)}
    for name, net in (("student", student), ("teacher", teacher)):
        for key, parameter in net.named_parameters():
            put(out, f"{name}/{key}", parameter)
    return out, clipped


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dino", help="checkout of facebookresearch/dino")
    args = parser.parse_args()
    sys.path.insert(0, args.dino)
    import main_dino
    import utils
    import vision_transformer as vits

    torch.manual_seed(0)
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    (out, clipped), (single, _) = run(vits, main_dino, utils, torch.float64), run(vits, main_dino, utils, torch.float32)
    deviation = ((single["losses"] - out["losses"]).abs() / out["losses"]).max().item()
    meta = versions() | {"source": "facebookresearch/dino", "made_by": "tests/golden/make_train_curve.py", "official_float32_loss_deviation": f"{deviation:.2e}",
                         "gradients_clipped": clipped}
    print(meta, out["losses"], out["grad_norms"])
    save(os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "train_curve.safetensors"), out, meta)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
