"""How often the prediction "with more images of a class its recall would be ..." holds (docs/evaluation.md, protocol few_shot).

    dinoxx embed --checkpoint RUN --data DATA --out F.npy        # DATA with many images of each class
    python3 tests/bench/more_images.py F.npy [trials]

Takes a few images of a class beside more of the others, predicts by them, then gives the class twice and four times as many, which the data
have, and looks. An implementation of its own, in NumPy, of src/eval/protocols/more_images.cpp.
"""
import csv
import sys

import numpy as np

SIZES, TESTED, TIMES = (8, 16, 32, 64, 128), (30, 100, 1000), (2, 4)
OTHERS = (1000, 600, 300, 200, 150, 100, 80, 60, 40)  # images of the other classes
DRAWS, RESAMPLES = 20, 200


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def logit(share):
    return np.log(share / (1 - share))


def fit(sizes, recall, least):
    """Slope and intercept over -1 / images, a point of m images counts m times."""
    return np.polyfit(-1 / np.array(sizes), logit(np.clip(recall, least, 1 - least)), 1, w=np.sqrt(sizes))


def predict(line, images):
    return 1 / (1 + np.exp(-(line[1] - line[0] / images)))


class Trial:
    def __init__(self, features, train, test, label, images, tested, rng):
        others = [c for c in range(len(train)) if c != label]
        chosen = [rng.choice(train[c], min(n, len(train[c])), replace=False) for c, n in zip(others, rng.permutation(OTHERS))]
        self.pool = rng.permutation(train[label])[:max(TIMES) * images]
        centre = features[np.concatenate([self.pool[:images]] + chosen)].mean(0)
        self.of = lambda ids: unit(features[ids] - centre)
        self.others = np.stack([self.of(ids).mean(0) for ids in chosen])
        self.images, self.rng, self.test = images, rng, test[label]
        self.queries = self.of(rng.choice(test[label], tested, replace=False))

    def right(self, ids, queries):
        own = ((queries - self.of(ids).mean(0)) ** 2).sum(1)
        return own < ((queries[:, None] - self.others[None]) ** 2).sum(2).min(1)

    def predictions(self):
        """For each of TIMES the prediction and its interval."""
        n, rng = self.images, self.rng
        sizes = [m for m in (n // 16, n // 8, n // 4, n // 2, n) if m >= 2]
        answers = [np.stack([self.right(rng.choice(self.pool[:n], m, replace=False), self.queries) for _ in range(1 if m == n else DRAWS)]) for m in sizes]
        least, tested = 0.5 / len(self.queries), len(self.queries)
        now = np.clip(answers[-1].mean(), 0.02, 0.98)
        spread = answers[-2].mean(1).std(ddof=1) / np.sqrt(2) / (now * (1 - now))
        lines = []
        for _ in range(RESAMPLES):
            image = rng.integers(0, tested, tested)
            recall = [a[rng.integers(0, len(a), len(a))][:, image].mean() for a in answers]
            line = fit(sizes, recall, least)
            line[1] += spread * rng.normal()
            lines.append(line)
        point = fit(sizes, [a.mean() for a in answers], least)
        for times in TIMES:
            drawn = [predict(line, times * n) for line in lines]
            yield times, predict(point, times * n), np.percentile(drawn, 2.5), np.percentile(drawn, 97.5)

    def truth(self, times):
        return self.right(self.pool[:times * self.images], self.of(self.test)).mean()


def main():
    features = np.load(sys.argv[1]).astype(np.float64)
    trials = int(sys.argv[2]) if len(sys.argv) > 2 else 36
    with open(sys.argv[1].removesuffix(".npy") + ".csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = sorted({row["label"] for row in rows})
    ids = lambda split, name: np.array([i for i, row in enumerate(rows) if row["split"] == split and row["label"] == name])
    train, test = [ids("train", name) for name in names], [ids("test", name) for name in names]
    rng = np.random.default_rng(0)
    print("images  times  trials  interval holds  width  error of the prediction  error of \"no change\"")
    for images in SIZES:
        found = {times: [] for times in TIMES}
        for _ in range(trials):
            tested = min(int(rng.choice(TESTED)), min(len(t) for t in test))
            trial = Trial(features, train, test, int(rng.integers(len(names))), images, tested, rng)
            now = trial.right(trial.pool[:images], trial.queries).mean()
            for times, value, low, high in trial.predictions():
                truth = trial.truth(times)
                found[times].append((low <= truth <= high, high - low, abs(value - truth), abs(now - truth)))
        for times, results in found.items():
            held, width, error, unchanged = np.mean(results, 0)
            print(f"{images:6} {times:6} {len(results):7} {100 * held:13.0f} % {width:6.3f} {error:24.3f} {unchanged:22.3f}", flush=True)


main()
