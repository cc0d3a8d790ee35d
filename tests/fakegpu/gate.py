#!/usr/bin/env python3
"""Runs dinoxx on the fake device and holds it to its budgets: see docs/gpu.md.

  gate.py BUILD recipe NAME RANKS     one row of budgets.csv: exit code 1 when a number is above its budget, or the recipe does not run
  gate.py BUILD case NAME             a run from start to end or a refusal, see cases.py
  gate.py BUILD recipes               every recipe of configs/ has a row
  gate.py BUILD prepare               data and teachers that the others need
  gate.py BUILD table                 the budgets as a table of Markdown
  gate.py BUILD update [NAME...]      measures all recipes, or these, and writes budgets.csv; a row that does not run becomes "fails"
  gate.py BUILD memory [missing]      what tensors hold at most on the device, for all rows and other sizes of network: writes memory.csv, which unit_plan reads
"""

import csv
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from cases import CASES
from recipes import ADAPTED, ANEW, BLOCKS, HEADS, MADE, STUDENTS, Recipe, all_recipes, reduced

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parent.parent
BUDGETS = HERE / "budgets.csv"
MEMORY = HERE / "memory.csv"
# Rows of memory.csv beside the recipes: recipe, ranks, options. Where these name no policy, each rank has all.
MORE_MEMORY = [
    ("dino_vits16", 1, ["--model.arch", "vit_base"]),
    ("dino_vits16", 1, ["--model.recompute", "block"]),
    ("dino_vits16", 1, ["--train.precision", "fp32"]),
    ("dinov3_vitl16_in1k", 1, ["--model.arch", "vit_base"]),
    ("dinov2_vitl16_short", 1, ["--model.arch", "vit_base"]),
    ("dinov2_vitl16_short", 1, ["--model.recompute", "block"]),
    ("dinov2_vitl16_short", 1, ["--model.drop_path", "0"]),
]
# What is computed again, and of which blocks; what ranks share.
RECOMPUTED = [["--model.recompute", part, "--model.recompute_every", str(every)] for part in ("attention", "block") for every in (1, 2, 3)]
MORE_MEMORY += [(name, 1, more) for name in ("dino_vits16", "dinov2_vitl16_short") for more in RECOMPUTED if more != ["--model.recompute", "block", "--model.recompute_every", "1"]]
SHARED = [["--parallel.sync", sync] for sync in ("zero1", "zero2", "zero3")] + [["--parallel.sync", "zero3", *more] for more in RECOMPUTED[:4:3]]
MORE_MEMORY += [(name, 2, more) for name in ("dino_vits16", "dinov2_vitl16_short") for more in SHARED]
# Logits of some rows at a time; prototypes that ranks share.
ROWS = ["--loss.rows_at_once", "512"]
MORE_MEMORY += [(name, 1, ROWS) for name in ("dino_vits16", "dinov2_vitl16_short", "dinov3_vitl16_in1k")]
MORE_MEMORY += [("dinov2_vitl16_short", 2, ["--parallel.sync", sync, "--head.shard_prototypes", "yes", *ROWS]) for sync in ("zero2", "zero3")]
GIGA = 1e9

# column, how a step's record gives it, digits behind the point
COLUMNS = [
    ("launches", lambda s: s["launches"], 0),
    ("products", lambda s: s["products"], 0),
    ("teraflop", lambda s: s["product_flops"] / 1e12, 2),
    ("waits", lambda s: s["stream_waits"] + s["event_waits"] + s["device_waits"], 0),
    ("to_device", lambda s: s["to_device"], 0),
    ("to_device_mb", lambda s: s["to_device_bytes"] / 1e6, 1),
    ("to_host", lambda s: s["to_host"], 0),
    ("on_device_mb", lambda s: s["on_device_bytes"] / 1e6, 1),
    ("allocations", lambda s: s["allocations"] + s["pinned_allocations"], 0),
    ("collectives", lambda s: s["collectives"], 0),
    ("collective_mb", lambda s: s["collective_bytes"] / 1e6, 1),
    ("peak_gb", lambda s: s["memory_peak"] / GIGA, 2),
]
# What may differ from run to run: blocks that the allocator gets back earlier or later. Factor and summand.
SLACK = {"peak_gb": (1.01, 0), "allocations": (1, 3)}
# Several recipes run over ranks as well.
RANKS = {"distill_students_32px": [4], "distill_dinov3_students": [2], "dinov3_vit7b16_high_resolution": [2], "dino_32px": [1, 2], "dinov2_32px": [1, 4], "ibot_32px": [1, 2], "simclr_32px": [1, 2], "byol_32px": [1, 2],
         "vicreg_32px": [1, 2], "swav_32px": [1, 2], "emp_ssl_32px": [1, 2],
         "simdinov2_32px": [1, 2], "visreg_32px": [1, 2], "fastsiam_32px": [1, 2]}


