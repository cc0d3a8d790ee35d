"""Writes data/statistics.safetensors: scores of classifiers, clusterings and tests by scikit-learn, SciPy and NumPy.

    python make_statistics.py            (scikit-learn and SciPy as recorded in the file)

A value that the library refuses or warns about is stored as it comes out (NaN when it raises). statistics_golden_test.cpp lists the cases that dinoxx calls undefined instead.
"""
import os
import warnings

import numpy as np
import scipy
import sklearn
import torch
from scipy import optimize, stats
from sklearn import calibration, metrics

from golden_common import save, uniform, versions

warnings.simplefilter("ignore")
nan = float("nan")


def draw(name, shape):
    return (uniform(name, shape).numpy() + 1) / 2


def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def attempt(function):
    try:
        return float(function())
    except ValueError:
        return nan


def case(name, rows, classes):
    """Labels with a long tail, logits that know something of them."""
    labels = np.minimum((-2.0 * np.log2(1 - draw(name + ".labels", (rows,)))).astype(np.int64), classes - 1)
    logits = 4 * draw(name + ".logits", (rows, classes))
    logits[np.arange(rows), labels] += 1.5
    return labels, logits


def cases():
    out = {"plain": case("plain", 300, 5), "binary": case("binary", 80, 2)}
    labels, logits = case("ties", 200, 4)
    out["ties"] = labels, np.round(logits)
    labels, logits = case("missing", 150, 6)
    labels[labels == 3] = 0
    logits[:, 4] = -8
    out["missing"] = labels, logits
    labels, logits = case("single", 40, 3)
    out["single"] = np.ones_like(labels), logits
    labels, logits = case("one_each", 5, 5)
    out["one_each"] = np.arange(5), logits
    labels, logits = case("constant", 60, 3)
    logits[:, 2] += 20
    out["constant"] = labels, logits
    labels, logits = case("perfect", 60, 3)
    logits[np.arange(60), labels] += 20
    out["perfect"] = labels, logits
    return out


def calibration_error(labels, p, edges_of):
    confidence, right = p.max(axis=1), p.argmax(axis=1) == labels
    return sum(len(rows) / len(labels) * abs(right[rows].mean() - confidence[rows].mean()) for rows in edges_of(confidence) if len(rows))


