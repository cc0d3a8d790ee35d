#!/usr/bin/env python3
"""Whether two runs are one training but for rounding: compare.py RUN RUN STEP BOUND

Every loss and gradient norm of metrics.jsonl, by its size, and the teacher that was saved at STEP, heads included: the norm of the difference by the
norm of all its weights. Prints the largest of each; exit code 1 where one is above BOUND.
"""
import array
import json
import math
import pathlib
import struct
import sys


def metrics(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line for line in lines if "loss" in line}


def tensors(path):
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    for name, about in json.loads(data[8:8 + size]).items():
        if name == "__metadata__":
            continue
        assert about["dtype"] == "F32", (name, about)
        begin, end = about["data_offsets"]
        values = array.array("f")
        values.frombytes(data[8 + size + begin:8 + size + end])
        yield name, values


def main():
    one, other, step, bound = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    a, b = metrics(one), metrics(other)
    if not a or a.keys() != b.keys() or max(a) != step:
        sys.exit(f"{one} has steps {sorted(a)}, {other} has {sorted(b)}, expected 1 to {step}")
    figures = {}
    for key in ("loss", "grad_norm"):
        figures[key] = max(abs(a[s][key] - b[s][key]) / abs(a[s][key]) for s in a)
    file = f"checkpoints/step_{step:08}/teacher.safetensors"
    ours, theirs = dict(tensors(one / file)), dict(tensors(other / file))
    if not ours or ours.keys() != theirs.keys():
        sys.exit(f"{one} and {other} hold other tensors")
    apart = sum((x - y) ** 2 for name in ours for x, y in zip(ours[name], theirs[name], strict=True))
    figures["weights"] = math.sqrt(apart / sum(x * x for values in ours.values() for x in values))
    print(f"{one} {other}: " + ", ".join(f"{name} {value:.1e}" for name, value in figures.items()))
    if not all(value <= bound for value in figures.values()):  # NaN is not
        sys.exit(f"expected no more than {bound}")


if __name__ == "__main__":
    main()
