"""Writes data/curve_METHOD.safetensors: ten whole training steps of iBOT, DINOv2, DINOv3, distillation, BYOL, SimCLR, SimDINO, SimDINOv2, LeJEPA, VISReg,
VICReg, Barlow Twins, SwAV and EMP-SSL, in float64, with networks, losses, schedules, parameter groups, clipping, averages and centres from the published descriptions, and PyTorch's autograd, AdamW and batch norm.

    python make_method_curves.py [METHOD ...]          (torch as recorded in the file)

Augmentation and masks are replaced by numbers that both sides compute (golden_common.uniform). Sources: bytedance/ibot main_ibot.py; facebookresearch/dinov2
and dinov3 train/, loss/, utils/param_groups.py; BYOL (Grill et al. 2020) and SimCLR (Chen et al. 2020) with LARS of dino and of solo-learn;
SimDINO (Wu et al. 2025, with the factors of its released code), LeJEPA (Balestriero and LeCun 2025), VISReg (Wu et al. 2026), VICReg (Bardes et al. 2022, with the factors of its
released code), Barlow Twins (Zbontar et al. 2021) and SwAV (Caron et al. 2020).
"""
import math
import os
import sys
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from golden_common import fill_parameters, put, save, sinkhorn, uniform, versions
from method_networks import DinoHead, MlpHead, Vit
from method_optim import AdamW, Lars, average, clip_each, clip_modules, grad_norm, layer_rate, no_decay_by_name, no_decay_by_shape
from philox import directions

BATCH, STEPS_PER_EPOCH, EPOCHS = 6, 5, 2
STEPS = STEPS_PER_EPOCH * EPOCHS
GLOBAL, LOCAL, GRAM, GLOBALS, LOCALS = 16, 8, 24, 2, 2
STUDENT_TEMP, CENTRE_MOMENTUM = 0.1, 0.9
MASK_LEVELS = (-1.0, -0.5, 0.0, -1.0, -0.7)  # of the crops in turn: a patch is masked where its uniform number is below
UNMASKED_STEP = 7                            # no crop of this step has a mask


# ---- inputs ----

def crops(step, size, views, dtype):
    return [(1.5 * uniform(f"step{step}/view{v}/{size}", (BATCH, 3, size, size))).to(dtype) for v in views]


def masks(step, patches):
    """[GLOBALS * BATCH, patches] bool, rows [view][image]."""
    rows = GLOBALS * BATCH
    level = torch.tensor([MASK_LEVELS[row % len(MASK_LEVELS)] for row in range(rows)], dtype=torch.float64)
    if step == UNMASKED_STEP:
        level.fill_(-1.0)
    return uniform(f"step{step}/masks", (rows, patches)) < level[:, None]


# ---- schedules ----

def cosine(base, final, warmup=0, start=0.0):
    """One value for each step: linear from start, both ends included, then half a cosine that would reach `final` at the end."""
    rest = STEPS - warmup
    rising = [start + (base - start) * i / (warmup - 1) for i in range(warmup)]
    return rising + [final + 0.5 * (base - final) * (1 + math.cos(math.pi * i / rest)) for i in range(rest)]


def temperature(start, end, warmup, moments):
    rising = [start + (end - start) * i / (warmup - 1) for i in range(warmup)]
    return (rising + [end] * moments)[:moments]


