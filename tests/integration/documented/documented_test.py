#!/usr/bin/env python3
"""Runs the commands of README.md and docs: documented_test.py PROGRAM SOURCE_FOLDER MPIEXEC "MPI FLAGS" [PAGE:LINE|--list]

Every ```sh block is run as printed, with bash -e, in a folder that has what its words stand for: ~/photos and $CIFAR10 with images, ~/dinov2-small with a
DINOv2 file as transformers writes one, DATA, RUN, FILE and CONFIG. What differs from a user's machine: a training takes two steps of a network that is small
where nothing else says its size (keys behind what is printed), launch/local.sh starts one process, and an evaluation takes the newest checkpoint in the place
of a step that so short a run never reaches. What builds, installs, submits or tests is not run again: its scripts, configurations and targets must be there.

A form ([optional], this|that) is run with what it cannot do without. Every line of a page that is a command must have run here or stand in OTHERS or LEFT_OUT, with
the reason: --list prints these, and what is missing, and runs nothing.

Every `dinoxx COMMAND --option` inside a sentence, or in the form of a command ([optional], this|that), must be a command with that option.
"""
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib

PROGRAM, SOURCE, MPIEXEC, FLAGS = (os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2]), sys.argv[3], sys.argv[4])
ONLY = sys.argv[5] if len(sys.argv) > 5 else ""
PAGES = ["README.md", "CONTRIBUTING.md"] + sorted("docs/" + f for f in os.listdir(os.path.join(SOURCE, "docs")) if f.endswith(".md"))

# What stands behind the words dinoxx and launch/local.sh.
SHIM = r"""
import glob, os, re, subprocess, sys
PROGRAM, MPIEXEC, FLAGS = {program!r}, {mpiexec!r}, {flags!r}.split()
words = sys.argv[1:]
ranks = 1
if words[:1] == ["-n"]:
    ranks, words = int(words[1]), words[2:]
def newest(word):
    if not re.search(r"/checkpoints/(STEP|step_\d+)$", word) or os.path.exists(word): return word
    return sorted(glob.glob(os.path.join(os.path.dirname(word), "step_*")))[-1]
words = [newest(w) for w in words]
if words[0] == "eval":
    at = words.index("--checkpoint-step") if "--checkpoint-step" in words else -1
    if at >= 0: words[at:at + 2] = []
    words += ["--threads", "1"]
if words[0] == "pack" and "--count" in words:
    words[words.index("--count") + 1] = "96"
if words[0] == "train":
    batch = "12"
    given = {{}}
    if "--config" in words:
        section = ""
        for line in open(words[words.index("--config") + 1]):
            line = line.split("#")[0].strip()
            if line.startswith("["): section = line.strip("[]") + "."
            elif "=" in line: given[section + line.split("=")[0].strip()] = line.split("=", 1)[1].strip()
    given.update({{w[2:]: words[i + 1] for i, w in enumerate(words) if w.startswith("--") and "." in w and i + 1 < len(words)}})
    small = {{"train.length": "2it", "train.batch_size": batch, "train.log_every": "1", "checkpoint.every": "0", "eval.every": "0", "data.workers": "1",
             "train.threads": "1", "optim.warmup": "0", "optim.freeze_last_layer": "0"}}
    network = not any(word in " ".join(list(given.values()) + words) for word in ("resnet", "convnext")) and "model.init_from" not in given
    sizes = {{"model.dim": "32", "model.depth": "1", "model.heads": "2"}}
    small.update({{key: value for key, value in sizes.items() if network or "--" + key in words}})  # of a file's network those that are typed
    for key, value in given.items():
        if key in small: continue
        if re.fullmatch(r"[0-9.]+(it|ep|samples)", value) and not key.startswith("checkpoint."): small[key] = "1it" if key.startswith("gram.") or key == "optim.decay" else "0it"
        if key.startswith("head.") and key.endswith("out_dim"): small[key] = "64"
        if key.startswith("head.") and key.endswith(("hidden_dim", "bottleneck_dim")): small[key] = "16"
        if key.endswith(("_group", "group_size")): small[key] = batch
        if key == "train.precision": small[key] = "fp32"
    for key, value in small.items():
        while "--" + key in words: del words[words.index("--" + key):words.index("--" + key) + 2]
        words += ["--" + key, value]
start = [MPIEXEC, *FLAGS, "-n", str(ranks)] if "--students" in words else []
sys.exit(subprocess.call(start + [PROGRAM] + words))
"""

