"""Writes data/knn.safetensors: weighted k-NN in PyTorch on clustered features with a long tail of classes, in float64.

    python make_knn.py DINO_CHECKOUT           (commit 7c446df; torch as recorded in the file)

The predictions come from the few lines below (cosine similarity, k largest, votes exp(similarity / 0.07) summed by class). The published function gives
accuracies only; its accuracies on the same features are stored beside them, and the script stops when the two disagree. One difference is meant: the
published top-5 fills up with classes that got no vote, in an order of the sort's choosing; here such a class is no prediction (-1).
"""
import argparse
import os
import sys

import torch

from golden_common import save, uniform, versions

MEMORY, QUERIES, DIM, CLASSES, TEMPERATURE, KS = 800, 200, 16, 12, 0.07, (10, 20, 100, 200)


def labels(name, count):
    """Long-tailed: class c is about half as frequent as class c - 2."""
    u = (uniform(name, (count,)) + 1) / 2
    return torch.clamp((-2.0 * torch.log2(1 - u)).long(), max=CLASSES - 1)


def features(name, label):
    centres = uniform("centres", (CLASSES, DIM))
    x = 0.5 * centres[label] + uniform(name, (len(label), DIM))
    return torch.nn.functional.normalize(x.float(), dim=1)


def ranking(memory, memory_labels, queries, k):
    similarity, rows = (queries.double() @ memory.double().T).topk(k, dim=1, largest=True, sorted=True)
    votes = torch.zeros(len(queries), CLASSES, dtype=torch.float64)
    votes.scatter_add_(1, memory_labels[rows], torch.exp(similarity / TEMPERATURE))
    value, order = votes.sort(dim=1, descending=True)
    # exact agreement is asked for, so nothing may be near a tie
    assert ((value[:, 0] - value[:, 1]) / value[:, 0]).min() > 1e-6
    order[value == 0] = -1
    return order[:, :5]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("dino")
    sys.path.insert(0, parser.parse_args().dino)
    import eval_knn

    out = {"memory_labels": labels("memory_labels", MEMORY), "query_labels": labels("query_labels", QUERIES)}
    out["memory"], out["queries"] = features("memory", out["memory_labels"]), features("queries", out["query_labels"])
    for k in KS:
        order = ranking(out["memory"], out["memory_labels"], out["queries"], k)
        hits = order == out["query_labels"][:, None]
        ours = (100.0 * hits[:, 0].double().mean().item(), 100.0 * hits.any(dim=1).double().mean().item())
        published = eval_knn.knn_classifier(out["memory"], out["memory_labels"], out["queries"], out["query_labels"], k, TEMPERATURE, CLASSES)
        filled_up = bool((order == -1).any())
        assert abs(ours[0] - published[0]) < 1e-9, (k, ours, published)
        assert ours[1] <= published[1] and (filled_up or abs(ours[1] - published[1]) < 1e-9), (k, ours, published)
        print(f"k {k}: top-1 {ours[0]:.2f}, top-5 {ours[1]:.2f}")
        out[f"order{k}"] = order
        out[f"published{k}"] = torch.tensor(published, dtype=torch.float64)
    save(os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "knn.safetensors"), out, versions())


main()