class Failure(Exception):
    pass


def steps_of(logs):
    """The records of the steps, rank by rank, each with the largest number of bytes so far that tensors held (not where several students run: their ranks have
    numbers of their own)."""
    of_ranks = [[record for record in map(json.loads, log.read_text().splitlines()) if "step" in record] for log in logs]
    held = [Path(str(log) + ".in_use") for log in logs]
    if all(path.exists() for path in held):
        for steps, path in zip(of_ranks, held):
            for record, bytes_held in zip(steps, path.read_text().split(), strict=True):
                record["in_use_peak"] = int(bytes_held)
    return of_ranks


class Gate:
    def __init__(self, build):
        self.build = Path(build).resolve()
        self.program = self.build / "tests/fakegpu/fakegpu_dinoxx"
        self.work = self.build / "tests/fakegpu/work"
        self.mpirun = os.environ.get("DINOXX_MPIRUN", "mpirun --allow-run-as-root --oversubscribe --bind-to none --mca mpi_yield_when_idle 1").split()

    def run(self, arguments, ranks=1, environment=(), timeout=600):
        """Exit code and output."""
        command = [str(self.program), *arguments]
        if ranks > 1:
            command = [*self.mpirun, "-n", str(ranks), *command]
        variables = dict(os.environ, OMP_NUM_THREADS="1", **dict(environment))
        done = subprocess.run(command, env=variables, cwd=SOURCE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=timeout)
        return done.returncode, done.stdout

    # ------------------------------------------------------------ what the runs begin with
    def prepare(self):
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(parents=True)
        code, text = self.run(["pack", "--toy", "textures", "--out", str(self.work / "data")])
        if code != 0:
            raise Failure("pack: exit code %d\n%s" % (code, text))
        for name in sorted(set(MADE.values())):
            self.make_teacher(name)
        for name in ADAPTED:
            self.train_one_step(name, ["--config", str(SOURCE / "configs" / (name + ".cfg")), *ANEW, "--train.length", "1it", "--train.batch_size", "4", "--optim.warmup", "0it"])

    def make_teacher(self, name):
        """A run of one step with a small backbone and the prototypes that the recipe expects."""
        text = (SOURCE / "configs" / (name + ".cfg")).read_text()
        config = self.work / (name + ".teacher.cfg")
        keep = [line for line in text.splitlines() if not line.startswith(("distill =", "length =", "method =", "batch_size =", "arch =", "lr =", "every =", "keep", "group_size", "decay =", "warmup"))]
        config.write_text("\n".join(keep).replace("[train]", "[train]\nmethod = %s\nlength = 1it\nbatch_size = 4" % ("dinov3" if "dinov3" in name else "dinov2")) + "\n")
        self.train_one_step(name, ["--config", str(config), "--model.arch", "vit_tiny", "--model.depth", "2", "--mask.group_size", "1", *HEADS.get(name, [])])

    def train_one_step(self, name, options):
        code, output = self.run(["train", *options, "--data", str(self.work / "data"), "--out", str(self.work / ("teacher_" + name)), "--train.device", "cuda", "--eval.every", "0"])
        if code != 0:
            raise Failure("teacher for %s: exit code %d\n%s" % (name, code, output))

    # ------------------------------------------------------------ measuring
    def steps(self, name, ranks, more=()):
        """The records of all steps, the largest of all ranks, number by number."""
        recipe = Recipe(SOURCE, name)
        with tempfile.TemporaryDirectory(dir=self.work) as folder:
            log = Path(folder) / "log"
            arguments = ["train", *recipe.arguments(ranks), "--data", str(self.work / "data"), "--out", str(Path(folder) / "run"), "--check", *more]
            if name in MADE:
                arguments += ["--teacher.distill", str(self.work / ("teacher_" + MADE[name]))]
            if name in ADAPTED:
                arguments += ["--model.init_from", str(self.work / ("teacher_" + name))]
            environment = {"FAKEGPU_LOG": str(log), "FAKEGPU_MEMORY_GB": "100000", "FAKEGPU_COPIED_BYTES": "1e6", "FAKEGPU_NCCL_BYTES": "65536"}
            code, output = self.run(arguments, ranks, environment)
            if code != 0:
                raise Failure("exit code %d of: dinoxx %s\n%s" % (code, " ".join(arguments), output[-3000:]))
            logs = [log] if ranks == 1 else [Path("%s.%d" % (log, rank)) for rank in range(ranks)]
            of_ranks = steps_of(logs)
        if not of_ranks[0]:
            raise Failure("no step was recorded: is train_step of program_hooks.cpp still the program's?")
        return [{key: max(rank[i][key] for rank in of_ranks) for key in step} for i, step in enumerate(of_ranks[0])]

    def in_use(self, name, ranks, more):
        """GB that tensors hold at most, at the recipe's depth."""

        def largest(*options):
            return max(step["in_use_peak"] for step in self.steps(name, ranks, [*more, *options])) / GIGA

        if name not in BLOCKS:
            return largest()
        first, second, whole = BLOCKS[name]
        low, high = (largest("--model.depth", str(depth)) for depth in (first, second))
        return low + (whole - first) / (second - first) * (high - low)

    def measured(self, name, ranks, more=()):
        """Of the second step at each resolution, the largest."""
        steady = self.steps(name, ranks, more)[1::2]
        return {column: max(value(step) for step in steady) for column, value, _ in COLUMNS}

    def row(self, name, ranks):
        if name in BLOCKS:
            first, second, whole = BLOCKS[name]
            low, high = (self.measured(name, ranks, ["--model.depth", str(depth)]) for depth in (first, second))
            values = {column: low[column] + (whole - first) / (second - first) * (high[column] - low[column]) for column in low}
            values["allocations"] = max(low["allocations"], high["allocations"])  # of a steady state: they do not grow
        else:
            values = self.measured(name, ranks)
        row = {"recipe": name, "ranks": ranks, "images": Recipe(SOURCE, name).arguments(ranks)[3]}
        for column, _, digits in COLUMNS:
            scale = 10**digits
            row[column] = math.ceil(values[column] * scale - 1e-6) / scale if digits else math.ceil(values[column] - 1e-6)
        row["reduced"] = reduced(name)
        return row