def per_epoch(values):
    return [values[step // STEPS_PER_EPOCH] for step in range(STEPS)]


def half_cosine(start, ramp, begin, end):
    """DINOv3: `begin` until step start, then half a cosine over `ramp` values of which the first is `begin` and the last `end`."""
    curve = [end + (begin - end) * (1 + math.cos(math.pi * i / (ramp - 1))) / 2 for i in range(ramp)]
    return ([begin] * start + curve + [end] * STEPS)[:STEPS]


# ---- losses ----

def cross_entropy(target, student):
    return -(target * F.log_softmax(student / STUDENT_TEMP, dim=-1)).sum(-1)


def dino_pairs(targets, student, local_weight=1.0):
    """targets [2, B, K], student [V, B, K]: every pair of different views, batch means, over the number of pairs."""
    loss, pairs = 0.0, 0
    for t, target in enumerate(targets):
        for v, view in enumerate(student):
            if v == t:
                continue
            loss = loss + cross_entropy(target, view).mean() * (1.0 if v < GLOBALS else local_weight)
            pairs += 1
    return loss / pairs


def masked_mean(loss_of_patches, mask):
    """Mean over the masked patches of a crop, then over all crops, masked or not."""
    return ((loss_of_patches * mask).sum(-1) / mask.sum(-1).clamp(min=1.0)).mean()


def koleo(features, neighbours):
    x = F.normalize(features, eps=1e-8, dim=-1)
    with torch.no_grad():
        dots = x @ x.t()
        dots.fill_diagonal_(-1)
        index = dots.topk(neighbours, dim=1).indices
    distance = nn.PairwiseDistance(2, eps=1e-8)
    return torch.stack([-torch.log(distance(x, x[index[:, k]]) + 1e-8) for k in range(neighbours)]).mean()


def gram(student, teacher, side):
    """Patches [crops, P, D] of the student, those of the teacher on a larger square grid."""
    crops_, larger, dim = teacher.shape
    grid = teacher.transpose(1, 2).reshape(crops_, dim, math.isqrt(larger), math.isqrt(larger))
    teacher = F.interpolate(grid, size=(side, side), mode="bicubic", align_corners=False, antialias=False).flatten(2).transpose(1, 2)
    ours, theirs = F.normalize(student, dim=-1), F.normalize(teacher, dim=-1)
    return F.mse_loss(ours @ ours.transpose(1, 2), theirs @ theirs.transpose(1, 2))


def byol_pairs(predictions, targets):
    p, t = [F.normalize(x, dim=-1) for x in predictions], [F.normalize(x, dim=-1) for x in targets]
    return sum((2 - 2 * (p[v] * t[1 - v]).sum(-1)).mean() for v in range(2))


def mean_targets(predictions, projections):
    """Each view's prediction against the mean of the other views' projections, which has no gradient."""
    count = len(predictions)
    targets = [torch.stack([projections[u] for u in range(count) if u != v]).mean(0).detach() for v in range(count)]
    return 1 - sum(F.cosine_similarity(p, t, dim=-1).mean() for p, t in zip(predictions, targets)) / count


def nt_xent(projections, temp):
    x = F.normalize(torch.cat(projections), dim=-1)
    count = len(x)
    similar = (x @ x.t() / temp).masked_fill(torch.eye(count, dtype=torch.bool), -math.inf)
    return F.cross_entropy(similar, (torch.arange(count) + count // 2) % count)


def view_agreement(student, teacher):
    """Student [V, B, D] and teacher [G, B, D] of the first of them: mean cosine over every pair of different views."""
    pairs = [F.cosine_similarity(student[v], teacher[t], dim=-1).mean() for t in range(len(teacher)) for v in range(len(student)) if v != t]
    return torch.stack(pairs).mean()


def coding_rate(features, eps):
    """Features [V, N, D]: the mean over views of gamma / 2 log det(I + D / (N eps) X^T X), gamma = (D + N) / (D N), X as given."""
    _, images, dim = features.shape
    rates = [torch.logdet(torch.eye(dim, dtype=x.dtype) + dim / (images * eps) * x.t() @ x) for x in features]
    return (dim + images) / (dim * images) / 2 * torch.stack(rates).mean()


def agreement_with_mean(views):
    """[V, B, D]: mean cosine of every view with the mean of the views' directions, through which the gradient goes."""
    directions_ = F.normalize(views, dim=-1)
    return F.cosine_similarity(directions_, directions_.mean(0, keepdim=True).expand_as(directions_), dim=-1).mean()


def view_prediction(views):
    """[V, B, D]: mean squared difference to the mean of the global views, through which the gradient goes."""
    return F.mse_loss(views, views[:GLOBALS].mean(0, keepdim=True).expand_as(views))


def sigreg(views, along):
    """[V, N, D] and directions [D, S]: the Epps-Pulley statistic, trapezoidal rule over the half of [-3, 3], the mean over views and directions."""
    t = torch.linspace(0, 3, 17, dtype=views.dtype)
    normal = torch.exp(-t.square() / 2)
    angles = (views @ along.to(views.dtype))[..., None] * t
    distance = (angles.cos().mean(1) - normal).square() + angles.sin().mean(1).square()  # [V, S, 17]
    return views.shape[1] * 2 * torch.trapezoid(distance * normal, t, dim=-1).mean()


def sketching_parts(views, along):
    """[V, N, D] and directions [D, S]: squared means; squared distances of the deviations from 1; of the sorted rows along each direction from the quantiles."""
    images = views.shape[1]
    quantiles = torch.distributions.Normal(0.0, 1.0).icdf(torch.arange(1, images + 1, dtype=torch.float64) / (images + 1)).to(views.dtype)
    centre, scale, shape = 0.0, 0.0, 0.0
    for view in views:
        deviation = view.std(0, correction=0)
        centre, scale = centre + view.mean(0).square().mean() / len(views), scale + (1 - deviation).square().mean() / len(views)
        sorted_ = (((view - view.mean(0)) / (deviation.detach() + 1e-4)) @ along.to(views.dtype)).sort(dim=0).values
        shape = shape + (sorted_ - quantiles[:, None]).square().mean() / len(views)
    return centre, scale, shape


def off_diagonal(matrix):
    return matrix - torch.diag(matrix.diagonal())


def vicreg_parts(views):
    """Two views [N, D]: mean squared difference; hinge of the deviations, mean over channels and views; squared covariances / D, sum over views."""
    invariance, dim = F.mse_loss(*views), views[0].shape[1]
    variance = sum(F.relu(1 - torch.sqrt(view.var(0) + 1e-4)).mean() for view in views) / 2
    covariance = sum(off_diagonal(torch.cov(view.t())).square().sum() for view in views) / dim
    return invariance, variance, covariance


def barlow_parts(views):
    """Two views [N, D]: of their cross-correlation the squared distance of the diagonal from 1, and the squares beside it."""
    x, y = [F.batch_norm(view, None, None, training=True, eps=1e-5) for view in views]
    correlation = x.t() @ y / len(x)
    return (1 - correlation.diagonal()).square().sum(), off_diagonal(correlation).square().sum()


def swapped(logits, codes_temp, iterations=3):
    """[V, B, K]: each view predicts the codes of the other global ones, which Sinkhorn-Knopp gives for each view by itself."""
    return dino_pairs([sinkhorn(view.detach(), codes_temp, iterations) for view in logits[:GLOBALS]], logits)


# ---- the methods ----

@dataclass
class Plan:
    """What differs between the methods with prototypes."""
    name: str
    backbone: dict
    heads: dict                       # name -> arguments of DinoHead
    train_gain: bool                  # weight_g of the last layer learns
    centring: str                     # "centre" or "sinkhorn", for CLS and patches
    patch_centre: str = ""            # "all": mean over all patches of all crops; "groups": means of the masked ones in groups of images
    koleo: float = 0.0
    koleo_neighbours: int = 1
    hidden_from_student: bool = True
    lr: float = 0.0
    temp: tuple = ()
    patch_temp: tuple = ()
    temp_per_step: bool = False
    layer_decay: float = 1.0
    patch_embed_rate: float = 1.0
    clip: float = 0.0
    clip_modules: bool = True
    local_weight: list = None
    gram_weight: list = None
    gram_refreshes: tuple = ()
    frozen_teacher: dict = None       # arguments of its backbone


def network_of(backbone, heads, dtype, unit_gain):
    net = nn.ModuleDict({"backbone": Vit(**backbone)} | {name: DinoHead(backbone["dim"], **head) for name, head in heads.items()}).to(dtype)
    fill_parameters(net, keep=("weight_g",) if unit_gain else ())
    return net


def patch_head(net):
    return net["ibot_head"] if "ibot_head" in net else net["head"]


def cls_head(net):
    return net["dino_head"] if "dino_head" in net else net["head"]


def prototypes(plan, dtype):
    """Ten steps. Returns what is stored and how often a gradient was clipped."""
    student, ema = (network_of(plan.backbone, plan.heads, dtype, not plan.train_gain) for _ in range(2))
    frozen = network_of(plan.frozen_teacher, plan.heads, dtype, not plan.train_gain) if plan.frozen_teacher else None
    gram_teacher = None
    named = {n: p for n, p in student.named_parameters() if plan.train_gain or not n.endswith("last_layer.weight_g")}
    for name, p in student.named_parameters():
        p.requires_grad_(name in named)
    depth = plan.backbone["depth"]
    optimizer = AdamW(named, no_decay_by_name if plan.clip_modules else no_decay_by_shape,
                      lambda name: layer_rate(name, depth, plan.layer_decay, plan.patch_embed_rate), "rate" if plan.clip_modules else "skip")
    lr, wd, momentum = cosine(plan.lr, 1e-5, warmup=STEPS_PER_EPOCH), cosine(0.04, 0.4), cosine(0.9, 1.0)
    moments = STEPS if plan.temp_per_step else EPOCHS
    temps, patch_temps = temperature(*plan.temp, moments), temperature(*plan.patch_temp, moments)
    if not plan.temp_per_step:
        temps, patch_temps = per_epoch(temps), per_epoch(patch_temps)
    head = next(iter(plan.heads.values()))
    patch_width = plan.heads.get("ibot_head", head)["prototypes"]
    centre, patch_centre = torch.zeros(head["prototypes"], dtype=dtype), torch.zeros(patch_width, dtype=dtype)
    losses, norms, clipped = [], [], 0
    for step in range(STEPS):
        globals_ = torch.cat(crops(step, GLOBAL, range(GLOBALS), dtype))
        locals_ = torch.cat(crops(step, LOCAL, range(GLOBALS, GLOBALS + LOCALS), dtype))
        mask = masks(step, (GLOBAL // plan.backbone["patch"]) ** 2)

        with torch.no_grad():
            teacher = frozen or ema
            cls, patches = teacher["backbone"](globals_)
            target_cls = cls_head(teacher)(cls)
            target_patches = patch_head(teacher)(patches)  # of all patches, [2 B, N, K]
            if plan.centring == "centre":
                targets = F.softmax((target_cls - centre) / temps[step], dim=-1)
                patch_targets = F.softmax((target_patches - patch_centre) / patch_temps[step], dim=-1)
            else:
                targets = sinkhorn(target_cls, temps[step])
                patch_targets = torch.zeros_like(target_patches)
                patch_targets[mask] = sinkhorn(target_patches[mask], patch_temps[step])
            if step in plan.gram_refreshes:
                gram_teacher = Vit(**plan.backbone).to(dtype)
                gram_teacher.load_state_dict(ema["backbone"].state_dict())

        cls, patches = student["backbone"](globals_, mask if plan.hidden_from_student else None)
        local_cls, _ = student["backbone"](locals_)
        logits = cls_head(student)(torch.cat([cls, local_cls])).reshape(GLOBALS + LOCALS, BATCH, -1)
        loss = dino_pairs(targets.reshape(GLOBALS, BATCH, -1), logits, plan.local_weight[step] if plan.local_weight else 1.0)
        loss = loss + masked_mean(cross_entropy(patch_targets, patch_head(student)(patches)), mask)
        if plan.koleo:
            loss = loss + plan.koleo * sum(koleo(view, plan.koleo_neighbours) for view in cls.reshape(GLOBALS, BATCH, -1))
        if plan.gram_weight and plan.gram_weight[step]:
            with torch.no_grad():
                _, reference = gram_teacher(torch.cat(crops(step, GRAM, range(GLOBALS), dtype)))
            loss = loss + plan.gram_weight[step] * gram(patches, reference, GLOBAL // plan.backbone["patch"])

        for p in named.values():
            p.grad = torch.zeros_like(p)  # parameters that a step does not use decay all the same
        loss.backward()
        frozen_now = step < STEPS_PER_EPOCH
        norms.append(grad_norm({n: p for n, p in named.items() if plan.clip_modules or not (frozen_now and "last_layer" in n)}))
        if plan.clip_modules:
            clipped += clip_modules(student, plan.clip)
        else:
            clipped += sum(p.grad.norm().item() > plan.clip for p in named.values())
            clip_each(named, plan.clip)
        optimizer.step(lr[step], wd[step], frozen_now)
        average(student, ema, momentum[step])
        with torch.no_grad():
            if plan.centring == "centre":
                centre = centre * CENTRE_MOMENTUM + target_cls.mean(0) * (1 - CENTRE_MOMENTUM)
            if plan.patch_centre == "all":
                patch_centre = patch_centre * CENTRE_MOMENTUM + target_patches.mean((0, 1)) * (1 - CENTRE_MOMENTUM)
            if plan.patch_centre == "groups":  # three images, as on two ranks that have three each
                slot = torch.arange(GLOBALS * BATCH) % BATCH
                parts = [target_patches[slot // 3 == g][mask[slot // 3 == g]] for g in range(BATCH // 3)]
                means = [part.mean(0) for part in parts if len(part)]
                if means:
                    patch_centre = patch_centre * CENTRE_MOMENTUM + torch.stack(means).mean(0) * (1 - CENTRE_MOMENTUM)
        losses.append(loss.item())
    out = stored(losses, norms, student=student, teacher=ema)
    if plan.centring == "centre":
        out |= {"centre": centre.double(), "patch_centre": patch_centre.double()}
    return out, clipped


def stored(losses, norms, **networks):
    out = {"losses": torch.tensor(losses, dtype=torch.float64), "grad_norms": torch.tensor(norms, dtype=torch.float64)}
    for which, net in networks.items():
        for name, tensor in net.state_dict().items():
            put(out, f"{which}/{name}", tensor)
    return out


TINY = {"dim": 32, "depth": 2, "heads": 2, "patch": 4, "image": GLOBAL}
HEAD = {"prototypes": 48, "hidden": 40, "bottleneck": 16}
SQRT = math.sqrt(BATCH / 1024)

PLANS = [
    Plan("ibot", TINY | {"mask_token": True}, {"head": HEAD}, train_gain=False, centring="centre", patch_centre="all", lr=0.4 * BATCH / 256,
         temp=(0.04, 0.06, 2), patch_temp=(0.03, 0.07, 2), clip=0.1, clip_modules=False),
    Plan("dinov2", TINY | {"mask_token": True, "layer_scale": True}, {"head": HEAD}, train_gain=True, centring="centre", patch_centre="groups", koleo=0.1,
         lr=0.1 * SQRT, temp=(0.04, 0.07, 5), patch_temp=(0.04, 0.07, 5), temp_per_step=True, layer_decay=0.8, patch_embed_rate=0.2, clip=0.8),
    Plan("dinov3", TINY | {"mask_token": True, "layer_scale": True, "rope": True, "registers": 2, "eps": 1e-5},
         {"dino_head": HEAD | {"weight_norm": False}, "ibot_head": {"prototypes": 36, "hidden": 24, "bottleneck": 12, "weight_norm": False}}, train_gain=True,
         centring="sinkhorn", koleo=0.1, koleo_neighbours=2, lr=0.1 * SQRT, temp=(0.04, 0.07, 5), patch_temp=(0.04, 0.07, 5), temp_per_step=True,
         layer_decay=0.8, patch_embed_rate=0.2, clip=0.8, local_weight=half_cosine(2, 4, 1.0, 0.5), gram_weight=half_cosine(2, 4, 0.0, 2.0),
         gram_refreshes=(0, 3, 6)),
    Plan("distill", TINY | {"layer_scale": True}, {"head": HEAD}, train_gain=True, centring="sinkhorn", hidden_from_student=False,
         lr=0.1 * SQRT, temp=(0.04, 0.07, 5), patch_temp=(0.04, 0.07, 5), temp_per_step=True, layer_decay=0.8, patch_embed_rate=0.2, clip=0.8,
         frozen_teacher=TINY | {"dim": 48, "depth": 3, "heads": 3, "layer_scale": True}),
]


def views_apart(net, step, dtype, predict):
    """Two views, each through the whole network by itself: every batch norm sees one view."""
    outputs = []
    for view in crops(step, GLOBAL, range(2), dtype):
        z = net["projector"](net["backbone"](view)[0])
        outputs.append(net["predictor"](z) if predict else z)
    return outputs


def predicted_views(net, views):
    """Predictions and projections of each view, each through the whole network by itself."""
    projections = [net["projector"](net["backbone"](view)[0]) for view in views]
    return [net["predictor"](z) for z in projections], projections


def two_views(name, dtype):
    byol, fastsiam = name == "byol", name == "fastsiam"
    expander = (3, True, True) if fastsiam else (3, False) if name in ("vicreg", "barlow_twins") else ()
    heads = {"projector": (TINY["dim"], 40, 16, *expander)} | ({"predictor": (16, 40, 16)} if byol or fastsiam else {})
    peak = {"fastsiam": 1.0, "byol": 4.0, "simclr": 6.0, "vicreg": 0.1, "barlow_twins": 0.1}[name]

    def network():
        net = nn.ModuleDict({"backbone": Vit(**TINY)} | {head: MlpHead(*widths) for head, widths in heads.items()}).to(dtype)
        fill_parameters(net)
        return net.train()

    student, teacher = network(), network()
    named = dict(student.named_parameters())
    optimizer = Lars(named, trust=0.02, momentum=0.9, solo=not byol)
    lr, momentum = cosine(peak * BATCH / 256, 0.0, warmup=STEPS_PER_EPOCH), cosine(0.9, 1.0)
    weight_decay, losses, norms = 0.01, [], []
    for step in range(STEPS):
        if byol:
            with torch.no_grad():
                targets = views_apart(teacher, step, dtype, predict=False)  # batch statistics, its own running averages
            loss = byol_pairs(views_apart(student, step, dtype, predict=True), targets)
        elif fastsiam:
            loss = mean_targets(*predicted_views(student, crops(step, GLOBAL, range(2), dtype) + crops(step, LOCAL, range(2, 4), dtype)))
        elif name == "vicreg":
            invariance, variance, covariance = vicreg_parts(views_apart(student, step, dtype, predict=False))
            loss = 25 * invariance + 15 * variance + 2 * covariance
        elif name == "barlow_twins":
            invariance, redundancy = barlow_parts(views_apart(student, step, dtype, predict=False))
            loss = 0.1 * (invariance + 0.02 * redundancy)
        else:
            loss = nt_xent(views_apart(student, step, dtype, predict=False), temp=0.2)
        student.zero_grad()
        loss.backward()
        norms.append(grad_norm(named))
        optimizer.step(lr[step], weight_decay)
        average(student, teacher, momentum[step])
        losses.append(loss.item())
    return stored(losses, norms, student=student, **({"teacher": teacher} if byol else {})), 0


def sizes_apart(net, head, groups):
    """[V, B, D]: the crops of one size together, those of another by themselves, so that every batch norm sees one size."""
    return torch.cat([head(net["backbone"](group)[0]).reshape(-1, BATCH, 16) for group in groups])


def without_prototypes(name, dtype):
    """SimDINO, LeJEPA and VISReg: the views of DINO."""
    head = "head" if (simdino := name == "simdino") else "projector"

    def network():
        made = DinoHead(TINY["dim"], prototypes=0, hidden=40, bottleneck=16) if simdino else MlpHead(TINY["dim"], 40, 16, 3 if name == "visreg" else 2)
        net = nn.ModuleDict({"backbone": Vit(**TINY), head: made}).to(dtype)
        fill_parameters(net)
        return net.train()

    student, teacher = network(), network()
    named = dict(student.named_parameters())
    optimizer = AdamW(named, no_decay_by_shape, lambda _: 1.0, "skip")
    lr, momentum = cosine((0.2 if simdino else 0.1) * BATCH / 256, 1e-5, warmup=STEPS_PER_EPOCH), cosine(0.9, 1.0)
    weight_decay, limit, clipped = cosine(0.04, 0.4) if simdino else [0.05] * STEPS, 0.1 if simdino else math.inf, 0
    losses, norms = [], []
    for step in range(STEPS):
        groups = [torch.cat(crops(step, GLOBAL, range(GLOBALS), dtype)), torch.cat(crops(step, LOCAL, range(GLOBALS, GLOBALS + LOCALS), dtype))]
        z = sizes_apart(student, student[head], groups)
        if simdino:
            with torch.no_grad():
                target = sizes_apart(teacher, teacher[head], groups[:1])
            loss = 1 - view_agreement(z, target) - 0.7 * coding_rate((z[:GLOBALS] + target) / 2, eps=0.05)
        elif name == "visreg":
            centre, scale, shape = sketching_parts(z, directions(16, 24, seed=0, step=step))
            loss = 0.3 * view_prediction(z) + 0.7 * (centre + scale + 1.5 * shape)
        else:
            loss = 0.9 * view_prediction(z) + 0.1 * sigreg(z, directions(16, 24, seed=0, step=step))
        student.zero_grad()
        loss.backward()
        norms.append(grad_norm(named))
        clipped += sum(p.grad.norm().item() > limit for p in named.values())
        clip_each(named, limit)
        optimizer.step(lr[step], weight_decay[step])
        average(student, teacher, momentum[step])
        losses.append(loss.item())
    return stored(losses, norms, student=student, **({"teacher": teacher} if simdino else {})), clipped


def masked_agreement(dtype):
    """SimDINOv2: SimDINO's terms and the agreement at masked patches, through one head, with DINOv2's groups, rates and clipping."""
    backbone, heads = TINY | {"mask_token": True, "layer_scale": True}, {"head": HEAD | {"prototypes": 0}}
    student, ema = (network_of(backbone, heads, dtype, unit_gain=False) for _ in range(2))
    named = dict(student.named_parameters())
    optimizer = AdamW(named, no_decay_by_name, lambda name: layer_rate(name, backbone["depth"], 0.8, 0.2), "rate")
    lr, wd, momentum = cosine(0.1 * SQRT, 1e-5, warmup=STEPS_PER_EPOCH), cosine(0.04, 0.4), cosine(0.9, 1.0)
    losses, norms, clipped = [], [], 0
    for step in range(STEPS):
        globals_ = torch.cat(crops(step, GLOBAL, range(GLOBALS), dtype))
        locals_ = torch.cat(crops(step, LOCAL, range(GLOBALS, GLOBALS + LOCALS), dtype))
        mask = masks(step, (GLOBAL // backbone["patch"]) ** 2)
        with torch.no_grad():
            cls, patches = ema["backbone"](globals_)
            target, target_patches = ema["head"](cls).reshape(GLOBALS, BATCH, -1), ema["head"](patches)
        cls, patches = student["backbone"](globals_, mask)
        z = student["head"](torch.cat([cls, student["backbone"](locals_)[0]])).reshape(GLOBALS + LOCALS, BATCH, -1)
        of_patches = masked_mean(1 - F.cosine_similarity(student["head"](patches), target_patches, dim=-1), mask)
        loss = 1 - view_agreement(z, target) - 0.7 * coding_rate((z[:GLOBALS] + target) / 2, eps=0.05) + 0.5 * of_patches
        for p in named.values():
            p.grad = torch.zeros_like(p)
        loss.backward()
        norms.append(grad_norm(named))
        clipped += clip_modules(student, 0.8)
        optimizer.step(lr[step], wd[step])
        average(student, ema, momentum[step])
        losses.append(loss.item())
    return stored(losses, norms, student=student, teacher=ema), clipped


def codes(dtype):
    """SwAV: the views of DINO, codes of the student's own logits."""
    head = HEAD | {"layers": 2, "batch_norm": True}
    student = network_of(TINY, {"head": head}, dtype, unit_gain=True).train()
    named = {n: p for n, p in student.named_parameters() if not n.endswith("last_layer.weight_g")}
    optimizer = Lars(named, trust=0.02, momentum=0.9, solo=True)
    lr, losses, norms = cosine(2.0 * BATCH / 256, 0.0, warmup=STEPS_PER_EPOCH), [], []
    for step in range(STEPS):
        groups = [torch.cat(crops(step, GLOBAL, range(GLOBALS), dtype)), torch.cat(crops(step, LOCAL, range(GLOBALS, GLOBALS + LOCALS), dtype))]
        logits = student["head"](torch.cat([student["backbone"](group)[0] for group in groups]))  # one batch norm for all views
        loss = swapped(logits.reshape(GLOBALS + LOCALS, BATCH, -1), codes_temp=0.06)
        student.zero_grad()
        loss.backward()
        frozen = step < STEPS_PER_EPOCH
        norms.append(grad_norm({n: p for n, p in named.items() if not (frozen and "last_layer" in n)}))
        optimizer.step(lr[step], 0.01, frozen)
        losses.append(loss.item())
    return stored(losses, norms, student=student), 0


def many_crops(dtype):
    """EMP-SSL: all crops agree with their mean, the coding rate of each crop's batch, the projector's rows normalised."""
    student = nn.ModuleDict({"backbone": Vit(**TINY), "projector": MlpHead(TINY["dim"], 40, 16, 3)}).to(dtype).train()
    fill_parameters(student)
    named = dict(student.named_parameters())
    optimizer = Lars(named, trust=0.02, momentum=0.9, solo=True)
    lr, losses, norms = cosine(0.02 * BATCH / 256, 0.0, warmup=STEPS_PER_EPOCH), [], []
    for step in range(STEPS):
        groups = [torch.cat(crops(step, GLOBAL, range(GLOBALS), dtype)), torch.cat(crops(step, LOCAL, range(GLOBALS, GLOBALS + LOCALS), dtype))]
        z = sizes_apart(student, student["projector"], groups)
        loss = 200 * (1 - agreement_with_mean(z) - 0.7 * coding_rate(F.normalize(z, dim=-1), eps=0.1))
        student.zero_grad()
        loss.backward()
        norms.append(grad_norm(named))
        optimizer.step(lr[step], 0.01)
        losses.append(loss.item())
    return stored(losses, norms, student=student), 0


def main():
    torch.set_num_threads(1)
    runs = {plan.name: lambda dtype, plan=plan: prototypes(plan, dtype) for plan in PLANS}
    runs |= {name: lambda dtype, name=name: two_views(name, dtype) for name in ("byol", "fastsiam", "simclr", "vicreg", "barlow_twins")}
    runs |= {name: lambda dtype, name=name: without_prototypes(name, dtype) for name in ("simdino", "lejepa", "visreg")}
    runs |= {"swav": codes, "emp_ssl": many_crops, "simdinov2": masked_agreement}
    for name in sys.argv[1:] or runs:
        (out, clipped), (single, _) = runs[name](torch.float64), runs[name](torch.float32)
        deviation = ((single["losses"] - out["losses"]).abs() / out["losses"].abs()).max().item()
        meta = versions() | {"source": "published descriptions, written out", "made_by": "tests/golden/make_method_curves.py",
                             "float32_loss_deviation": f"{deviation:.2e}", "gradients_clipped": clipped}
        print(name, meta, out["losses"], out["grad_norms"], sep="\n")
        save(os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", f"curve_{name}.safetensors"), out, meta)


if __name__ == "__main__":
    main()
