"""Writes data/masks.safetensors: statistics of the masks of dinov2, dinov3 and ibot on several grids, for masks_test.cpp, which compares its own with them.

    python make_masks.py DINOV2 DINOV3 IBOT      (checkouts: b8931f7, 6876159, da316d8)

Of each case: how many patches are masked (mean and variance), how many pairs of neighbours are masked together, how often each patch is.
"""
import argparse
import importlib.util
import os
import random

import numpy as np
import torch

from golden_common import save, versions

SAMPLES = 6000
# kind, rows, columns, ratio
CASES = [("dinov2", 14, 14, 0.3), ("dinov2", 16, 16, 0.5), ("dinov2", 4, 4, 0.5), ("dinov2", 2, 2, 0.5), ("dinov2", 6, 9, 0.1),
         ("dinov3", 14, 14, 0.3), ("dinov3", 4, 4, 0.5), ("dinov3", 2, 2, 0.75), ("ibot-block", 14, 14, 0.3), ("ibot-block", 4, 4, 0.4),
         ("ibot-random", 6, 9, 0.31)]


def load(path, name):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ibot_masks(ibot, rows, columns, ratio, shape):
    """The masks that ibot's data set gives an image whose patches are single pixels."""
    class Source(ibot.ImageFolderMask):
        def __init__(self):
            self.psz, self.pred_ratio, self.pred_ratio_var, self.pred_shape = 1, ratio, 0, shape
            self.log_aspect_ratio = tuple(np.log([0.3, 1 / 0.3]))
    base = ibot.ImageFolderMask.__mro__[1]
    base.__getitem__ = lambda self, index: ([torch.zeros(3, rows, columns)],)
    source = Source()
    return lambda: source[0][-1][0]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("dinov2", "dinov3", "ibot"):
        parser.add_argument(name, help=f"checkout of {name}")
    args = parser.parse_args()
    generators = {v: load(os.path.join(getattr(args, v), v, "data/masking.py"), v) for v in ("dinov2", "dinov3")}
    ibot = load(os.path.join(args.ibot, "loader.py"), "ibot_loader")
    random.seed(5)
    np.random.seed(5)
    out = {}
    for number, (kind, rows, columns, ratio) in enumerate(CASES):
        if kind.startswith("ibot"):
            make = ibot_masks(ibot, rows, columns, ratio, "block" if kind == "ibot-block" else "rand")
        else:
            generator = generators[kind].MaskingGenerator((rows, columns), max_num_patches=0.5 * rows * columns)
            make = lambda: generator(int(rows * columns * ratio))
        masks = np.stack([make() for _ in range(SAMPLES)]).astype(np.float64)
        counts = masks.sum((1, 2))
        pairs = (masks[:, 1:] * masks[:, :-1]).sum((1, 2)) + (masks[:, :, 1:] * masks[:, :, :-1]).sum((1, 2))
        print(kind, rows, columns, ratio, counts.mean(), counts.max(), pairs.mean())
        out[f"{number}/kind"] = torch.tensor(["dinov2", "dinov3", "ibot-block", "ibot-random"].index(kind))
        out[f"{number}/grid"] = torch.tensor([rows, columns, SAMPLES])
        out[f"{number}/ratio"] = torch.tensor([ratio], dtype=torch.float64)
        out[f"{number}/count"] = torch.tensor([counts.mean(), counts.var(), counts.max()], dtype=torch.float64)
        out[f"{number}/pairs"] = torch.tensor([pairs.mean(), pairs.var()], dtype=torch.float64)
        out[f"{number}/share"] = torch.from_numpy(masks.mean(0))
    meta = versions() | {"source": "facebookresearch dinov2, dinov3; bytedance/ibot", "made_by": "tests/golden/make_masks.py"}
    save(os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "masks.safetensors"), out, meta)


if __name__ == "__main__":
    main()