def read_budgets():
    if not BUDGETS.exists():
        return []
    with BUDGETS.open(newline="") as file:
        return list(csv.DictReader(file))


def write_budgets(rows):
    names = ["recipe", "ranks", "images", *(column for column, _, _ in COLUMNS), "reduced"]
    with BUDGETS.open("w", newline="") as file:
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(rows, key=lambda row: (row["recipe"], int(row["ranks"]))))


def above(row, budget):
    """What is above its budget, in words."""
    found = []
    for column, _, _ in COLUMNS:
        factor, more = SLACK.get(column, (1, 0))
        if row[column] > float(budget[column]) * factor + more:
            found.append("%s: %s, the budget is %s" % (column, row[column], budget[column]))
    return found


def check_recipe(gate, name, ranks):
    budgets = [budget for budget in read_budgets() if budget["recipe"] == name and int(budget["ranks"]) == ranks]
    if len(budgets) != 1:
        raise Failure("no row for %s on %d ranks in %s" % (name, ranks, BUDGETS))
    if budgets[0]["launches"] == "fails":
        raise Failure("%s is known not to run: see the issue" % name)
    row = gate.row(name, ranks)
    for column, value in row.items():
        print("%-14s %-12s %s" % (column, value, "budget " + budgets[0][column] if column in dict((c, 0) for c, _, _ in COLUMNS) else ""))
    found = above(row, budgets[0])
    if found:
        raise Failure("\n".join(["%s on %d ranks is above its budget:" % (name, ranks), *found, "If that is meant: tests/fakegpu/gate.py BUILD update %s" % name]))
    below = [column for column, _, _ in COLUMNS if row[column] < float(budgets[0][column])]
    if below:
        print("below the budget: %s. To hold it there: tests/fakegpu/gate.py BUILD update %s" % (", ".join(below), name))


