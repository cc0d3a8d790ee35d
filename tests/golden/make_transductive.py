"""Writes data/transductive.safetensors: soft k-means (Ren et al. 2018) and Laplacian-regularised assignment (Ziko et al. 2020) on small tasks, by NumPy.

    python make_transductive.py

Features are uniform(name) with a direction of each class added, rows of length 1: the test makes the same ones.
"""
import os

import numpy as np
import torch

from golden_common import save, uniform, versions

# name: ways, shots, queries of each class
CASES = {"balanced": (5, 1, [15] * 5), "unequal": (5, 5, [40, 20, 9, 5, 1]), "two": (2, 1, [1, 1]), "lone": (3, 2, [0, 1, 0])}
DIM = 16


def features(name, labels):
    x = uniform(name, (len(labels), DIM)).numpy().copy()
    x[np.arange(len(labels)), labels] += 1.0
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def distances(a, b):
    return ((a[:, None, :] - b[None, :, :]) ** 2).sum(-1)


def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def soft_kmeans(support, labels, classes, queries, scale=7.5):
    means = np.stack([support[labels == c].mean(axis=0) for c in range(classes)])
    z = softmax(-scale * distances(queries, means))
    refined = [(support[labels == c].sum(axis=0) + z[:, c] @ queries) / ((labels == c).sum() + z[:, c].sum()) for c in range(classes)]
    return -distances(queries, np.stack(refined))


def laplacian(support, labels, classes, queries, strength=1.0, neighbours=3, rounds=20):
    means = np.stack([support[labels == c].mean(axis=0) for c in range(classes)])
    cost, between = distances(queries, means), distances(queries, queries)
    np.fill_diagonal(between, np.inf)
    w = np.zeros_like(between)
    for q in range(len(queries)):
        w[q, np.argsort(between[q], kind="stable")[:min(neighbours, len(queries) - 1)]] = 1
    y = softmax(-cost)
    for _ in range(rounds):
        y = softmax(-cost + strength * (w @ y))
    return y


def main():
    out = {}
    for name, (ways, shots, counts) in CASES.items():
        support_labels = np.repeat(np.arange(ways), shots)
        query_labels = np.repeat(np.arange(ways), counts)
        support, queries = features(name + ".support", support_labels), features(name + ".queries", query_labels)
        out[name + ".soft_kmeans"] = torch.from_numpy(soft_kmeans(support, support_labels, ways, queries))
        out[name + ".laplacian"] = torch.from_numpy(laplacian(support, support_labels, ways, queries))
        print(name, *[(out[f"{name}.{m}"].argmax(1).numpy() == query_labels).mean() for m in ("soft_kmeans", "laplacian")])
    save(os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "transductive.safetensors"), out, versions())


main()
