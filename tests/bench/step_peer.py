#!/usr/bin/env python3
"""The training step of the official DINO code on one CPU rank and random crops: its own train_one_epoch, models, loss and clipping.

  python step_peer.py DINO_CHECKOUT [--batch 64] [--steps 12] [--dim 192] [--depth 6] [--heads 3] [--patch 8] [--global 32] [--local 16]
                      [--locals 4] [--out 4096] [--threads 1] [--bf16]

Only devices are redirected to the CPU (gloo, one rank). --bf16 wraps both forward passes in torch.autocast("cpu", bfloat16), which the
official code does on GPUs only. Prints "name value" lines; time is processor time of the process.
"""
import argparse, functools, io, contextlib, os, sys, time

parser = argparse.ArgumentParser()
parser.add_argument("dino")
for name, value in dict(batch=64, steps=12, dim=192, depth=6, heads=3, patch=8, locals=4, out=4096, threads=1).items():
    parser.add_argument("--" + name, type=int, default=value)
parser.add_argument("--global", type=int, default=32, dest="global_size")
parser.add_argument("--local", type=int, default=16, dest="local_size")
parser.add_argument("--bf16", action="store_true")
options = parser.parse_args()
sys.path.insert(0, options.dino)
import torch, torch.nn as nn, torch.distributed as dist

torch.Tensor.cuda = lambda self, *a, **k: self
nn.Module.cuda = lambda self, *a, **k: self
torch.cuda.synchronize = lambda *a, **k: None
torch.hub.list = lambda *a, **k: []
import utils, vision_transformer as vits, main_dino

utils.SmoothedValue.synchronize_between_processes = lambda self: None
torch.set_num_threads(options.threads)
os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=os.environ.get("MASTER_PORT", "29617"), RANK="0", WORLD_SIZE="1")
dist.init_process_group("gloo")


def network():
    backbone = vits.VisionTransformer(img_size=[options.global_size], patch_size=options.patch, embed_dim=options.dim, depth=options.depth,
                                      num_heads=options.heads, mlp_ratio=4, qkv_bias=True,
                                      norm_layer=functools.partial(nn.LayerNorm, eps=1e-6))
    return utils.MultiCropWrapper(backbone, vits.DINOHead(options.dim, options.out, use_bn=False, norm_last_layer=True))


torch.manual_seed(0)
student, teacher = network(), network()
student = nn.parallel.DistributedDataParallel(student)
teacher.load_state_dict(student.module.state_dict())
for p in teacher.parameters():
    p.requires_grad = False
if options.bf16:
    for net in (student, teacher):
        net.forward = torch.autocast("cpu", torch.bfloat16)(net.forward)
loss = main_dino.DINOLoss(options.out, 2 + options.locals, 0.04, 0.04, 0, 5)
forward = loss.forward
loss.forward = lambda s, t, epoch: forward(s.float(), t.float(), epoch)
optimizer = torch.optim.AdamW(utils.get_params_groups(student))
arguments = argparse.Namespace(epochs=5, clip_grad=3.0, freeze_last_layer=0)




def batches(n):
    sizes = [options.global_size] * 2 + [options.local_size] * options.locals
    return [([torch.randn(options.batch, 3, s, s) for s in sizes], None)] * n


def run(n):
    schedule, data = [1e-3] * n, batches(n)
    with contextlib.redirect_stdout(io.StringIO()):
        start = time.process_time()
        main_dino.train_one_epoch(student, teacher, teacher, loss, data, optimizer, schedule, [0.04] * n, [0.99] * n, 0, None, arguments)
        return (time.process_time() - start) / n


run(2)
seconds = run(options.steps)
print(f"step_ms {1e3 * seconds:.2f}")
print(f"images_per_core_second {options.batch / seconds:.2f}")
