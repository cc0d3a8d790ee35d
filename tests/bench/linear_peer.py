#!/usr/bin/env python3
"""The peer of "dinoxx_bench_eval linear": scikit-learn's LogisticRegression (lbfgs) over the same values of C on the same features, one thread.

    linear_peer.py make FILE [--images N] [--dim D] [--classes K]    features as a backbone gives them: clusters, a steep spectrum, a common direction; rows of length 1
    linear_peer.py run FILE [--tol T] [--warm]                       the path, warm-started and not; wall and processor seconds of each
"""
import argparse
import os
import sys
import time

import numpy as np
import torch

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden"))
from golden_common import save, versions  # noqa: E402


def make(options):
    generator = np.random.default_rng(0)
    spectrum = np.arange(1, options.dim + 1) ** -0.8
    labels = np.minimum(generator.geometric(2.5 / options.classes, options.images) - 1, options.classes - 1)
    centres = generator.normal(size=(options.classes, options.dim)) * spectrum
    x = 0.6 * centres[labels] + generator.normal(size=(options.images, options.dim)) * spectrum + 2.0 * generator.normal(size=options.dim) / np.sqrt(options.dim)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    cs = 10.0 ** np.linspace(-6, 5, 12)
    save(options.file, {"features": torch.from_numpy(x.astype(np.float32)), "labels": torch.from_numpy(labels), "C": torch.from_numpy(cs)}, versions())


def load(path):
    import json
    import struct
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        body = file.read()
    types = {"F32": np.float32, "F64": np.float64, "I64": np.int64}
    return {k: np.frombuffer(body[slice(*v["data_offsets"])], types[v["dtype"]]).reshape(v["shape"]) for k, v in header.items() if k != "__metadata__"}


def objective(x, y, model, c):
    logits = x @ model.coef_.T + model.intercept_
    top = logits.max(axis=1)
    place = np.searchsorted(model.classes_, y)
    loss = np.log(np.exp(logits - top[:, None]).sum(axis=1)) + top - logits[np.arange(len(y)), place]
    return loss.mean() + (model.coef_ ** 2).sum() / (2 * c * len(y))


def run(options):
    import sklearn
    from sklearn.linear_model import LogisticRegression
    data = load(options.file)
    x, y = data["features"].astype(np.float64), data["labels"]
    print(f"scikit-learn {sklearn.__version__}, tol {options.tol}")
    for warm in (True,) if options.warm else (True, False):
        cpu, total, model = time.process_time(), 0.0, LogisticRegression(tol=options.tol, max_iter=1000, warm_start=warm)
        for c in data["C"]:
            model.set_params(C=c)
            begin = time.perf_counter()
            model.fit(x, y)
            took = time.perf_counter() - begin
            total += took
            print(f"  C {c:.0e}: objective {objective(x, y, model, c):.12f}, {int(model.n_iter_.max())} iterations, {took:.2f} s", flush=True)
        print(f"{'warm-started' if warm else 'cold'}: path_seconds {total:.2f}, processor {time.process_time() - cpu:.2f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["make", "run"])
    parser.add_argument("file")
    parser.add_argument("--images", type=int, default=10000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--tol", type=float, default=1e-6)
    parser.add_argument("--warm", action="store_true", help="only the warm-started path")
    options = parser.parse_args()
    make(options) if options.what == "make" else run(options)


main()
