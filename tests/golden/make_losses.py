"""Writes data/losses.safetensors: value and gradient of every loss term beside DINO v1, in float64, from the published formulas in their textbook
form: every pair, every matrix and every assignment written out.

    python make_losses.py            (torch as recorded in the file)

Inputs are uniform(name) on both sides (golden_common.py). Sources: DINOv2 and DINOv3 (losses, Sinkhorn-Knopp, KoLeo, Gram), iBOT, SimCLR eq. 1,
BYOL eq. 2, RankMe eq. 1.
"""
import math
import os

import torch
import torch.nn.functional as F

from golden_common import put, save, sinkhorn, uniform, versions

STUDENT_TEMP = 0.1


def leaf(name, shape, size=1.0):
    return (size * uniform(name, shape)).requires_grad_()


def record(out, name, loss, **inputs):
    loss.backward()
    put(out, f"{name}/loss", loss.detach().reshape(1))
    for key, tensor in inputs.items():
        put(out, f"{name}/grad_{key}", tensor.grad)


def cross_entropy(target, student):
    return -(target * F.log_softmax(student / STUDENT_TEMP, dim=-1)).sum(-1)


def make_sinkhorn(out):
    for name, (samples, prototypes, temp, size, iterations) in {
        "sinkhorn": (11, 23, 0.05, 1.0, 3), "sinkhorn_sharp": (40, 16, 0.07, 6.0, 3), "sinkhorn_once": (7, 5, 0.1, 1.0, 1),
        "sinkhorn_long": (12, 21, 0.07, 1.0, 10)}.items():
        put(out, f"{name}/assignment", sinkhorn(size * uniform(f"{name}/logits", (samples, prototypes)), temp, iterations))


def make_dino(out):
    # DINOv2: local and global terms weighted by their numbers of pairs; DINOv3: a further factor on the local ones
    for name, (locals_, factor) in {"dino_v2": (3, 1.0), "dino_v3": (4, 0.5), "dino_globals": (0, 0.5)}.items():
        batch, prototypes, temp = 12, 37, 0.05
        student = leaf(f"{name}/student", (2 + locals_, batch, prototypes))
        teacher = uniform(f"{name}/teacher", (2, batch, prototypes))
        targets = sinkhorn(teacher.reshape(-1, prototypes), temp, 3).reshape(teacher.shape)
        terms = 2 + 2 * locals_
        swapped = targets.flip(0).reshape(-1, prototypes)
        loss = cross_entropy(swapped, student[:2].reshape(-1, prototypes)).mean() * 2 / terms
        for view in student[2:]:
            for target in targets:
                loss = loss + factor * cross_entropy(target, view).mean() / terms
        record(out, name, loss, student=student)


MASK_COUNTS = (3, 0, 5, 1, 2, 4, 0, 0, 0, 8, 1, 3)  # masked patches of 12 global crops, of 8 each: the first ones


