#!/usr/bin/env python3
"""The training step of the official DINO code on CPU ranks and random crops: its own train_one_epoch, models, loss and clipping.

  python step_peer.py DINO_CHECKOUT [--batch 64] [--steps 12] [--dim 192] [--depth 6] [--heads 3] [--patch 8] [--global 32] [--local 16]
                      [--locals 4] [--out 4096] [--threads 1] [--bf16] [--strategy ddp|fsdp2]

Only devices are redirected to the CPU (gloo; one rank, or those of torchrun, each with --batch images). --strategy fsdp2 shards the student, block by block, with
torch.distributed.fsdp.fully_shard in the place of the official code's DistributedDataParallel; the teacher is held whole, as the code's average wants it. --bf16 wraps both forward passes in torch.autocast("cpu", bfloat16), which the
official code does on GPUs only. Prints "name value" lines of rank 0; step_ms is processor time of the process, wall_ms and images_per_second are by the clock, of all ranks.
"""
import argparse, functools, io, contextlib, os, resource, sys, time

parser = argparse.ArgumentParser()
parser.add_argument("dino")
for name, value in dict(batch=64, steps=12, dim=192, depth=6, heads=3, patch=8, locals=4, out=4096, threads=1).items():
    parser.add_argument("--" + name, type=int, default=value)
parser.add_argument("--global", type=int, default=32, dest="global_size")
parser.add_argument("--local", type=int, default=16, dest="local_size")
parser.add_argument("--bf16", action="store_true")
parser.add_argument("--strategy", choices=("ddp", "fsdp2"), default="ddp")
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
for name, value in dict(MASTER_ADDR="127.0.0.1", MASTER_PORT="29617", RANK="0", WORLD_SIZE="1").items():
    os.environ.setdefault(name, value)
dist.init_process_group("gloo")


def network():
    backbone = vits.VisionTransformer(img_size=[options.global_size], patch_size=options.patch, embed_dim=options.dim, depth=options.depth,
                                      num_heads=options.heads, mlp_ratio=4, qkv_bias=True,
                                      norm_layer=functools.partial(nn.LayerNorm, eps=1e-6))
    return utils.MultiCropWrapper(backbone, vits.DINOHead(options.dim, options.out, use_bn=False, norm_last_layer=True))


torch.manual_seed(0)
student, teacher = network(), network()
teacher.load_state_dict(student.state_dict())
if options.strategy == "ddp":
    student = nn.parallel.DistributedDataParallel(student)
else:
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import DTensor

    for block in student.backbone.blocks:
        fully_shard(block)
    fully_shard(student)

    class Whole:
        """What the official loop reads of student.module: the parameters, whole, for its average."""

        def parameters(self):
            return [p.full_tensor() if isinstance(p, DTensor) else p for p in student.parameters()]

    object.__setattr__(student, "module", Whole())
    # the official clipping takes a norm for each parameter; of a sharded one it is a collective
    utils.clip_gradients = lambda model, clip: [g.mul_(min(1.0, clip / (float(g.norm().full_tensor() if isinstance(g, DTensor) else g.norm()) + 1e-6)))
                                                for g in (p.grad for p in model.parameters()) if g is not None]
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
        start, began = time.process_time(), time.monotonic()
        main_dino.train_one_epoch(student, teacher, teacher, loss, data, optimizer, schedule, [0.04] * n, [0.99] * n, 0, None, arguments)
        return (time.process_time() - start) / n, (time.monotonic() - began) / n


run(2)
seconds, wall = run(options.steps)
if dist.get_rank() == 0:
    print(f"step_ms {1e3 * seconds:.2f}")
    print(f"images_per_core_second {options.batch / seconds:.2f}")
    print(f"ranks {dist.get_world_size()}\nwall_ms {1e3 * wall:.2f}\nimages_per_second {options.batch * dist.get_world_size() / wall:.2f}")
    print(f"peak_mb {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:.0f}")
