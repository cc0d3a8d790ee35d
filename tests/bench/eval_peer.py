#!/usr/bin/env python3
"""Numbers of "dinoxx eval" beside the formulas of the published Python evaluations (dino/eval_knn.py, dinov2/eval/{log_regression,linear}.py) run with
torch and scikit-learn on the same features, which "dinoxx embed" writes.

    eval_peer.py DINOXX CHECKPOINT DATA [--threads N]      DATA needs train, val and test; a few thousand images take a minute

Exit code 1 when an accuracy differs by more than 0.1 points (that of logistic regression at the chosen C; the path to it, which dinoxx stops early, is shown). The sweep takes features without augmentation here (--linear-probe-views 0), first weights and order
as dinoxx draws them, so that the two differ in nothing but who computes.
"""
import argparse
import csv
import json
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import sklearn
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

MASK32, MASK64 = (1 << 32) - 1, (1 << 64) - 1
RATES = [1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1]
BATCH = 128


def mix(z):
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK64
    return z ^ (z >> 31)


def sampler_row(n, seed, position):
    """Place of a position in its epoch's order: a keyed Feistel permutation (data_pipeline/sampler.cpp)."""
    epoch, value = divmod(position, n)
    half = (max(8, (n - 1).bit_length()) + 1) // 2
    key = mix(mix((seed + 0x9E3779B97F4A7C15) & MASK64) ^ ((epoch + 0x632BE59BD9B4E019) & MASK64))
    while True:
        left, right = value >> half, value & ((1 << half) - 1)
        for r in range(6):
            left, right = right, left ^ (mix((right + key + (r + 1) * 0x9E3779B97F4A7C15) & MASK64) & ((1 << half) - 1))
        value = left << half | right
        if value < n:
            return value


def philox(counters, key):
    """Philox4x32-10 (Salmon et al. 2011): counters [n, 4] -> [n, 4]."""
    c = counters.astype(np.uint64).copy()
    k = list(key)
    for _ in range(10):
        p0, p1 = c[:, 0] * np.uint64(0xD2511F53), c[:, 2] * np.uint64(0xCD9E8D57)
        low, high = np.uint64(MASK32), np.uint64(32)
        c = np.stack([(p1 >> high) ^ c[:, 1] ^ np.uint64(k[0]), p1 & low, (p0 >> high) ^ c[:, 3] ^ np.uint64(k[1]), p0 & low], 1)
        k = [(k[0] + 0x9E3779B9) & MASK32, (k[1] + 0xBB67AE85) & MASK32]
    return c


def first_weights(head, classes, width, seed):
    """Normal, deviation 0.01: one block of the generator for each number, position the class, lane the head (purpose 8, use 8)."""
    counters = np.zeros((classes, width, 4), np.uint64)
    counters[..., 0] = np.arange(classes)[:, None]
    counters[..., 2] = (8 << 28) | head
    counters[..., 3] = (8 << 16) + np.arange(width)
    words = philox(counters.reshape(-1, 4), (seed & MASK32, seed >> 32))
    u, v = (((words[:, i] | words[:, i + 1] << np.uint64(32)) >> np.uint64(11)).astype(np.float64) * 2.0 ** -53 for i in (0, 2))
    normal = np.sqrt(-2 * np.log(1 - u)) * np.cos(2 * np.pi * v)
    return torch.from_numpy((0.01 * normal).astype(np.float32).reshape(classes, width))


def knn(memory, labels, queries, asked, classes, ks):
    """eval_knn.py: weights exp(similarity / 0.07), summed by class."""
    memory, queries = torch.from_numpy(memory), torch.from_numpy(queries)
    similarity, index = (queries @ memory.t()).topk(max(ks), dim=1)
    one_hot = torch.nn.functional.one_hot(torch.from_numpy(labels)[index], classes).float()
    votes = one_hot * (similarity / 0.07).exp()[..., None]
    return {k: (votes[:, :k].sum(1).argmax(1).numpy() == asked).mean() for k in ks}


def mean_recall(answers, truth):
    return np.mean([(answers[truth == c] == c).mean() for c in np.unique(truth)])