def make_patch(out):
    crops, patches, prototypes, temp = len(MASK_COUNTS), 8, 21, 0.06
    mask = torch.arange(patches)[None] < torch.tensor(MASK_COUNTS)[:, None]
    teacher = uniform("patch/teacher", (crops, patches, prototypes))
    target = F.softmax((teacher - 0.3 * uniform("patch/centre", (prototypes,))) / temp, dim=-1)

    # DINOv2: masked rows alone, 1 / (masked in its crop), over all crops; targets by centring or by Sinkhorn-Knopp over the masked rows
    weight = (1.0 / mask.sum(-1).double().clamp(min=1.0)).unsqueeze(-1).expand_as(mask)[mask]
    for name, rows in {"patch": target[mask], "patch_sinkhorn": sinkhorn(teacher[mask], temp, 3)}.items():
        student = leaf("patch/student", (crops, patches, prototypes))
        record(out, name, (cross_entropy(rows, student[mask]) * weight).sum() / crops, student=student)

    # iBOT: all tokens, masked mean in each image, mean over images, mean over its two views
    student = leaf("patch/student", (crops, patches, prototypes))
    per_image = (cross_entropy(target, student) * mask).sum(-1) / mask.sum(-1).clamp(min=1.0)
    record(out, "patch_ibot", sum(view.mean() for view in per_image.reshape(2, crops // 2)) / 2, student=student)

    # DINOv2's patch centre: the mean of each rank's masked tokens, then of ranks (here: three slots each, of which one rank has no token); two steps
    centre = torch.zeros(prototypes, dtype=torch.float64)
    for step in range(2):
        tokens = uniform(f"patch_centre/teacher{step}", (crops, patches, prototypes))
        parts = [slice(i, i + 3) for i in range(0, crops, 3)]
        means = torch.stack([tokens[part][mask[part]].mean(0) for part in parts if mask[part].any()])
        centre = centre * 0.9 + means.mean(0) * 0.1
        put(out, f"patch_centre/value{step}", centre)


def koleo(features, neighbours):
    x = F.normalize(features, eps=1e-8, p=2, dim=-1)
    dots = (x @ x.t()).detach()
    dots.fill_diagonal_(-1)
    index = dots.topk(neighbours, dim=1).indices
    distance = torch.nn.PairwiseDistance(2, eps=1e-8)
    return torch.stack([-torch.log(distance(x, x[index[:, k]]) + 1e-8) for k in range(neighbours)]).mean()


def make_koleo(out):
    batch, dim = 12, 11
    for name, (group, neighbours) in {"koleo": (12, 1), "koleo_groups": (4, 1), "koleo_top": (12, 3), "koleo_pairs": (2, 1),
                                      "koleo_groups_top": (6, 2)}.items():
        features = leaf("koleo/features", (batch, dim), 3.0)
        loss = torch.stack([koleo(part, neighbours) for part in features.split(group)]).mean()
        record(out, name, loss, features=features)


def gram(student, teacher, negatives):
    student, teacher = F.normalize(student, dim=-1), F.normalize(teacher, dim=-1)
    ours, theirs = student @ student.transpose(-1, -2), teacher @ teacher.transpose(-1, -2)
    if negatives == "both":
        ours, theirs = ours.clamp(min=0.0), theirs.clamp(min=0.0)
    if negatives == "teacher":
        ours = torch.where((ours < 0) & (theirs < 0), torch.zeros_like(ours), ours)
        theirs = theirs.clamp(min=0.0)
    return F.mse_loss(ours, theirs)


def make_gram(out):
    images, patches, dim = 12, 6, 4
    teacher = uniform("gram/teacher", (images, patches, dim))
    mask = uniform("gram/mask", (images, patches)) < -0.1
    everywhere = torch.ones_like(mask)
    for negatives in ("keep", "both", "teacher"):
        for name, (group, chosen) in {"image": (1, everywhere), "batch": (images, everywhere), "pairs_masked": (2, mask), "pairs_unmasked": (2, ~mask),
                                      "threes_masked": (3, mask)}.items():
            student = leaf("gram/student", (images, patches, dim))
            parts = [gram(*(tokens[i:i + group][chosen[i:i + group]] for tokens in (student, teacher)), negatives) for i in range(0, images, group)]
            record(out, f"gram_{name}_{negatives}", torch.stack(parts).mean(), student=student)
    for name, ((height, width), target) in {"reduce": ((7, 5), (4, 3)), "reduce_half": ((8, 8), (4, 4))}.items():
        tokens = uniform(f"{name}/tokens", (2, height * width, 3))
        grid = tokens.reshape(2, height, width, 3).permute(0, 3, 1, 2)
        smaller = F.interpolate(grid, size=target, mode="bicubic", align_corners=False, antialias=False)
        put(out, f"{name}/tokens", smaller.flatten(2).transpose(1, 2))


def make_contrastive(out):
    batch, dim, temp = 12, 6, 0.2
    z = leaf("nt_xent/z", (2, batch, dim))
    x = F.normalize(z, dim=-1)
    total = 0.0
    for view in range(2):
        for image in range(batch):
            similar = {(v, i): torch.exp(x[view, image] @ x[v, i] / temp) for v in range(2) for i in range(batch)}
            others = sum(s for key, s in similar.items() if key != (view, image))
            total = total - torch.log(similar[(1 - view, image)] / others)
    record(out, "nt_xent", total / (2 * batch), z=z)

    for name, (views, targets) in {"byol": (2, 2), "byol_crops": (4, 2)}.items():
        prediction = leaf(f"{name}/prediction", (views, batch, dim))
        target = uniform(f"{name}/target", (targets, batch, dim))
        loss = 0.0
        for t in range(targets):
            for v in range(views):
                if v != t:
                    loss = loss + (F.normalize(prediction[v], dim=-1) - F.normalize(target[t], dim=-1)).square().sum(-1).mean()
        record(out, name, loss, prediction=prediction)

    for name, views in {"mean_target_two": 2, "mean_target_four": 4}.items():
        prediction, projection = leaf(f"{name}/prediction", (views, batch, dim)), uniform(f"{name}/projection", (views, batch, dim))
        loss = 0.0
        for v in range(views):
            target = torch.stack([projection[u] for u in range(views) if u != v]).mean(0)
            loss = loss + (1 - F.cosine_similarity(prediction[v], target, dim=-1).mean()) / views
        record(out, name, loss, prediction=prediction)


def make_without_prototypes(out):
    """SimDINO's two terms (arXiv 2502.10385, factors of its code) and SIGReg (arXiv 2511.08544)."""
    batch = 12
    for name, (views, dim, eps) in {"coding_rate_narrow": (2, 5, 0.5), "coding_rate_wide": (3, 17, 0.05)}.items():
        z = leaf(f"{name}/z", (views, batch, dim))
        total = 0.0
        for view in z:
            gamma = (dim + batch) / (dim * batch)
            total = total + gamma / 2 * torch.logdet(torch.eye(dim, dtype=z.dtype) + dim / (batch * eps) * view.t() @ view)
        record(out, name, total / views, z=z)
    for name, (views, targets) in {"agreement": (2, 2), "agreement_crops": (5, 2), "agreement_one": (3, 1)}.items():
        student, teacher = leaf(f"{name}/student", (views, batch, 6)), uniform(f"{name}/teacher", (targets, batch, 6))
        cosines = [F.cosine_similarity(student[v], teacher[t], dim=-1).mean() for t in range(targets) for v in range(views) if v != t]
        record(out, name, torch.stack(cosines).mean(), student=student)
    z = leaf("agreement_mean/z", (5, batch, 6))
    unit = [F.normalize(view, dim=-1) for view in z]
    cosines = [F.cosine_similarity(view, sum(unit) / len(unit), dim=-1).mean() for view in unit]
    record(out, "agreement_mean", sum(cosines) / len(cosines), z=z)
    student, teacher = leaf("patch_agreement/student", (12, 8, 5)), uniform("patch_agreement/teacher", (12, 8, 5))
    total = 0.0
    for crop, count in enumerate(MASK_COUNTS):
        for patch in range(count):
            total = total + (1 - F.cosine_similarity(student[crop, patch], teacher[crop, patch], dim=0)) / count
    record(out, "patch_agreement", total / 12, student=student)
    z, directions = leaf("sketching/z", (3, batch, 6), 1.7), F.normalize(uniform("sketching/directions", (6, 9)), dim=0)
    centre, scale, shape = 0.0, 0.0, 0.0
    for view in z:
        for d in range(6):
            mean = view[:, d].sum() / batch
            deviation = torch.sqrt((view[:, d] - mean).square().sum() / batch)
            centre, scale = centre + mean.square() / 18, scale + (1 - deviation).square() / 18
        scaled = (view - view.mean(0)) / (view.std(0, correction=0).detach() + 1e-4)
        for s in range(9):
            along = scaled @ directions[:, s]
            for place, image in enumerate(along.argsort()):
                quantile = math.sqrt(2) * torch.erfinv(torch.tensor(2 * (place + 1) / (batch + 1) - 1, dtype=torch.float64))
                shape = shape + (along[image] - quantile).square() / (3 * batch * 9)
    assert centre > 0.01 and scale > 0.01 and shape > 0.01, "a part that cannot be seen"
    record(out, "sketching", centre + 2 * scale + 3 * shape, z=z)
    z, directions = leaf("sigreg/z", (3, batch, 6)), F.normalize(uniform("sigreg/directions", (6, 9)), dim=0)
    total = 0.0
    for view in z:
        for s in range(9):
            along = view @ directions[:, s]
            values = []
            for k in range(17):
                t = 3.0 * k / 16
                off = torch.stack([(t * along).cos().mean() - math.exp(-t * t / 2), (t * along).sin().mean()]).square().sum()
                values.append(off * math.exp(-t * t / 2))
            values = torch.stack(values)
            total = total + 2 * batch * (3.0 / 16) * (values.sum() - (values[0] + values[-1]) / 2)
    record(out, "sigreg", total / (3 * 9), z=z)


def make_decorrelation(out):
    """VICReg (arXiv 2105.04906, factors of its released code), Barlow Twins (arXiv 2103.03230): every pair of channels. SwAV (arXiv 2006.09882)."""
    batch = 12
    for name, dim in {"narrow": 5, "wide": 17}.items():
        z = leaf(f"variance_covariance_{name}/z", (2, batch, dim), 1.7)
        invariance = sum((z[0, image] - z[1, image]).square().sum() / dim for image in range(batch)) / batch
        variance, covariance = 0.0, 0.0
        for view in z:
            mean = view.sum(0) / batch
            covariances = sum(torch.outer(row - mean, row - mean) for row in view) / (batch - 1)
            for i in range(dim):
                variance = variance + torch.clamp(1 - torch.sqrt(covariances[i, i] + 1e-4), min=0) / dim / 2
                for j in range(dim):
                    covariance = covariance + (covariances[i, j].square() / dim if i != j else 0.0)
        assert invariance > 0.1 and variance > 0.01 and covariance > 0.1, "a part that cannot be seen"
        record(out, f"variance_covariance_{name}", 2 * invariance + 25 * variance + covariance, z=z)

        z = leaf(f"cross_correlation_{name}/z", (2, batch, dim), 1.7)
        x, y = [(view - view.mean(0)) / torch.sqrt(view.var(0, correction=0) + 1e-5) for view in z]
        total = 0.0
        for i in range(dim):
            for j in range(dim):
                correlation = (x[:, i] * y[:, j]).sum() / batch
                total = total + ((1 - correlation).square() if i == j else 0.3 * correlation.square())
        record(out, f"cross_correlation_{name}", total, z=z)

    for name, (views, globals_, iterations) in {"swapped": (4, 2, 3), "swapped_globals": (2, 2, 3), "swapped_one": (3, 1, 2)}.items():
        logits = leaf(f"{name}/logits", (views, batch, 9))
        codes = [sinkhorn(view.detach(), 0.05, iterations) for view in logits[:globals_]]
        losses = [cross_entropy(code, logits[v]).mean() for g, code in enumerate(codes) for v in range(views) if v != g]
        record(out, name, torch.stack(losses).mean(), logits=logits)


def make_guides(out):
    """Cross-entropy and half the squared error over the images that have a label, in every view, of a linear head on rows of length sqrt(D); the gradient of the
    features times a factor, which below 0 holds for the rows that the head tells better than their class's frequency (than 0) does."""
    views, batch, dim = 2, 12, 5
    classes = [2, -1, 0, 1, -1, 2, 2, 0, -1, 1, 3, 0]
    numbers = uniform("guide/numbers", (batch,))
    known = [i for i, c in enumerate(classes) if c >= 0]
    with_number = [i for i in range(batch) if i % 4 != 1]
    images = [(v, i) for v in range(views) for i in range(batch)]
    for name, factor in {"learn": 0.7, "forget": -0.6}.items():
        features, weight = leaf("guide/features", (views, batch, dim)), leaf("guide/weight", (4, dim))
        rows = {key: F.normalize(features[key], dim=0) * math.sqrt(dim) for key in images}
        log_p = {key: F.log_softmax(weight @ row, dim=0) for key, row in rows.items()}
        told = {(v, i): log_p[v, i][classes[i]].item() > math.log(classes.count(classes[i]) / len(known)) for v, i in images if i in known}
        assert factor > 0 or 3 < sum(told.values()) < len(told) - 3, "a case that cannot be seen"
        losses = {(v, i): -log_p[v, i][classes[i]] / (views * len(known)) for v, i in images if i in known}
        weight.grad = torch.autograd.grad(sum(losses.values()), weight, retain_graph=True)[0]
        for key, loss in losses.items():  # what the features get, row by row
            (loss * (factor if factor > 0 or told[key] else 0.0)).backward(inputs=features, retain_graph=True)
        put(out, f"guide_classes_{name}/loss", sum(losses.values()).detach().reshape(1))
        put(out, f"guide_classes_{name}/accuracy", torch.tensor([sum(float(log_p[v, i].argmax() == classes[i]) for v, i in losses) / len(losses)], dtype=torch.float64))
        put(out, f"guide_classes_{name}/grad_features", features.grad)
        put(out, f"guide_classes_{name}/grad_weight", weight.grad)

        features, weight = leaf("guide/features", (views, batch, dim)), leaf("guide/weight", (4, dim))
        answers = {(v, i): weight[0] @ F.normalize(features[v, i], dim=0) * math.sqrt(dim) for v, i in images if i in with_number}
        errors = {(v, i): (answer - numbers[i]).square() for (v, i), answer in answers.items()}
        told = {(v, i): error.item() < numbers[i].item() ** 2 for (v, i), error in errors.items()}
        assert factor > 0 or 3 < sum(told.values()) < len(told) - 3, "a case that cannot be seen"
        mean = sum(errors.values()) / len(errors)
        weight.grad = torch.autograd.grad(mean / 2, weight, retain_graph=True)[0]
        for key, error in errors.items():
            (error / (2 * len(errors)) * (factor if factor > 0 or told[key] else 0.0)).backward(inputs=features, retain_graph=True)
        put(out, f"guide_numbers_{name}/loss", (mean / 2).detach().reshape(1))
        put(out, f"guide_numbers_{name}/explained", (1 - mean).detach().reshape(1))
        put(out, f"guide_numbers_{name}/grad_features", features.grad)
        put(out, f"guide_numbers_{name}/grad_weight", weight.grad)


def u_centred(distances):
    """Szekely and Rizzo 2014, eq. 3.1."""
    n = len(distances)
    rows, everything = distances.sum(1), distances.sum()
    centred = torch.zeros_like(distances)
    for i in range(n):
        for j in range(n):
            if i != j:
                centred[i, j] = distances[i, j] - rows[i] / (n - 2) - rows[j] / (n - 2) + everything / ((n - 1) * (n - 2))
    return centred


def make_distance_correlation(out):
    classes = torch.tensor([2, -1, 0, 1, -1, 2, 2, 0, -1, 1, 3, 0])
    numbers = uniform("guide/numbers", (12,))
    for name, known, of in (("classes", classes >= 0, lambda i, j: float(classes[i] != classes[j])),
                            ("numbers", torch.arange(12) % 4 != 1, lambda i, j: float(abs(numbers[i] - numbers[j])))):
        features, index = leaf("guide/features", (2, 12, 5)), known.nonzero().flatten().tolist()
        b = u_centred(torch.tensor([[of(i, j) for j in index] for i in index], dtype=torch.float64))
        total = 0.0
        for view in features:
            rows = [F.normalize(view[i], dim=0) for i in index]
            a = u_centred(torch.stack([torch.stack([torch.sqrt((r - s).square().sum() + 1e-8) * (r is not s) for s in rows]) for r in rows]))
            total = total + (a * b).sum() / torch.sqrt((a * a).sum() * (b * b).sum()) / 2
        record(out, f"distance_correlation_{name}", total, features=features)


def make_monitors(out):
    for name, (rows, dim) in {"spread_wide": (6, 10), "spread_tall": (15, 4)}.items():
        features = uniform(f"{name}/features", (rows, dim)) + 0.5
        singular = torch.linalg.svdvals(features)
        p = singular / singular.sum() + 1e-7
        deviation = F.normalize(features, dim=-1).std(0, correction=0).mean() * dim ** 0.5
        put(out, name, torch.stack([deviation, torch.exp(-(p * torch.log(p)).sum())]))
    logits, centre = 2.0 * uniform("usage/logits", (24, 19)), 0.3 * uniform("usage/centre", (19,))
    assignment = F.softmax((logits - centre) / 0.05, dim=-1)
    mean = assignment.mean(0)
    put(out, "usage", torch.stack([torch.tensor(assignment.argmax(-1).unique().numel() / 19, dtype=torch.float64),
                                   torch.exp(-(mean * mean.log()).sum())]))


def main():
    out = {}
    for make in (make_sinkhorn, make_dino, make_patch, make_koleo, make_gram, make_contrastive, make_without_prototypes, make_decorrelation, make_guides, make_distance_correlation, make_monitors):
        make(out)
    meta = versions() | {"source": "published formulas, written out", "made_by": "tests/golden/make_losses.py"}
    save(os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "losses.safetensors"), out, meta)


if __name__ == "__main__":
    main()
