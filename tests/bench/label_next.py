"""Which images to label next: is any choice better than a random one? (docs/small_sets.md; needs scikit-learn)

    dinoxx embed --checkpoint RUN --data DATA --out F.npy
    python3 tests/bench/label_next.py F.npy [classes, with commas between] [trials]

A pool of 5,000 to 250 images of a class without labels, of which 60 have been labelled at random; four times 60 more are chosen:
  random    at random
  margin    where the two most probable classes are nearest
  need      the most probable images of the class that has the fewest labels so far
  need, unsure; need, far    the same, times one less the margin; times the distance to what is labelled
Mean recall on the test images of a class-weighted logistic regression, and its difference to the random choice with a 95 % t interval over trials.
"""
import csv
import sys
import warnings

import numpy as np
from sklearn.linear_model import LogisticRegression

POOL, START, BATCH, ROUNDS = (5000, 2364, 1118, 529, 250), 60, 60, 4
CHOICES = ("random", "margin", "need", "need, unsure", "need, far")


def choose(how, rng, shares, counts, pool, labelled):
    ordered = np.sort(shares, 1)
    margin = ordered[:, -1] - ordered[:, -2]
    if how == "random":
        return rng.choice(len(pool), BATCH, replace=False)
    if how == "margin":
        return np.argsort(margin)[:BATCH]
    expected, free, picked = counts.astype(float), np.ones(len(pool), bool), []
    far = (2 - 2 * pool @ labelled.T).min(1)
    for _ in range(BATCH):
        wanted = shares[:, expected.argmin()] * {"need": 1, "need, unsure": 1 - margin, "need, far": far}[how]
        best = int(np.where(free, wanted, -1).argmax())
        free[best] = False
        picked.append(best)
        expected += shares[best]
        far = np.minimum(far, 2 - 2 * pool @ pool[best])
    return np.array(picked)


def trial(features, train, test, names, seed):
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(names))
    ids = np.concatenate([rng.choice(train[c], min(n, len(train[c])), replace=False) for c, n in zip(order, POOL)])
    labels = np.concatenate([np.full(min(n, len(train[c])), c) for c, n in zip(order, POOL)])
    x, queries = features[ids], [features[t] for t in test]
    begin = rng.choice(len(ids), START, replace=False)
    curves = []
    for how in CHOICES:
        chosen, draws, curve = begin.copy(), np.random.default_rng(seed + 100), []
        for step in range(ROUNDS + 1):
            model = LogisticRegression(C=10, class_weight="balanced", max_iter=300).fit(x[chosen], labels[chosen])
            curve.append(np.mean([(model.predict(q) == c).mean() for c, q in enumerate(queries)]))
            if step == ROUNDS:
                break
            rest = np.setdiff1d(np.arange(len(ids)), chosen)
            shares = np.zeros((len(rest), len(names)))
            shares[:, model.classes_] = model.predict_proba(x[rest])
            counts = np.bincount(labels[chosen], minlength=len(names))
            chosen = np.concatenate([chosen, rest[choose(how, draws, shares, counts, x[rest], x[chosen])]])
        curves.append(curve)
    return curves


def main():
    warnings.simplefilter("ignore")
    features = np.load(sys.argv[1]).astype(np.float64)
    with open(sys.argv[1].removesuffix(".npy") + ".csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = sys.argv[2].split(",") if len(sys.argv) > 2 else sorted({row["label"] for row in rows})[:len(POOL)]
    ids = lambda split, name: np.array([i for i, row in enumerate(rows) if row["split"] == split and row["label"] == name])
    train, test = [ids("train", name) for name in names], [ids("test", name) for name in names]
    trials = int(sys.argv[3]) if len(sys.argv) > 3 else 8
    curves = 100 * np.array([trial(features, train, test, names, seed) for seed in range(trials)])
    for c, how in enumerate(CHOICES):
        gain = curves[:, c] - curves[:, 0]
        half = 2.36 * gain.std(0, ddof=1) / np.sqrt(trials)  # t(0.975, 7)
        print(f"{how:13}", " ".join(f"{m:5.1f}" for m in curves[:, c].mean(0)), "  less random:",
              " ".join(f"{m:+.1f} +-{h:.1f}" for m, h in zip(gain.mean(0)[1:], half[1:])))


main()
