"""Writes data/program_METHOD.safetensors and data/program_teacher.safetensors: what the PROGRAM must leave behind, pack and train with every method, computed here in
float64 by PyTorch with losses, networks and optimizers of make_method_curves.py and schedules of program_schedules.py. program/program_test.cpp runs the program on 1 and
2 ranks and compares metrics.jsonl and the checkpoint.

    cmake --build build/release --target dinoxx program_inputs
    python tests/golden/make_program.py build/release [METHOD ...]          (requirements.txt)

It draws the images, packs them with the program, reads the shard with h5py and compares every pixel; then takes crops, masks and stochastic depth of each step from
program_inputs, which makes them from program/*.cfg with the library and none of src/train. None of these is stored: program_inputs makes them again. The first
weights are golden_common's by name, which the program is given as model.init_from: those of a seed tell the images of so small a network hardly apart, so that
float32's rounding would be blown up. Run this again when a draw changes (order, crops, masks: a contract of resume, so hardly ever) or a configuration in program/.
"""
import os
import subprocess
import sys
import tempfile

import torch
import torch.nn.functional as F
from torch import nn

from golden_common import fill_parameters, put, save, sinkhorn, versions
from make_method_curves import (agreement_with_mean, barlow_parts, byol_pairs, coding_rate, cross_entropy, dino_pairs, gram, koleo, masked_mean, mean_targets, nt_xent, sigreg, sketching_parts, swapped,
                                vicreg_parts, view_agreement, view_prediction)
from method_networks import DinoHead, MlpHead, Vit
from method_optim import AdamW, Lars, average, clip_each, clip_modules, grad_norm, layer_rate, no_decay_by_name, no_decay_by_shape
from philox import directions
from program_data import TRAIN, Inputs, draw_and_pack, read_settings
from program_schedules import Schedules

HERE = os.path.dirname(os.path.abspath(__file__))
METHODS = ("dino", "ibot", "dinov2", "dinov3", "distill", "distill_features", "byol", "fastsiam", "simclr", "simdino", "simdinov2", "lejepa", "visreg", "vicreg",
           "barlow_twins", "swav", "emp_ssl")
GLOBALS = 2
FROZEN = {"dim": 8, "depth": 1, "heads": 1, "patch": 4, "image": 16, "layer_scale": True}  # the teacher of the distillation
FROZEN_HEAD = {"prototypes": 24, "hidden": 12, "bottleneck": 8}


# ---- the methods ----

def vit_arguments(settings):
    style = settings.get("model.style", "dino")
    arguments = {"dim": int(settings["model.dim"]), "depth": int(settings["model.depth"]), "heads": int(settings["model.heads"]),
                 "patch": int(settings["model.patch_size"]), "image": int(settings["views.global_size"]), "layer_scale": style != "dino",
                 "mask_token": settings["train.method"] in ("ibot", "dinov2", "dinov3", "simdinov2")}
    if style == "dinov3":
        arguments |= {"rope": True, "registers": int(settings["model.registers"]), "eps": 1e-5}
    return arguments


def head_arguments(settings, prefix=""):
    return {"prototypes": int(settings[f"head.{prefix}out_dim"]), "hidden": int(settings[f"head.{prefix}hidden_dim"]),
            "bottleneck": int(settings[f"head.{prefix}bottleneck_dim"]), "weight_norm": settings.get("head.weight_norm", "yes") == "yes"}


def heads_of(settings):
    if "head.patch_out_dim" in settings:
        return {"dino_head": head_arguments(settings), "ibot_head": head_arguments(settings, "patch_")}
    return {"head": head_arguments(settings)}


def network_of(backbone, heads):
    return nn.ModuleDict({"backbone": Vit(**backbone)} | {name: DinoHead(backbone["dim"], **head) for name, head in heads.items()}).double()


def first_head(net):
    return net[next(name for name in net if name != "backbone")]


