"""Writes data/logistic.safetensors: multinomial logistic regression and nearest centroids by scikit-learn.

    python make_logistic.py            (scikit-learn as recorded in the file)

Features are computed on both sides (golden_common.uniform, float32, columns of different sizes). Stored per case and C: the smallest objective, in float64 at the
coefficients of the better of two solvers, the predictions of 200 queries, and coefficients. For two classes scikit-learn has one vector of weights, which is this problem
with twice the C.
"""
import os
import warnings

import numpy as np
import sklearn
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestCentroid

from golden_common import save, uniform, versions

warnings.simplefilter("ignore")
CASES = {"many": (400, 12, 5), "wide": (40, 64, 4), "gap": (150, 20, 6), "binary": (120, 10, 2), "one_each": (6, 30, 6)}
CS = (1e-4, 1.0, 1e4)
QUERIES = 200


def features(name, rows, dim):
    scale = 10.0 ** (-2 * torch.arange(dim, dtype=torch.float64) / dim)
    return (uniform(name, (rows, dim)) * scale + 0.5 * uniform("offset", (dim,))).float()


def labels(name, rows, classes):
    """A long tail that a linear map of the features explains in part."""
    x = features(name + ".x", rows, CASES[name][1]).double()
    scores = x @ uniform(name + ".map", (x.shape[1], classes)) + uniform(name + ".noise", (rows, classes))
    y = (scores - 0.4 * torch.arange(classes)).argmax(dim=1).numpy()
    if name == "one_each":
        y = np.arange(rows)
    if name == "gap":
        y[y == 2] = 0
    return y


def objective(x, y, weights, coefficients, intercepts, penalty):
    logits = x @ coefficients.T + intercepts
    logits -= logits.max(axis=1, keepdims=True)
    loss = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(y)), y]
    return (weights * loss).sum() / weights.sum() + penalty / 2 * (coefficients ** 2).sum()


def fit(x, y, c, balanced):
    present, place = np.unique(y, return_inverse=True)
    weights = len(y) / (len(present) * np.bincount(place)[place]) if balanced else np.ones(len(y))
    best = None
    for solver in ("lbfgs", "newton-cg"):
        model = LogisticRegression(C=c * (2 if len(present) == 2 else 1), tol=1e-12, max_iter=100000, solver=solver, class_weight="balanced" if balanced else None)
        model.fit(x, y)
        coefficients, intercepts = model.coef_, model.intercept_
        if len(present) == 2:
            coefficients, intercepts = np.concatenate([-coefficients, coefficients]) / 2, np.concatenate([-intercepts, intercepts]) / 2
        value = objective(x, place, weights, coefficients, intercepts, 1 / (c * weights.sum()))
        if best is None or value < best[0]:
            best = value, coefficients, intercepts, present
    return best


def main():
    out = {}
    for name, (rows, dim, classes) in CASES.items():
        x, y, queries = features(name + ".x", rows, dim).double().numpy(), labels(name, rows, classes), features(name + ".q", QUERIES, dim).double().numpy()
        out[name + ".labels"] = torch.as_tensor(y)
        print(name, np.bincount(y, minlength=classes))
        for i, c in enumerate(CS):
            for balanced in (False, True):
                value, coefficients, intercepts, present = fit(x, y, c, balanced)
                scores = queries @ coefficients.T + intercepts
                ordered = np.sort(scores, axis=1)
                key = f"{name}.{i}{'.balanced' if balanced else ''}"
                out[key + ".objective"] = torch.tensor([value], dtype=torch.float64)
                # exact agreement is asked for where it can be: not next to a tie
                clear = ordered[:, -1] - ordered[:, -2] > 1e-4 * np.abs(scores).max()
                out[key + ".predictions"] = torch.as_tensor(np.where(clear, present[scores.argmax(axis=1)], -1))
                print(f"  C {c}: objective {value:.12f}, clear {clear.mean():.2f}")
        out[name + ".centroid"] = torch.as_tensor(NearestCentroid().fit(x, y).predict(queries))
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "logistic.safetensors")
    save(path, out, versions() | {"scikit-learn": sklearn.__version__})


main()
