"""Writes data/ranking_curves.safetensors: ROC and precision-recall curves by scikit-learn.

    python make_ranking_curves.py            (scikit-learn as recorded in the file)
"""
import os

import numpy as np
import sklearn
import torch
from sklearn import metrics

from golden_common import save, uniform, versions


def draw(name, rows):
    return (uniform(name, (rows,)).numpy() + 1) / 2


def main():
    out = {}
    for name, rows, share, digits in [("rare", 400, 0.03, 12), ("common", 300, 0.5, 12), ("ties", 250, 0.1, 1), ("one", 60, 0, 12)]:
        positive = draw(name + ".labels", rows) < share
        if name == "one":
            positive[17] = True
        scores = np.round(0.7 * draw(name + ".scores", rows) + 0.25 * positive, digits)
        fpr, tpr, falling = metrics.roc_curve(positive, scores, drop_intermediate=False)
        precision, recall, rising = metrics.precision_recall_curve(positive, scores)
        put = lambda key, value: out.__setitem__(f"{name}.{key}", torch.as_tensor(np.ascontiguousarray(value)))
        put("scores", scores)
        put("positive", positive.astype(np.int64))
        # without the points that stand for no threshold: nothing taken
        put("roc", np.stack([falling[1:], fpr[1:], tpr[1:]]))
        put("pr", np.stack([rising[::-1], recall[-2::-1], precision[-2::-1]]))
        put("areas", np.array([metrics.roc_auc_score(positive, scores), metrics.average_precision_score(positive, scores)]))
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "ranking_curves.safetensors")
    save(path, out, versions() | {"scikit-learn": sklearn.__version__})


main()