def sweep(features, labels, classes, steps, seed):
    """linear.py: heads for (blocks, average, rate), losses summed, one SGD with a group for each head, cosine by iteration."""
    n, dim = len(labels), features.shape[1] // 5
    columns = {(1, False): slice(3 * dim, 4 * dim), (1, True): slice(3 * dim, 5 * dim), (4, False): slice(0, 4 * dim), (4, True): slice(0, 5 * dim)}
    order = np.array([sampler_row(n, seed, i) for i in range(n)])
    x, y = torch.from_numpy(features[order]), torch.from_numpy(labels[order])
    heads = {}
    for place, (kind, where) in enumerate(columns.items()):
        for r in range(len(RATES)):
            head = nn.Linear(where.stop - where.start, classes)
            with torch.no_grad():
                head.weight.copy_(first_weights(place * len(RATES) + r, classes, where.stop - where.start, seed))
                head.bias.zero_()
            heads[kind, r] = head
    optimizer = torch.optim.SGD([{"params": h.parameters(), "lr": RATES[r] * BATCH / 256} for (_, r), h in heads.items()], momentum=0.9, weight_decay=0)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, eta_min=0)
    for step in range(steps):
        rows = torch.tensor([sampler_row(n, seed + 1, step * BATCH + i) for i in range(BATCH)])
        batch, target = x[rows], y[rows]
        loss = 0
        for kind, where in columns.items():
            of_kind = [heads[kind, r] for r in range(len(RATES))]
            logits = nn.functional.linear(batch[:, where], torch.cat([h.weight for h in of_kind]), torch.cat([h.bias for h in of_kind]))
            loss = loss + nn.functional.cross_entropy(logits.view(-1, classes), target.repeat_interleave(len(RATES)), reduction="sum") / BATCH
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
    return heads, columns


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dinoxx")
    parser.add_argument("checkpoint")
    parser.add_argument("data")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    warnings.simplefilter("ignore")  # scikit-learn's iterations run out at the largest C
    print(f"torch {torch.__version__}, scikit-learn {sklearn.__version__}, numpy {np.__version__}")
    worst = 0.0

    def compare(what, ours, theirs, counted=True):
        nonlocal worst
        worst = max(worst, abs(ours - theirs) if counted else 0.0)
        print(f"{what:<34}{100 * ours:9.3f}{100 * theirs:11.3f}{100 * (ours - theirs):+9.3f}", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        def call(command, *more):
            subprocess.run([options.dinoxx, command, "--checkpoint", options.checkpoint, "--data", options.data, "--threads", str(options.threads), *more],
                           check=True, stdout=subprocess.DEVNULL)

        def embed(split, *more):
            path = Path(folder) / f"{split}.npy"
            call("embed", "--split", split, "--out", str(path), *more)
            with open(path.with_suffix(".csv"), newline="") as file:
                names = [row["label"] for row in csv.DictReader(file)]
            return np.load(path), names

        call("eval", "--protocol", "knn,logistic,linear_probe", "--linear-probe-views", "0", "--baselines", "none", "--out", f"{folder}/eval")
        results = json.loads((Path(folder) / "eval" / "results.json").read_text())
        names = results["data"]["classes"]
        suites = results["suites"]
        parts = {split: embed(split) for split in ("train", "val", "test")}
        y = {split: np.array([names.index(name) for name in labels]) for split, (_, labels) in parts.items()}
        x = {split: features for split, (features, _) in parts.items()}
        wide = {split: embed(split, "--last-blocks", "4", "--normalize", "no")[0] for split in parts}
    classes, seed = len(names), results["seed"]
    print(f"{len(y['train'])} training, {len(y['val'])} val, {len(y['test'])} test images, {classes} classes\n{'accuracy in %':<34}{'dinoxx':>9}{'published':>11}{'':>9}")

    of_k = suites["knn"]["results"][0]["by_k"]
    for k, accuracy in knn(x["train"], y["train"], x["test"], y["test"], classes, sorted(int(k) for k in of_k)).items():
        compare(f"k-NN, k = {k}", of_k[str(k)]["accuracy"], accuracy)

    plain = suites["linear"]["results"][0]["methods"]["plain"]
    best, fits = None, {}
    for place, c in enumerate(suites["linear"]["protocol"]["C"]):
        fits[c] = LogisticRegression(C=c, tol=1e-8, max_iter=5000).fit(x["train"].astype(np.float64), y["train"])
        recall = mean_recall(fits[c].predict(x["val"]), y["val"])
        compare(f"logistic, C = {c:.0e}, recall on val", plain["selection"][place], recall, counted=False)  # a path stops early on purpose
        if best is None or recall > best[0]:
            best = recall, c
    compare(f"logistic, C = {best[1]:.0e} chosen, test", plain["accuracy"], (fits[best[1]].predict(x["test"]) == y["test"]).mean())

    of_sweep = suites["sweep"]["results"][0]
    heads, columns = sweep(wide["train"], y["train"], classes, of_sweep["training"]["iterations"], seed)
    chosen, widest = None, (0.0, "")
    with torch.no_grad():
        for entry, ((kind, r), head) in zip(of_sweep["methods"]["best_head"]["selection"], heads.items()):
            assert (entry["blocks"], entry["mean_of_patches"], entry["learning_rate"]) == (*kind, RATES[r])
            answers = {split: head(torch.from_numpy(wide[split][:, columns[kind]])).argmax(1).numpy() for split in ("val", "test")}
            recall, name = mean_recall(answers["val"], y["val"]), f"{kind[0]} block(s){', mean' if kind[1] else ''}, rate {RATES[r]:g}"
            widest = max(widest, (abs(entry["accuracy"] - (answers["val"] == y["val"]).mean()), name))
            if chosen is None or recall > chosen[0]:
                chosen = recall, name, answers["test"]
    print(f"sweep: of 52 heads the accuracy on val differs most by {100 * widest[0]:.3f} ({widest[1]})")
    worst = max(worst, widest[0])
    compare("sweep, best head, recall on val", max(entry["mean_recall"] for entry in of_sweep["methods"]["best_head"]["selection"]), chosen[0])
    compare("sweep, best head, test", of_sweep["methods"]["best_head"]["accuracy"], (chosen[2] == y["test"]).mean())
    print(f"  the head: {chosen[1]}; dinoxx: {of_sweep['methods']['best_head']['head']}")
    sys.exit(int(worst > 0.001 + 1e-12))


if __name__ == "__main__":
    main()