# Words whose work has tests of its own, or needs what a test has not; their files must be there.
OTHERS = {"cmake": "builds and installs the program that runs here; integration_install", "ctest": "runs the tests", "sbatch": "needs Slurm; integration_slurm_submit", "qsub": "needs PBS; integration_slurm_submit",
          "python3": "scripts for figures and comparisons by hand", "launch/setup.sh": "integration_setup", "launch/quickstart.sh": "sets up, builds, then runs what stands here",
          "launch/test.sh": "runs the tests", "launch/evaluate.sh": "integration_evaluate", "launch/cluster.sh": "needs several hosts; integration_train_hosts",
          "launch/slurm_submit.sh": "needs Slurm; integration_slurm_submit", "build/golden/bin/pip": "installs packages for golden values",
          "build/golden/bin/python": "writes golden values, which the golden tests read", "build/release/tests/unit/unit_method": "writes a page, which unit_method holds to the table"}
# Lines that are not run even so.
LEFT_OUT = {r"\bDAVIS\b": "needs DAVIS 2017, which has a licence of its own", r"build/\S*tests/bench/": "figures by hand; bench programs are built by every test run",
            r"--loss\.rows_at_once 256": "figures by hand; unit_losses holds what it computes",
            r"tests/golden/make_\w+\.py|build/tests/golden/|build/release/tests/golden/": "golden values; the golden tests read them", r"^tests/mutation\.py": "takes hours; unit_mutation",
            r"\bdata/(small|other)\b|\b(small|other)/train\b": "figures by hand, on a set that docs/small_sets.md makes",
            r"\bdata/cameras\b": "figures by hand, on a set that tests/bench/cameras.py draws; integration_guides",
            r"--labels? cat\b": "needs a list with these labels; integration_label_lists", r"^srun ": "needs Slurm", r"\bfirst-hour\b": "needs a CUDA build and a GPU; fakegpu_first_ten_minutes"}
OTHER_SHIM = r"""
import os, re, sys
parts = [re.sub(r":\d+$", "", part) for word in sys.argv[1:] for part in word.split(",")]
missing = [w for w in parts if w.split("/")[0] in ("launch", "configs", "tests") and "/" in w and not os.path.exists(w)]
if missing: sys.exit("no such file: " + " ".join(missing))
"""


def png(path, size, seed):
    rows = b"".join(b"\0" + bytes((seed * 37 + x * 5 + y * 11 + c * 50) % 256 for x in range(size) for c in range(3)) for y in range(size))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def script(path, body):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"#!{sys.executable}\n{body}")
    os.chmod(path, 0o755)


def run(command, **where):
    return subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, **where)


def must(command, **where):
    result = run(command, **where)
    if result.returncode != 0:
        sys.exit(f"preparation failed: {command}\n{result.stdout}")


