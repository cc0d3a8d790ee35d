"""Writes data/few.safetensors: few-shot classifiers on given support sets, by NumPy and scikit-learn.

    python make_few.py               (versions as recorded in the file)

Features are computed on both sides (uniform, golden_common.py), normalised, in float64. Stored: the support sets (rows of the memory, drawn here, one
class with fewer images than shots, one with none), the answers and the accuracy of each method, and what is defined of it in numbers: squared distances
to the class means, and for logistic regression the probabilities. SimpleShot is CL2N of Wang et al. 2019: minus the mean of the memory, L2, nearest mean.
"""
import os

import numpy as np
import sklearn
import torch
from sklearn.linear_model import LogisticRegression

from golden_common import save, uniform, versions

MEMORY, QUERIES, DIM, CLASSES = 240, 90, 24, 6
SHOTS = (1, 2, 5)
DRAWS = 3


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def features(name, rows):
    """Clusters that overlap, a common direction, a steep spectrum."""
    y = np.arange(rows) % CLASSES
    scale = 10.0 ** (-torch.arange(DIM, dtype=torch.float64) / DIM).numpy()
    centres = uniform("few/centres", (CLASSES, DIM)).numpy()
    x = 0.35 * centres[y] + uniform(name, (rows, DIM)).numpy() * scale + 0.8 * uniform("few/offset", (DIM,)).numpy()
    return unit(x), y


def nearest_mean(support, labels, queries):
    present = np.unique(labels)
    means = np.stack([support[labels == c].mean(0) for c in present])
    distance = ((queries[:, None] - means[None]) ** 2).sum(-1)
    full = np.full((len(queries), CLASSES), np.inf)
    full[:, present] = distance
    return full


def softmax(z):
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def polished(x, place, weights):
    """Newton steps on scikit-learn's objective (cross-entropies summed + |coefficients|^2 / 2) from its own solution: the minimum to rounding."""
    n, k = len(x), weights.shape[1]
    x1 = np.hstack([x, np.ones((n, 1))])
    penalty = np.vstack([np.ones((x.shape[1], k)), np.zeros((1, k))])
    for _ in range(4):
        p = softmax(x1 @ weights)
        gradient = x1.T @ (p - np.eye(k)[place]) + penalty * weights
        curvature = np.einsum("na,nb,ni,ij->aibj", x1, x1, p, np.eye(k)) - np.einsum("na,nb,ni,nj->aibj", x1, x1, p, p)
        size = x1.shape[1] * k
        weights = weights - np.linalg.lstsq(curvature.reshape(size, size) + np.diag(penalty.ravel()), gradient.ravel(), rcond=1e-12)[0].reshape(weights.shape)
    return weights


def logistic(support, labels, queries):
    model = LogisticRegression(C=1.0, tol=1e-8, max_iter=10000).fit(support, labels)
    place = np.searchsorted(model.classes_, labels)
    weights = polished(support, place, np.vstack([model.coef_.T, model.intercept_]))
    probabilities = softmax(queries @ weights[:-1] + weights[-1])
    assert np.abs(probabilities - model.predict_proba(queries)).max() < 1e-6
    full = np.zeros((len(queries), CLASSES))
    full[:, model.classes_] = probabilities
    return full


def main():
    memory, labels = features("few/memory", MEMORY)
    queries, asked = features("few/queries", QUERIES)
    mean = memory.mean(0)
    centred, centred_queries = unit(memory - mean), unit(queries - mean)
    generator = np.random.default_rng(6)
    out = {}
    for shots in SHOTS:
        for draw in range(DRAWS):
            rows = []
            for c in range(CLASSES):
                count = {4: min(shots, 2), 5: shots if draw else 0}.get(c, shots)  # class 4 has two images; class 5 none in the first draw
                rows.extend(generator.choice(np.flatnonzero(labels == c), count, replace=False))
            rows = np.sort(np.array(rows))
            key = f"{shots}.{draw}"
            out[key + ".support"] = torch.as_tensor(rows)
            of_methods = {"nearest_mean": nearest_mean(memory[rows], labels[rows], queries),
                          "simpleshot": nearest_mean(centred[rows], labels[rows], centred_queries),
                          "logistic": logistic(memory[rows], labels[rows], queries)}
            line = []
            for name, values in of_methods.items():
                answers = values.argmax(1) if name == "logistic" else values.argmin(1)
                out[f"{key}.{name}.answers"] = torch.as_tensor(answers.astype(np.uint8))
                out[f"{key}.{name}.accuracy"] = torch.tensor([(answers == asked).mean()], dtype=torch.float64)
                finite = np.where(np.isfinite(values), values, -1.0)
                out[f"{key}.{name}.values"] = torch.as_tensor(finite[:20])
                line.append(f"{name} {(answers == asked).mean():.4f}")
            print(key, ", ".join(line))
    meta = versions() | {"scikit-learn": sklearn.__version__, "made_by": "tests/golden/make_few.py"}
    save(os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "few.safetensors"), out, meta)


if __name__ == "__main__":
    main()