def last_head(net):
    return net[[name for name in net][-1]]


class Record:
    """Columns of metrics.jsonl."""

    def __init__(self):
        self.columns = {}

    def add(self, **values):
        for name, value in values.items():
            self.columns.setdefault(name, []).append(value.item() if torch.is_tensor(value) else float(value))

    def store(self, out):
        for name, values in self.columns.items():
            out[f"metrics/{name}"] = torch.tensor(values, dtype=torch.float64)


def frozen_teacher():
    teacher = network_of(FROZEN, {"head": FROZEN_HEAD})
    fill_parameters(teacher)
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.copy_(parameter.float())
    return teacher


def save_frozen_teacher(path):
    """As a run of dinoxx leaves its teacher. The frozen teacher has no use for a mask token, but such a file holds one."""
    tensors = {name: value.float() for name, value in frozen_teacher().state_dict().items()} | {"backbone.mask_token": torch.zeros(1, FROZEN["dim"])}
    config = (f"[model]\narch = vit_tiny\nstyle = dinov2\ndim = {FROZEN['dim']}\ndepth = {FROZEN['depth']}\nheads = {FROZEN['heads']}\n"
              f"patch_size = {FROZEN['patch']}\nimage_size = {FROZEN['image']}\n[head]\nout_dim = {FROZEN_HEAD['prototypes']}\n"
              f"hidden_dim = {FROZEN_HEAD['hidden']}\nbottleneck_dim = {FROZEN_HEAD['bottleneck']}\nweight_norm = yes\n[views]\nglobal_size = {FROZEN['image']}\n"
              "[train]\nmethod = dinov2\n")
    save(path, tensors, {"format": "pt", "dinoxx.config": config, "made_by": "tests/golden/make_program.py"})


