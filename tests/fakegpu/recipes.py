"""The recipes of configs/ as the gate runs them: on one rank, or a few, with the images of one rank of the documented command."""

import re
from pathlib import Path

# Networks that a machine without a GPU builds with few blocks only: (two depths, the recipe's own). What is measured grows with each block by the same amount, and
# the table has the value at the recipe's depth.
BLOCKS = {
    "dinov2_vitg14": (4, 8, 40),
    "dinov2_vitl14": (4, 8, 24),
    "dinov2_vitl14_high_resolution": (4, 8, 24),
    "dinov3_vit7b16_gram": (2, 4, 40),
    "dinov3_vit7b16_high_resolution": (1, 2, 40),
    "dinov3_vit7b16_pretrain": (2, 4, 40),
}
# Stages and distillations begin with a run that is not there: the gate makes a small one (MADE), or the recipe begins anew.
MADE = {
    "distill_32px": "distill_32px",
    "distill_features_32px": "distill_32px",
    "distill_64px": "distill_64px",
    "distill_224px": "distill_224px",
    "distill_vits14": "distill_vits14",
    "distill_students_32px": "distill_32px",
    "distill_dinov3_students": "distill_dinov3_students",
}
# Those that go on from a published file begin with one that the gate makes, and all of the network learns from the first step on.
ADAPTED = ["adapt_dino", "adapt_dinov2", "adapt_dinov3"]
ANEW = ["--model.init_from", "", "--init.heads_only", "0it", "--init.unfreeze", "0it", "--init.anchor", "0", "--teacher.hold_backbone", "0it"]
HEADS = {"distill_dinov3_students": ["--head.out_dim", "4096", "--head.hidden_dim", "2048", "--head.patch_out_dim", "4096", "--head.patch_hidden_dim", "2048"],
         "distill_vits14": ["--head.out_dim", "4096", "--head.patch_out_dim", "4096"]}
OVERRIDES = {
    "dinov2_vitl14_high_resolution": ["--model.init_from", ""],
    "dinov3_vit7b16_gram": ["--model.init_from", "", "--gram.teacher", "", "--gram.first", "1it", "--gram.start", "1it", "--gram.ramp", "0it"],
    "dinov3_vit7b16_high_resolution": ["--model.init_from", "", "--gram.teacher", "", "--gram.first", "1it", "--gram.start", "1it", "--gram.ramp", "0it"],
    **HEADS,
    **{name: ["--init.heads_only", "0it", "--init.unfreeze", "0it"] for name in ADAPTED},
}
# Several students in one job: which, and on how many ranks.
STUDENTS = {
    "distill_students_32px": "configs/students/vit_tiny.cfg:1,configs/students/vit_small.cfg:3",
    "distill_dinov3_students": "configs/students/vits16.cfg:1,configs/students/vitb16.cfg:1",
}
IMAGES = {"distill_dinov3_students": 40, "distill_students_32px": 240}  # of all ranks there


def reduced(name):
    """What the gate changes in the recipe beside the number of ranks, in words."""
    words = []
    if name in BLOCKS:
        words.append("%d and %d of %d blocks" % BLOCKS[name])
    if name in HEADS:
        words.append("4096 prototypes")
    if name in ADAPTED:
        words.append("weights made for the test, all learn")
    if name in MADE:
        words.append("a teacher made for the test")
    return ", ".join(words)


class Recipe:
    def __init__(self, source, name):
        self.name = name
        self.path = Path(source) / "configs" / (name + ".cfg")
        text = self.path.read_text()
        self.ranks = int(re.search(r"^#\s+mpirun -n (\d+)", text, re.M).group(1))
        self.batch = int(re.search(r"^batch_size\s*=\s*(\d+)", text, re.M).group(1))

    def images(self):
        """Images of one rank in the documented command."""
        return self.batch // self.ranks

    def arguments(self, ranks):
        batch = IMAGES.get(self.name, self.images() * ranks)
        words = ["--config", str(self.path), "--train.batch_size", str(batch), "--train.device", "cuda", "--checkpoint.keep", "1", *OVERRIDES.get(self.name, [])]
        if self.name in STUDENTS:
            words += ["--students", STUDENTS[self.name]]
        return words


def all_recipes(source):
    return sorted(path.stem for path in (Path(source) / "configs").glob("*.cfg"))
