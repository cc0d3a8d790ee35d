"""Writes data/video.safetensors: the measures of DAVIS and label propagation, by NumPy and SciPy from their definitions.

    python make_video.py            (SciPy and Pillow as recorded in the file)

Boundary measure: distances from a Euclidean distance transform, not dilation. Propagation: the affinity of all patches of all frames at once, masked by the window,
largest entries by sorting. Masks from soft labels: torch's interpolation, Pillow's nearest pixel. Features are computed on both sides (golden_common.uniform).
"""
import os

import numpy as np
import PIL
import scipy
import torch
from PIL import Image
from scipy.ndimage import distance_transform_edt, gaussian_filter

from golden_common import save, uniform, versions

SIZES = {"small": (24, 31), "wide": (40, 90), "tall": (60, 50)}  # rows, columns
ROWS, COLUMNS, DIM, FRAMES = 7, 9, 6, 9
RADIUS, LAST, TOP, TEMPERATURE = 2, 3, 5, 0.1
PATCH, HEIGHT, WIDTH, MASKS = 8, 53, 77, (1, 4, 8)


def blob(name, shape, level):
    field = gaussian_filter(uniform(name, shape).numpy(), 3.0, mode="wrap")
    return (field > np.quantile(field, level)).astype(np.uint8)


def boundary(mask):
    padded = np.pad(mask.astype(bool), ((0, 1), (0, 1)), mode="edge")
    right, lower = padded[:-1, 1:] ^ padded[:-1, :-1], padded[1:, :-1] ^ padded[:-1, :-1]
    across = padded[1:, 1:] ^ padded[:-1, :-1]
    across[-1, :] = across[:, -1] = False
    return right | lower | across


def f_measure(truth, answer, tolerance=0.008):
    a, b = boundary(truth), boundary(answer)
    if not a.any() or not b.any():
        return float(a.any() == b.any())
    radius = np.ceil(tolerance * np.hypot(*truth.shape))
    precision = (distance_transform_edt(~a)[b] <= radius).mean()
    recall = (distance_transform_edt(~b)[a] <= radius).mean()
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0


def j_measure(truth, answer):
    union = (truth | answer).sum()
    return (truth & answer).sum() / union if union else 1.0


def decay(values):
    edges = np.round(np.linspace(1, len(values), 5) + 1e-10).astype(int) - 1
    quarters = [values[edges[i]:edges[i + 1] + 1] for i in range(4)]
    return quarters[0].mean() - quarters[3].mean()


def propagate(features, labels):
    places = np.array([(y, x) for y in range(ROWS) for x in range(COLUMNS)])
    near = np.abs(places[:, None] - places[None]).max(axis=2) <= RADIUS  # [from, to]
    known = [labels.reshape(ROWS * COLUMNS, -1)]
    units = [f.reshape(ROWS * COLUMNS, DIM) / np.linalg.norm(f.reshape(ROWS * COLUMNS, DIM), axis=1, keepdims=True) for f in features]
    for t in range(1, len(features)):
        context = [0] + [i for i in range(t - LAST, t) if i > 0]
        affinity = np.concatenate([np.where(near, np.exp(units[i] @ units[t].T / TEMPERATURE), 0.0) for i in context])
        order = np.argsort(-affinity, axis=0, kind="stable")[:TOP]
        kept = np.zeros_like(affinity)
        np.put_along_axis(kept, order, np.take_along_axis(affinity, order, axis=0), axis=0)
        kept /= kept.sum(axis=0)
        known.append(kept.T @ np.concatenate([known[i] for i in context]))
    return known[1:]


def main():
    out = {}
    for name, shape in SIZES.items():
        truth = blob(name + ".truth", shape, 0.7)
        answers = {"same": truth, "shifted": np.roll(truth, (1, 2), (0, 1)), "other": blob(name + ".other", shape, 0.6),
                   "near": (gaussian_filter(truth.astype(float), 1.5) > 0.4).astype(np.uint8), "none": np.zeros_like(truth), "all": np.ones_like(truth)}
        out[name + ".truth"] = torch.as_tensor(truth)
        for kind, answer in answers.items():
            out[f"{name}.{kind}"] = torch.as_tensor(np.ascontiguousarray(answer))
            out[f"{name}.{kind}.scores"] = torch.tensor([j_measure(truth, answer), f_measure(truth, answer), f_measure(truth, answer, 0.03)], dtype=torch.float64)
    for n in (4, 5, 6, 7, 30, 300):
        values = (uniform(f"series{n}", (n,)).numpy() + 1) / 2
        out[f"series{n}"] = torch.tensor([values.mean(), (values > 0.5).mean(), decay(values)], dtype=torch.float64)

    first = np.zeros((HEIGHT, WIDTH), np.uint8)
    first[5:30, 10:40], first[20:50, 30:70] = 3, 7
    small = np.array(Image.fromarray(first).resize((COLUMNS, ROWS), Image.NEAREST))
    labels = np.stack([(small == 0), (small == 3), (small == 7)], axis=2).astype(np.float64)
    out["first"], out["labels"] = torch.as_tensor(first), torch.as_tensor(labels)
    features = [(uniform(f"frame{t}", (ROWS, COLUMNS, DIM)) + 0.5 * uniform("still", (ROWS, COLUMNS, DIM))).numpy() for t in range(FRAMES)]
    for t, soft in enumerate(propagate(features, labels), start=1):
        soft = torch.as_tensor(soft.reshape(ROWS, COLUMNS, 3))
        out[f"soft{t}"] = soft
        if t not in MASKS:
            continue
        large = torch.nn.functional.interpolate(soft.permute(2, 0, 1)[None], scale_factor=PATCH, mode="bilinear", align_corners=False)[0]
        low, high = large.amin((1, 2), keepdim=True), large.amax((1, 2), keepdim=True)
        channel = torch.where(high > low, (large - low) / (high - low), large).argmax(0).numpy().astype(np.uint8)
        out[f"mask{t}"] = torch.as_tensor(np.array([0, 3, 7], np.uint8)[np.array(Image.fromarray(channel).resize((WIDTH, HEIGHT), Image.NEAREST))])
    here = os.path.dirname(os.path.abspath(__file__))
    save(os.path.join(here, "data", "video.safetensors"), out, {**versions(), "scipy": scipy.__version__, "pillow": PIL.__version__})


if __name__ == "__main__":
    main()