def update(gate, names):
    rows = {(row["recipe"], int(row["ranks"])): row for row in read_budgets()}
    rows = {key: row for key, row in rows.items() if key[0] in all_recipes(SOURCE)}
    for name in names or all_recipes(SOURCE):
        for ranks in RANKS.get(name, [1]):
            try:
                rows[name, ranks] = gate.row(name, ranks)
                print("%s on %d" % (name, ranks), flush=True)
            except (Failure, subprocess.TimeoutExpired) as failure:
                print("%s on %d fails: %s" % (name, ranks, failure), flush=True)
                rows[name, ranks] = {"recipe": name, "ranks": ranks, "images": Recipe(SOURCE, name).images(), "reduced": "", **{column: "fails" for column, _, _ in COLUMNS}}
            write_budgets(rows.values())


def write_memory(gate, missing_only):
    rows = [(name, ranks, []) for name in all_recipes(SOURCE) if name not in STUDENTS for ranks in RANKS.get(name, [1])] + MORE_MEMORY
    known = {}
    if missing_only:
        with MEMORY.open(newline="") as file:
            known = {tuple(row[:4]): row for row in csv.reader(file)}
    aside = MEMORY.with_suffix(".new")  # a run that fails takes no row away
    with aside.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["recipe", "ranks", "images", "options", "reduced", "in_use_gb"])
        for name, ranks, more in rows:
            of_row = [name, str(ranks), Recipe(SOURCE, name).arguments(ranks)[3], " ".join(more)]
            writer.writerow(known.get(tuple(of_row)) or [*of_row, reduced(name), "%.3f" % gate.in_use(name, ranks, ["--parallel.sync", "ddp", *more] if "--parallel.sync" not in more else more)])
    aside.replace(MEMORY)


def check_rows():
    present = {(row["recipe"], int(row["ranks"])) for row in read_budgets()}
    wanted = {(name, ranks) for name in all_recipes(SOURCE) for ranks in RANKS.get(name, [1])}
    if present != wanted:
        raise Failure("budgets.csv: without a row %s; without a recipe %s" % (sorted(wanted - present), sorted(present - wanted)))
    print("%d rows, %d recipes" % (len(present), len(all_recipes(SOURCE))))


def print_table():
    names = [column for column, _, _ in COLUMNS]
    print("| recipe | ranks | images a step | " + " | ".join(names) + " | reduced |")
    print("|" + "---|" * (len(names) + 4))
    for row in read_budgets():
        print("| " + " | ".join([row["recipe"], row["ranks"], row["images"], *(row[name] for name in names), row["reduced"]]) + " |")


def print_comparison(old):
    """Of both tables, the numbers that say most; one number where nothing changed."""
    names = ["launches", "products", "waits", "to_device_mb", "on_device_mb", "allocations", "collectives", "peak_gb"]
    with open(old, newline="") as file:
        before = {(row["recipe"], row["ranks"]): row for row in csv.DictReader(file)}
    print("| recipe | ranks | images a step | " + " | ".join(names) + " |")
    print("|" + "---|" * (len(names) + 3))
    for row in read_budgets():
        was = before.get((row["recipe"], row["ranks"]), {})
        cells = [row[name] if was.get(name, row[name]) == row[name] else "%s → %s" % (was[name], row[name]) for name in names]
        print("| " + " | ".join([row["recipe"], row["ranks"], row["images"], *cells]) + " |")


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    gate, what = Gate(sys.argv[1]), sys.argv[2]
    try:
        if what == "recipe":
            check_recipe(gate, sys.argv[3], int(sys.argv[4]))
        elif what == "case":
            CASES[sys.argv[3]](gate)
        elif what == "recipes":
            check_rows()
        elif what == "prepare":
            gate.prepare()
        elif what == "memory":
            write_memory(gate, sys.argv[3:] == ["missing"])
        elif what == "table":
            print_table()
        elif what == "compare":
            print_comparison(sys.argv[3])
        elif what == "update":
            update(gate, sys.argv[3:])
        else:
            sys.exit(__doc__)
    except (Failure, AssertionError) as failure:
        sys.exit("gate: " + str(failure))


if __name__ == "__main__":
    main()