def prototypes(settings, inputs, values):
    method = settings["train.method"]
    backbone, heads = vit_arguments(settings), heads_of(settings)
    student, ema = network_of(backbone, heads), network_of(backbone, heads)
    fill_parameters(student)
    fill_parameters(ema)
    frozen = frozen_teacher() if method == "distill" else None
    gram_teacher = None
    by_module, train_gain = settings["optim.clip_by"] == "module", settings.get("head.norm_last_layer") != "yes"
    named = {n: p for n, p in student.named_parameters() if train_gain or not n.endswith("last_layer.weight_g")}
    for name, p in student.named_parameters():
        p.requires_grad_(name in named)
    rate = lambda name: layer_rate(name, backbone["depth"], float(settings.get("optim.layer_decay", 1)), float(settings.get("optim.patch_embed_lr", 1)))  # noqa: E731
    optimizer = AdamW(named, no_decay_by_name if by_module else no_decay_by_shape, rate, "rate" if by_module else "skip")
    centring, patches_count = settings["loss.centring"], float(settings.get("loss.patch_weight", 0)) > 0
    koleo_weight, koleo_group = float(settings.get("loss.koleo_weight", 0)), int(settings.get("loss.koleo_group", 0))
    clip, keep = float(settings["optim.clip"]), float(settings.get("loss.centre_momentum", 0))
    centre = torch.zeros(next(iter(heads.values()))["prototypes"], dtype=torch.float64)
    patch_centre = torch.zeros(list(heads.values())[-1]["prototypes"], dtype=torch.float64)
    batch, record, clipped = inputs.batch, Record(), 0
    for step in range(inputs.steps):
        globals_, locals_ = inputs.get(step, "crops0"), inputs.get(step, "crops1")
        mask = inputs.get(step, "masked")
        mask = mask.bool() if mask is not None else None
        frozen_now = values.frozen[step]

        with torch.no_grad():
            teacher = frozen or ema
            cls, patches = teacher["backbone"](globals_)
            target_cls = first_head(teacher)(cls)
            if centring == "centre":
                targets = torch.softmax((target_cls - centre) / values.temp[step], dim=-1)
            else:
                targets = sinkhorn(target_cls, values.temp[step])
            if patches_count:
                target_patches = last_head(teacher)(patches)  # of all patches, [2 B, N, K]
                if settings["loss.patch_centring"] == "centre":
                    patch_targets = torch.softmax((target_patches - patch_centre) / values.patch_temp[step], dim=-1)
                else:
                    patch_targets = torch.zeros_like(target_patches)
                    patch_targets[mask] = sinkhorn(target_patches[mask], values.patch_temp[step])
            if step in values.gram_refreshes:
                gram_teacher = Vit(**backbone).double()
                gram_teacher.load_state_dict(ema["backbone"].state_dict())

        cls, patches = student["backbone"](globals_, mask if method != "distill" else None, inputs.get(step, "gains0"))
        local_cls, _ = student["backbone"](locals_, None, inputs.get(step, "gains1"))
        logits = first_head(student)(torch.cat([cls, local_cls])).reshape(-1, batch, targets.shape[-1])
        loss = dino_pairs(targets.reshape(GLOBALS, batch, -1), logits, values.local_weight[step])
        if patches_count:
            patch_loss = masked_mean(cross_entropy(patch_targets, last_head(student)(patches)), mask)
            loss = loss + float(settings["loss.patch_weight"]) * patch_loss
            record.add(patch_loss=patch_loss)
        if koleo_weight:
            groups = cls.reshape(GLOBALS * batch // koleo_group, koleo_group, -1)  # of consecutive images of one view
            assert all(torch.pdist(torch.nn.functional.normalize(group, dim=-1)).min() > 1e-3 for group in groups), \
                "stochastic depth has left two images without attention, so alike: the gradient of KoLeo is then rounding noise. Choose another train.seed"
            spread = sum(koleo(group, int(settings["loss.koleo_top_k"])) for group in groups) / (batch // koleo_group)
            loss = loss + koleo_weight * spread
            record.add(koleo_loss=spread)
        if "gram.weight" in settings:
            anchored = 0.0  # not in metrics.jsonl until its weight is more than 0
            if values.gram_weight[step]:
                with torch.no_grad():
                    _, reference = gram_teacher(inputs.get(step, "crops2"))
                anchored = gram(patches, reference, backbone["image"] // backbone["patch"])
                loss = loss + values.gram_weight[step] * anchored
            record.add(gram_weight=values.gram_weight[step], gram_loss=anchored)

        for p in named.values():
            p.grad = torch.zeros_like(p)  # parameters that a step does not use decay all the same
        loss.backward()
        norm = grad_norm({n: p for n, p in named.items() if by_module or not (frozen_now and "last_layer" in n)})
        if by_module:
            clipped += clip_modules(student, clip)
        else:
            clipped += sum(p.grad.norm().item() > clip for p in named.values())
            clip_each(named, clip)
        optimizer.step(values.lr[step], values.weight_decay[step], frozen_now)
        average(student, ema, values.momentum[step])
        with torch.no_grad():
            if centring == "centre":
                centre = centre * keep + target_cls.mean(0) * (1 - keep)
            if method == "ibot":  # its patch centre counts all patches of all crops
                patch_centre = patch_centre * keep + target_patches.mean((0, 1)) * (1 - keep)
            if method == "dinov2":  # the masked ones, a mean for each group of images
                size, slot = int(settings["mask.group_size"]), torch.arange(GLOBALS * batch) % batch
                parts = [target_patches[slot // size == g][mask[slot // size == g]] for g in range(batch // size)]
                means = [part.mean(0) for part in parts if len(part)]
                patch_centre = patch_centre * keep + torch.stack(means).mean(0) * (1 - keep)
        record.add(loss=loss, grad_norm=norm, lr=values.lr[step], weight_decay=values.weight_decay[step], momentum=values.momentum[step],
                   teacher_temp=values.temp[step], last_layer_frozen=frozen_now, epoch=(step + 1) * batch / TRAIN)
    out = {}
    record.store(out)
    if centring == "centre":
        out["centre"] = centre
        if patches_count:
            out["patch_centre"] = patch_centre
    put_networks(out, student=student, teacher=ema)
    return out, clipped


def views_apart(net, inputs, step, gains, predict, views=2):
    """Views of one size, each through the whole network by itself: every batch norm sees one view."""
    outputs = []
    for view in range(views):
        rows = slice(view * inputs.batch, (view + 1) * inputs.batch)
        z = net["projector"](net["backbone"](inputs.get(step, "crops0")[rows], None, inputs.get(step, "gains0")[:, :, rows] if gains else None)[0])
        outputs.append(net["predictor"](z) if predict else z)
    return outputs


def two_views(settings, inputs, values):
    method = settings["train.method"]
    byol, fastsiam = method == "byol", method == "fastsiam"
    expander = (int(settings["head.layers"]), fastsiam, fastsiam) if "head.layers" in settings else ()
    dim, hidden, width = int(settings["model.dim"]), int(settings["head.hidden_dim"]), int(settings["head.out_dim"])
    heads = {"projector": (dim, hidden, width, *expander)} | ({"predictor": (width, int(settings["head.predictor_hidden_dim"]), width)} if byol or fastsiam else {})

    def network():
        net = nn.ModuleDict({"backbone": Vit(**vit_arguments(settings))} | {head: MlpHead(*widths) for head, widths in heads.items()}).double()
        fill_parameters(net)
        return net.train()

    student, teacher = network(), network()
    named = dict(student.named_parameters())
    optimizer = Lars(named, float(settings["optim.trust"]), float(settings["optim.momentum"]), solo=settings["optim.trust_clip"] == "yes")
    record = Record()
    for step in range(inputs.steps):
        if byol:
            with torch.no_grad():
                targets = views_apart(teacher, inputs, step, gains=False, predict=False)  # batch statistics, its own running averages
            loss = byol_pairs(views_apart(student, inputs, step, gains=True, predict=True), targets)
        elif fastsiam:
            projections = views_apart(student, inputs, step, gains=True, predict=False, views=4)
            loss = mean_targets([student["predictor"](z) for z in projections], projections)
        elif method == "vicreg":
            parts = dict(zip(("invariance", "variance", "covariance"), vicreg_parts(views_apart(student, inputs, step, gains=True, predict=False))))
            loss = sum(float(settings[f"loss.{name}_weight"]) * part for name, part in parts.items())
            record.add(**{f"{name}_loss": part for name, part in parts.items()})
        elif method == "barlow_twins":
            invariance, redundancy = barlow_parts(views_apart(student, inputs, step, gains=True, predict=False))
            loss = float(settings["loss.correlation_weight"]) * (invariance + float(settings["loss.redundancy_weight"]) * redundancy)
            record.add(invariance_loss=invariance, redundancy_loss=redundancy)
        else:
            loss = nt_xent(views_apart(student, inputs, step, gains=True, predict=False), float(settings["loss.temp"]))
        student.zero_grad()
        loss.backward()
        norm = grad_norm(named)
        optimizer.step(values.lr[step], values.weight_decay[step])
        record.add(loss=loss, grad_norm=norm, lr=values.lr[step], weight_decay=values.weight_decay[step], epoch=(step + 1) * inputs.batch / TRAIN)
        if byol:
            average(student, teacher, values.momentum[step])
            record.add(momentum=values.momentum[step])
    out = {}
    record.store(out)
    put_networks(out, student=student, teacher=teacher if byol else student)  # what the others export is the student
    return out, 0


def sizes_apart(net, head, inputs, step, gains, sizes=2):
    """[V, B, D]: the crops of one size together, those of another by themselves, so that every batch norm sees one size."""
    features = [net["backbone"](inputs.get(step, f"crops{i}"), None, inputs.get(step, f"gains{i}") if gains else None)[0] for i in range(sizes)]
    return torch.cat([head(rows).unflatten(0, (-1, inputs.batch)) for rows in features])


def without_prototypes(settings, inputs, values):
    """SimDINO, LeJEPA, VISReg and EMP-SSL, whose crops here are of one size."""
    simdino, emp_ssl = (settings["train.method"] == name for name in ("simdino", "emp_ssl"))
    dim, hidden, head = int(settings["model.dim"]), int(settings["head.hidden_dim"]), "head" if simdino else "projector"

    def network():
        made = DinoHead(dim, 0, hidden, int(settings["head.bottleneck_dim"])) if simdino else MlpHead(dim, hidden, int(settings["head.out_dim"]), int(settings.get("head.layers", 2)))
        net = nn.ModuleDict({"backbone": Vit(**vit_arguments(settings)), head: made}).double()
        fill_parameters(net)
        return net.train()

    student, teacher = network(), network()
    named = dict(student.named_parameters())
    if simdino:
        optimizer = AdamW(named, no_decay_by_shape, lambda _: 1.0, "skip")
    else:
        optimizer = Lars(named, float(settings["optim.trust"]), float(settings["optim.momentum"]), solo=settings["optim.trust_clip"] == "yes")
    record, clipped = Record(), 0
    for step in range(inputs.steps):
        z = sizes_apart(student, student[head], inputs, step, gains=True, sizes=1 if emp_ssl else 2)
        if simdino:
            with torch.no_grad():
                target = sizes_apart(teacher, teacher[head], inputs, step, gains=False, sizes=1)
            rate = coding_rate((z[:GLOBALS] + target) / 2, float(settings["loss.coding_eps"]))
            loss = 1 - view_agreement(z, target) - float(settings["loss.coding_weight"]) * rate
        elif emp_ssl:
            rate = coding_rate(F.normalize(z, dim=-1), float(settings["loss.coding_eps"]))
            loss = 200 * (1 - agreement_with_mean(z) - float(settings["loss.coding_weight"]) * rate)
            record.add(coding_rate=rate)
        elif settings["train.method"] == "visreg":
            parts = sketching_parts(z, directions(z.shape[-1], int(settings["loss.sketch_directions"]), int(settings["train.seed"]), step))
            record.add(**{f"{name}_loss": part for name, part in zip(("centre", "scale", "shape"), parts)})
            share = float(settings["loss.sketch_weight"])
            loss = (1 - share) * view_prediction(z) + share * (parts[0] + parts[1] + float(settings["loss.sketch_shape"]) * parts[2])
        else:
            along = directions(z.shape[-1], int(settings["loss.sigreg_directions"]), int(settings["train.seed"]), step)
            share = float(settings["loss.sigreg_weight"])
            loss = (1 - share) * view_prediction(z) + share * sigreg(z, along)
        student.zero_grad()
        loss.backward()
        norm = grad_norm(named)
        if simdino:
            clipped += sum(p.grad.norm().item() > float(settings["optim.clip"]) for p in named.values())
            clip_each(named, float(settings["optim.clip"]))
        optimizer.step(values.lr[step], values.weight_decay[step])
        if simdino:
            average(student, teacher, values.momentum[step])
            record.add(coding_rate=rate, momentum=values.momentum[step])
        record.add(loss=loss, grad_norm=norm, lr=values.lr[step], weight_decay=values.weight_decay[step], epoch=(step + 1) * inputs.batch / TRAIN)
    out = {}
    record.store(out)
    put_networks(out, student=student, teacher=teacher if simdino else student)  # without a teacher what is exported is the student
    return out, clipped


def masked_agreement(settings, inputs, values):
    """SimDINOv2: one head for views and masked patches."""
    backbone, dim = vit_arguments(settings), int(settings["model.dim"])

    def network():
        head = DinoHead(dim, 0, int(settings["head.hidden_dim"]), int(settings["head.bottleneck_dim"]))
        net = nn.ModuleDict({"backbone": Vit(**backbone), "head": head}).double()
        fill_parameters(net)
        return net

    student, ema = network(), network()
    named = dict(student.named_parameters())
    rate = lambda name: layer_rate(name, backbone["depth"], float(settings["optim.layer_decay"]), float(settings["optim.patch_embed_lr"]))  # noqa: E731
    optimizer = AdamW(named, no_decay_by_name, rate, "rate")
    record, clipped = Record(), 0
    for step in range(inputs.steps):
        globals_, mask = inputs.get(step, "crops0"), inputs.get(step, "masked").bool()
        with torch.no_grad():
            cls, patches = ema["backbone"](globals_)
            target, target_patches = ema["head"](cls).unflatten(0, (-1, inputs.batch)), ema["head"](patches)
        cls, patches = student["backbone"](globals_, mask, inputs.get(step, "gains0"))
        local_cls, _ = student["backbone"](inputs.get(step, "crops1"), None, inputs.get(step, "gains1"))
        z = student["head"](torch.cat([cls, local_cls])).unflatten(0, (-1, inputs.batch))
        expansion = coding_rate((z[:GLOBALS] + target) / 2, float(settings["loss.coding_eps"]))
        of_patches = masked_mean(1 - F.cosine_similarity(student["head"](patches), target_patches, dim=-1), mask)
        loss = 1 - view_agreement(z, target) - float(settings["loss.coding_weight"]) * expansion + float(settings["loss.patch_weight"]) * of_patches
        for p in named.values():
            p.grad = torch.zeros_like(p)
        loss.backward()
        norm = grad_norm(named)
        clipped += clip_modules(student, float(settings["optim.clip"]))
        optimizer.step(values.lr[step], values.weight_decay[step])
        average(student, ema, values.momentum[step])
        record.add(loss=loss, grad_norm=norm, lr=values.lr[step], weight_decay=values.weight_decay[step], momentum=values.momentum[step], coding_rate=expansion,
                   epoch=(step + 1) * inputs.batch / TRAIN)
    out = {}
    record.store(out)
    put_networks(out, student=student, teacher=ema)
    return out, clipped


def codes(settings, inputs, values):
    """SwAV: codes of the student's own logits."""
    backbone = vit_arguments(settings)
    head = head_arguments(settings) | {"layers": int(settings["head.layers"]), "batch_norm": settings["head.batch_norm"] == "yes"}
    student = network_of(backbone, {"head": head}).train()
    fill_parameters(student)
    named = {n: p for n, p in student.named_parameters() if not n.endswith("last_layer.weight_g")}
    optimizer = Lars(named, float(settings["optim.trust"]), float(settings["optim.momentum"]), solo=settings["optim.trust_clip"] == "yes")
    record = Record()
    for step in range(inputs.steps):
        features = [student["backbone"](inputs.get(step, f"crops{i}"), None, inputs.get(step, f"gains{i}"))[0] for i in range(2)]
        logits = student["head"](torch.cat(features)).unflatten(0, (-1, inputs.batch))
        loss = swapped(logits, float(settings["loss.codes_temp"]), int(settings["loss.sinkhorn_iterations"]))
        student.zero_grad()
        loss.backward()
        frozen = values.frozen[step]
        norm = grad_norm({n: p for n, p in named.items() if not (frozen and "last_layer" in n)})
        optimizer.step(values.lr[step], values.weight_decay[step], frozen)
        record.add(loss=loss, grad_norm=norm, lr=values.lr[step], weight_decay=values.weight_decay[step], last_layer_frozen=frozen,
                   epoch=(step + 1) * inputs.batch / TRAIN)
    out = {}
    record.store(out)
    put_networks(out, student=student, teacher=student)
    return out, 0


def features(settings, inputs, values):
    """A frozen backbone's features and patches through two projectors, on one grid."""
    width, hidden = int(settings["head.out_dim"]), int(settings["head.hidden_dim"])
    backbone = vit_arguments(settings)

    def network():
        heads = {name: DinoHead(backbone["dim"], 0, hidden, width, layers=2) for name in ("projector", "patch_projector")}
        net = nn.ModuleDict({"backbone": Vit(**backbone)} | heads).double()
        fill_parameters(net)
        return net

    student, ema, frozen = network(), network(), frozen_teacher()["backbone"]
    named = dict(student.named_parameters())
    optimizer = AdamW(named, no_decay_by_shape, lambda _: 1.0, "skip")
    record, clipped = Record(), 0
    for step in range(inputs.steps):
        crops = inputs.get(step, "crops0")
        with torch.no_grad():
            target_cls, target_patches = frozen(crops)
        cls, patches = student["backbone"](crops, None, inputs.get(step, "gains0"))
        ours = student["patch_projector"](patches)
        distance = lambda a, b: (1 - torch.nn.functional.cosine_similarity(a, b, dim=-1)).mean()  # noqa: E731
        loss = distance(student["projector"](cls), target_cls) + float(settings["loss.patch_weight"]) * distance(ours, target_patches)
        student.zero_grad()
        loss.backward()
        norm = grad_norm(named)
        clipped += sum(p.grad.norm().item() > float(settings["optim.clip"]) for p in named.values())
        clip_each(named, float(settings["optim.clip"]))
        optimizer.step(values.lr[step], values.weight_decay[step])
        average(student, ema, values.momentum[step])
        record.add(loss=loss, grad_norm=norm, lr=values.lr[step], weight_decay=values.weight_decay[step], momentum=values.momentum[step],
                   epoch=(step + 1) * inputs.batch / TRAIN)
    out = {}
    record.store(out)
    put_networks(out, student=student, teacher=ema)
    return out, clipped


def put_networks(out, **networks):
    for which, net in networks.items():
        for name, tensor in net.state_dict().items():
            if name.endswith("attn.qkv.bias"):
                # The key part has no effect on the output, so its gradient is rounding noise, of which Adam makes full steps
                tensor = tensor.reshape(3, -1)[::2].flatten()
            put(out, f"{which}/{name}", tensor)


def main():
    torch.set_num_threads(1)
    build, methods = sys.argv[1], sys.argv[2:] or METHODS
    with tempfile.TemporaryDirectory() as folder:
        data, names = draw_and_pack(os.path.join(build, "bin", "dinoxx"), folder)
        for method in methods:
            files = [os.path.join(HERE, "program", f"{name}.cfg") for name in ("common", method)]
            path = os.path.join(folder, "inputs.safetensors")
            subprocess.run([os.path.join(build, "bin", "program_inputs"), data, *files, path], check=True)
            settings = read_settings(*files)
            inputs = Inputs(path, settings, names)
            values = Schedules(settings, inputs)
            run = {"byol": two_views, "fastsiam": two_views, "simclr": two_views, "vicreg": two_views, "barlow_twins": two_views, "swav": codes, "simdino": without_prototypes, "lejepa": without_prototypes,
                   "visreg": without_prototypes, "emp_ssl": without_prototypes, "simdinov2": masked_agreement, "distill_features": features}.get(method, prototypes)
            out, clipped = run(settings, inputs, values)
            meta = versions() | {"source": "published descriptions, written out", "made_by": "tests/golden/make_program.py", "gradients_clipped": clipped}
            print(method, meta, *(f"{name} {tensor}" for name, tensor in out.items() if name.startswith("metrics/")), sep="\n")
            save(os.path.join(HERE, "data", f"program_{method}.safetensors"), out, meta)
    save_frozen_teacher(os.path.join(HERE, "data", "program_teacher.safetensors"))


if __name__ == "__main__":
    main()