def equal_mass(confidence):
    order = np.argsort(confidence, kind="stable")
    return [order[b * len(order) // 15:(b + 1) * len(order) // 15] for b in range(15)]


def equal_width(confidence):
    bins = np.clip(np.ceil(confidence * 15) - 1, 0, 14)
    return [np.flatnonzero(bins == b) for b in range(15)]


def classwise_error(labels, p, edges_of):
    """Mean over classes; the shares and probabilities of equal-width bins are scikit-learn's, compared below."""
    return np.mean([sum(len(rows) / len(labels) * abs((labels[rows] == c).mean() - p[rows, c].mean()) for rows in edges_of(p[:, c]) if len(rows))
                    for c in range(p.shape[1])])


def check_equal_width(labels, p):
    for c in range(p.shape[1]):
        bins = [rows for rows in equal_width(p[:, c]) if len(rows)]
        truth, mean = calibration.calibration_curve(labels == c, p[:, c], n_bins=15) if 0 < (labels == c).sum() < len(labels) else (None, None)
        if truth is not None:
            assert np.allclose(truth, [(labels[rows] == c).mean() for rows in bins], atol=1e-12)
            assert np.allclose(mean, [p[rows, c].mean() for rows in bins], atol=1e-12)


def temperature(labels, logits):
    """1 / root of the derivative of the mean negative log-likelihood in 1 / T."""

    def slope(beta):
        p = softmax(beta * logits)
        return ((p * logits).sum(axis=1) - logits[np.arange(len(labels)), labels]).mean()

    return 1 / optimize.brentq(slope, 0.01, 100, xtol=1e-14, rtol=1e-14) if slope(0.01) < 0 < slope(100) else nan


def classifier(out, name, labels, logits):
    classes, p = logits.shape[1], softmax(logits)
    predictions, every = p.argmax(axis=1), range(classes)
    put = lambda key, value: out.__setitem__(f"{name}.{key}", torch.as_tensor(np.asarray(value)))
    put("labels", labels)
    put("logits", logits)
    put("predictions", predictions)
    put("scalars", [
        metrics.accuracy_score(labels, predictions),
        metrics.balanced_accuracy_score(labels, predictions),
        metrics.f1_score(labels, predictions, average="macro", zero_division=0),
        metrics.matthews_corrcoef(labels, predictions),
        metrics.log_loss(labels, p, labels=list(every)),
        metrics.brier_score_loss(labels, p, labels=list(every), scale_by_half=False),
        calibration_error(labels, p, equal_mass),
        calibration_error(labels, p, equal_width),
        temperature(labels, logits),
        classwise_error(labels, p, equal_mass),
        classwise_error(labels, p, equal_width),
    ])
    check_equal_width(labels, p)
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(labels, predictions, labels=list(every), zero_division=nan)
    put("precision", precision)
    put("recall", recall)
    put("f1", f1)
    put("auroc", [attempt(lambda c=c: metrics.roc_auc_score(labels == c, p[:, c])) for c in every])
    put("auprc", [attempt(lambda c=c: metrics.average_precision_score(labels == c, p[:, c])) for c in every])
    macro = [nan, nan]
    if len(set(labels)) == classes:
        hot = np.eye(classes)[labels]
        macro = [metrics.roc_auc_score(hot, p, average="macro"), metrics.average_precision_score(hot, p, average="macro")]
        if classes > 2:
            assert abs(macro[0] - metrics.roc_auc_score(labels, p, multi_class="ovr", average="macro")) < 1e-12
    put("macro", macro)


def clusterings(out):
    def one(name, labels, clusters, classes, count):
        table = metrics.cluster.contingency_matrix(labels, clusters)
        rows, columns = optimize.linear_sum_assignment(table, maximize=True)
        out[f"{name}.labels"], out[f"{name}.clusters"] = torch.as_tensor(labels), torch.as_tensor(clusters)
        out[f"{name}.scores"] = torch.tensor([table[rows, columns].sum() / len(labels), metrics.normalized_mutual_info_score(labels, clusters),
                                              metrics.adjusted_rand_score(labels, clusters), classes, count], dtype=torch.float64)

    labels, _ = case("cluster", 250, 6)
    noisy = np.where(draw("cluster.noise", (250,)) < 0.4, (draw("cluster.other", (250,)) * 6).astype(np.int64), (labels + 2) % 6)
    one("cluster_noisy", labels, noisy, 6, 6)
    one("cluster_more", labels, (draw("cluster.more", (250,)) * 9).astype(np.int64), 6, 9)
    one("cluster_fewer", labels, labels // 2, 6, 3)
    one("cluster_perfect", labels, (labels + 1) % 6, 6, 6)
    one("cluster_one", labels, np.zeros(250, dtype=np.int64), 6, 6)
    one("cluster_constant", np.zeros(10, dtype=np.int64), np.zeros(10, dtype=np.int64), 2, 2)
    one("cluster_singletons", np.arange(6), (np.arange(6) + 1) % 6, 6, 6)


def rest(out):
    wilson = [(s, n, *stats.binomtest(s, n).proportion_ci(0.95, method="wilson")) for s, n in [(2, 3), (0, 10), (10, 10), (1, 1), (713, 1000)]]
    out["wilson"] = torch.tensor(wilson, dtype=torch.float64)
    pairs = [(0, 1), (3, 3), (2, 9), (0, 12), (40, 75), (500, 421)]
    out["mcnemar"] = torch.tensor([(a, b, stats.binomtest(a, a + b).pvalue) for a, b in pairs], dtype=torch.float64)
    values = draw("repeats", (25,))
    t = stats.t.ppf(0.975, 24)
    variance = values.var(ddof=1)
    low, high = stats.t.interval(0.95, 24, loc=values.mean(), scale=stats.sem(values))
    out["t_interval"] = torch.tensor([values.mean(), (high - low) / 2, t * np.sqrt(variance * (1 / 25 + 0.25))], dtype=torch.float64)
    out["quantiles"] = torch.tensor([np.quantile(values, q) for q in (0.0, 0.025, 0.5, 0.975, 1.0)], dtype=torch.float64)
    costs = draw("assignment", (40, 40))
    out["assignment"] = torch.as_tensor(optimize.linear_sum_assignment(costs)[1])


def main():
    out = {}
    for name, (labels, logits) in cases().items():
        classifier(out, name, labels, logits)
    clusterings(out)
    rest(out)
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "statistics.safetensors")
    save(path, out, versions() | {"scikit-learn": sklearn.__version__, "scipy": scipy.__version__})


main()
