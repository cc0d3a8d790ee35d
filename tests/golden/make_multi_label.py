"""Writes data/multi_label.safetensors: scores of images with several labels by scikit-learn.

    python make_multi_label.py            (scikit-learn as recorded in the file)

A label of which nothing is known for an image (-1) does not count for that image. A resample is the set in which each image stands as often
as its count says.
"""
import os

import numpy as np
import sklearn
import torch
from sklearn import metrics

from golden_common import save, uniform, versions


def draw(name, shape):
    return (uniform(name, shape).numpy() + 1) / 2


def best_threshold(truth, p):
    """Half way from the lowest probability that is answered yes to the next below it, of largest F1; equal: the highest."""
    levels = np.unique(p)[::-1]
    best, threshold = -1, 1.0
    for i, level in enumerate(levels):
        f1 = metrics.f1_score(truth, p >= level)
        if f1 > best:
            best, threshold = f1, (level + (levels[i + 1] if i + 1 < len(levels) else 0.0)) / 2
    return threshold


def scores(truth, p, thresholds, counts):
    rows = np.repeat(np.arange(len(truth)), counts)
    truth, p = truth[rows], p[rows]
    ap, auroc, f1, all_truth, all_answers = [], [], [], [], []
    for label in range(truth.shape[1]):
        known = truth[:, label] >= 0
        y, q = truth[known, label], p[known, label]
        answers = q >= thresholds[label]
        ap.append(metrics.average_precision_score(y, q))
        auroc.append(metrics.roc_auc_score(y, q))
        f1.append(metrics.f1_score(y, answers))
        all_truth.append(y)
        all_answers.append(answers)
    known = truth >= 0
    right = np.where(known, (p >= thresholds) == (truth == 1), True).all(axis=1)
    exact = right[known.any(axis=1)].mean()
    micro = metrics.f1_score(np.concatenate(all_truth), np.concatenate(all_answers))
    return np.concatenate([[np.mean(ap), np.mean(auroc), np.mean(f1), micro, exact], ap, auroc, f1])


def main():
    out = {}
    for name, rows, labels, digits, unknown in [("plain", 200, 4, 12, 0), ("ties", 150, 3, 1, 0), ("unknown", 180, 5, 12, 0.2)]:
        shares = np.linspace(0.5, 0.08, labels)
        truth = (draw(name + ".truth", (rows, labels)) < shares).astype(np.int64)
        p = np.round(0.6 * draw(name + ".scores", (rows, labels)) + 0.3 * truth, digits)
        truth[draw(name + ".unknown", (rows, labels)) < unknown] = -1
        counts = np.floor(3 * draw(name + ".counts", (rows,))).astype(np.int64)
        thresholds = np.array([best_threshold(truth[truth[:, k] >= 0, k], p[truth[:, k] >= 0, k]) for k in range(labels)])
        put = lambda key, value: out.__setitem__(f"{name}.{key}", torch.as_tensor(np.ascontiguousarray(value)))
        put("truth", truth)
        put("probabilities", p)
        put("counts", counts)
        put("thresholds", thresholds)
        put("scores", scores(truth, p, thresholds, np.ones(rows, dtype=np.int64)))
        put("resampled", scores(truth, p, thresholds, counts))
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "multi_label.safetensors")
    save(path, out, versions() | {"scikit-learn": sklearn.__version__})


main()