class Place:
    """Where blocks run; what one leaves, the next ones find."""

    def __init__(self, folder):
        self.repo, self.home, self.bin = (os.path.join(folder, name) for name in ("repo", "home", "bin"))
        for made in (self.repo, self.home, self.bin):
            os.makedirs(made)
        for linked in ("configs", "tests", "docs"):
            os.symlink(os.path.join(SOURCE, linked), os.path.join(self.repo, linked))
        shim = SHIM.format(program=PROGRAM, mpiexec=MPIEXEC, flags=FLAGS)
        for path in ("build/release/bin/dinoxx", "launch/local.sh"):
            script(os.path.join(self.repo, path), shim)
        script(os.path.join(self.bin, "dinoxx"), shim)
        script(os.path.join(self.bin, "mpirun"), "import os, sys\nwords = sys.argv[1:]\nassert words[2] == 'dinoxx', words\n"
               f"os.execv({os.path.join(self.bin, 'dinoxx')!r}, ['dinoxx'] + words[:2] + words[3:])\n")
        for other in OTHERS:
            if other.startswith("launch/") and run(["bash", "-n", os.path.join(SOURCE, other)]).returncode != 0:
                sys.exit(f"{other} is no script")
            script(os.path.join(self.repo if "/" in other else self.bin, other), OTHER_SHIM)
        for name in os.listdir(os.path.join(SOURCE, "launch")):
            if not os.path.exists(os.path.join(self.repo, "launch", name)):
                shutil.copy(os.path.join(SOURCE, "launch", name), os.path.join(self.repo, "launch", name))
        self.environment = {"PATH": f"{self.bin}:{os.environ['PATH']}", "HOME": self.home, "CIFAR10": os.path.join(self.home, "cifar10"),
                            "OMP_NUM_THREADS": "1", "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
        self.fill()
        shutil.copytree(os.path.join(self.home, "photos"), os.path.join(self.repo, "FOLDER"))
        shutil.copy(os.path.join(self.home, "photos/cat/0.png"), os.path.join(self.repo, "IMAGE"))
        with open(os.path.join(self.repo, "PAIRS.json"), "w", encoding="utf-8") as pairs:
            pairs.write('[{"first": "FOLDER/cat/0.png", "second": "FOLDER/dog/0.png", "points": [[10, 10, 12, 12], [40, 40, 41, 44]]}]')

    def tidy(self, block):
        """RUN is a finished run for those who read it, and free for those who make it."""
        for name in re.findall(r"--out ([A-Z]+\d*)(?=\s|$)", block):
            shutil.rmtree(os.path.join(self.repo, name), ignore_errors=True)
        if re.search(r"dinoxx report DIR\b", block):
            shutil.rmtree(os.path.join(self.repo, "DIR"), ignore_errors=True)
            shutil.copytree(os.path.join(self.repo, "SOURCE"), os.path.join(self.repo, "DIR"))
        if not os.path.exists(os.path.join(self.repo, "RUN", "metrics.jsonl")) and not re.search(r"--out RUN(?=\s|$)", block):
            shutil.rmtree(os.path.join(self.repo, "RUN"), ignore_errors=True)
            shutil.copytree(os.path.join(self.repo, "SOURCE"), os.path.join(self.repo, "RUN"))

    def fill(self):
        for split, count in (("train", 24), ("test", 6)):
            for c, name in enumerate(("cat", "dog", "owl")):
                for i in range(count):
                    png(f"{self.home}/cifar10/{split}/{name}/{i}.png", 32, 100 * c + i + (50 if split == "test" else 0))
        for c, name in enumerate(("cat", "dog", "owl")):
            for i in range(20):
                png(f"{self.home}/photos/{name}/{i}.png", 80, 100 * c + i)
        where = {"cwd": self.repo, "env": self.environment}
        must([PROGRAM, "pack", "--toy", "textures", "--count", "96", "--out", "DATA"], **where)
        # a teacher of the configurations that name one, and a run for the words RUN and FILE
        must([os.path.join(self.bin, "dinoxx"), "train", "--config", "configs/dinov2_32px.cfg", "--data", "DATA", "--out", "run/dinov2_32px"], **where)
        must([os.path.join(self.bin, "dinoxx"), "train", "--config", "configs/dinov2_32px.cfg", "--data", "DATA", "--out", "SOURCE"], **where)
        must([PROGRAM, "weights", "export", "SOURCE", "--naming", "official", "--out", "FILE"], **where)
        shutil.copy(f"{SOURCE}/configs/dinov2_32px.cfg", f"{self.repo}/CONFIG")
        with open(f"{self.repo}/slurm-1.log", "w", encoding="utf-8") as log:
            log.write("start 1\n")
        # DINOv2: patch 14, no registers, positions of 37 x 37
        must([os.path.join(self.bin, "dinoxx"), "train", "--config", "configs/dinov2_64px.cfg", "--model.patch_size", "14", "--model.image_size", "518",
              "--views.global_size", "56", "--views.local_size", "28", "--data", "DATA", "--out", "PUBLISHED"], **where)
        must([PROGRAM, "weights", "export", "PUBLISHED", "--naming", "transformers", "--image-size", "224", "--out", f"{self.home}/dinov2-small"], **where)


def page_text(page):
    with open(os.path.join(SOURCE, page), encoding="utf-8") as file:
        return file.read()


def is_command(line):
    return re.match(r"(mpirun -n \d+ )?dinoxx [a-z]", line) is not None


def is_form(line):
    """A synopsis: [optional], this|that."""
    return re.search(r"[\[\]|<>]|\.\.\.", line.split("#")[0]) is not None


def least(form):
    """What a form cannot do without, the first of alternatives."""
    form, before = re.split(r"\s{3,}|\s+#", form.strip())[0], ""
    while form != before:
        form, before = re.sub(r"\s*\[[^\[\]]*\]", "", form), form
    return re.sub(r"(?<=\w)\|[\w.|]+", "", form).replace("...", "").rstrip()


def command_lines(page):
    """(line number, line) of all lines of a page that are commands, in blocks of any kind."""
    word = r"(?:[A-Z_]+=\S+ )*(?:dinoxx|mpirun|cmake|ctest|sbatch|srun|python3|launch/\S+|tests/\S+|build/\S+)(?: |$)"
    fenced = False
    for number, line in enumerate(page_text(page).splitlines(), 1):
        if line.startswith("```"):
            fenced = not fenced
        elif (fenced or line.startswith("    ")) and re.match(word, line.strip()):
            yield number, line.strip()


def uncovered(page):
    """Lines that nothing runs: (line number, line, reason or "")."""
    run_lines = {line.strip() for _, block in blocks(page) for line in block.splitlines()}
    for number, line in command_lines(page):
        if not any(run_line and line.startswith(run_line) for run_line in run_lines) and least(line) not in run_lines:
            yield number, line, next((why for pattern, why in LEFT_OUT.items() if re.search(pattern, line)),
                                     next((why for word, why in OTHERS.items() if line.startswith(word + " ")), ""))


def blocks(page):
    """(line, commands) of ```sh blocks, and of indented ones that begin with a command."""
    text = page_text(page)
    for match in re.finditer(r"```sh\n(.*?)```", text, re.S):
        yield text[:match.start()].count("\n") + 2, match.group(1)
    for match in re.finditer(r"(?:^    .*\S.*\n)+", re.sub(r"```.*?```", lambda m: "\n" * m.group(0).count("\n"), text, flags=re.S), re.M):
        lines = [re.split(r"\s{3,}(?!#)", line[4:].rstrip())[0] if is_command(line[4:]) else line[4:] for line in match.group(0).splitlines()]
        forms = [(at, line) for at, line in enumerate(match.group(0).splitlines()) if is_form(line) and is_command(line.strip()) and "DAVIS" not in line]
        if any(is_form(line) and is_command(line) for line in lines) or not re.match(r"for |(mpirun -n \d+ )?dinoxx ", lines[0]):
            lines = [line for line in lines if is_command(line) and not is_form(line) and "DAVIS" not in line]
        lines = [line for line in lines if "DAVIS" not in line]
        if lines:
            yield text[:match.start()].count("\n") + 1, "\n".join(lines) + "\n"
        for at, line in forms:  # behind the lines around them, which make what they read
            yield text[:match.start()].count("\n") + 1 + at, least(line) + "\n"


def named_commands(page):
    """(line, command, options) in sentences, and in every form."""
    text = page_text(page)
    found = [(m.start(), m.group(1), m.group(2)) for m in re.finditer(r"`dinoxx ([a-z]+)([^`]*)`", re.sub(r"```.*?```", lambda m: " " * len(m.group(0)), text, flags=re.S))]
    found += [(m.start(), m.group(1), m.group(2)) for m in re.finditer(r"^    (?:mpirun -n \d+ )?dinoxx ([a-z]+)(.*)$", text, re.M)]
    for at, command, rest in found:
        yield text[:at].count("\n") + 1, command, re.findall(r"--([a-z0-9][a-z0-9_.-]*)", rest.split("#")[0])


def main():
    findings, ran = [], 0
    for page in PAGES:
        for line, words, reason in uncovered(page):
            print(f"{page}:{line}: not run ({reason or 'no reason is known'}): {words}")
            if not reason:
                findings.append(f"{page}:{line}: this command is not run, and no reason is listed: {words}")
        if ONLY == "--list":
            for line, words in command_lines(page):
                for word, why in OTHERS.items():
                    if words.startswith(word + " "):
                        print(f"{page}:{line}: its files are looked for ({why}): {words}")
    if ONLY == "--list":
        for finding in findings:
            print("FOUND", finding)
        return 1 if findings else 0
    commands = set(re.findall(r"^  ([a-z]+) ", run([PROGRAM, "--help"]).stdout, re.M))
    help_of = {}
    for page in PAGES:
        for line, command, options in named_commands(page):
            if command not in commands:
                findings.append(f"{page}:{line}: there is no \"dinoxx {command}\"")
                continue
            if command not in help_of:
                help_of[command] = run([PROGRAM, command, "--help"]).stdout + ("" if command == "pack" else run([PROGRAM, "train", "--help"]).stdout)
            findings += [f"{page}:{line}: \"dinoxx {command}\" has no --{option}" for option in options
                         if not re.search(rf"--{re.escape(option)}\b", help_of[command])]
    with tempfile.TemporaryDirectory(prefix="dinoxx_documented_") as folder:
        place = Place(folder)
        before = ""
        for page in PAGES:
            before = before if page == "README.md" else ""
            for line, block in blocks(page):
                place_name = f"{page}:{line}"
                if ONLY and place_name != ONLY:
                    continue
                place.tidy(block)
                result = run(["bash", "-ec", before + block], cwd=place.repo, env=place.environment)
                ran += 1
                if page == "README.md":  # names that an earlier block has set
                    before += "".join(l + "\n" for l in block.splitlines() if re.match(r"\w+=\S+$", l))
                print(f"{place_name}: {'runs' if result.returncode == 0 else 'FAILS'}", flush=True)
                if result.returncode != 0:
                    findings.append(f"{place_name}: exit code {result.returncode}")
                    print(f"{block}\n{result.stdout[-3000:]}", flush=True)
    for finding in findings:
        print("FOUND", finding)
    if ran == 0:
        findings.append("no block ran")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
