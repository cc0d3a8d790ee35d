#!/usr/bin/env python3
"""clang-format and clang-tidy on the files that changed.

    tests/lint.py [--base REV | --all] [--build DIR] [--format-only] [--fix] [--jobs N] [--minutes M]

What changed: everything since REV, files not yet committed included. Without --base it is DINOXX_LINT_BASE, else where this branch left origin/main,
else the commit before the last. --all looks at every file (format takes seconds, tidy an hour). --fix lets clang-format rewrite.
--minutes: clang-tidy begins no further source after that time and says how many it left out (a merge of hundreds of files takes it an hour).
Exit code 0: nothing to say; 1: findings; 2: a tool or the list of compile commands is missing.
"""
import argparse
import concurrent.futures
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FOLDERS = ("src/", "data_pipeline/", "include/", "tests/", "cmake/")


def git(*arguments):
    done = subprocess.run(("git", "-C", ROOT) + arguments, capture_output=True, text=True)
    return done.stdout.split("\n") if done.returncode == 0 else None


def changed_since(base):
    if base is None:
        base = os.environ.get("DINOXX_LINT_BASE")
    if not base:
        head, fork = git("rev-parse", "HEAD"), git("merge-base", "HEAD", "origin/main")
        base = fork[0] if fork and fork[0] and fork[0] != head[0] else "HEAD~1"
    names = git("diff", "--name-only", "--diff-filter=d", base)
    if names is None:  # a repository of one commit
        return git("ls-files")
    return names + git("ls-files", "--others", "--exclude-standard")


def tool(name):
    path = shutil.which(name)
    if not path:
        print(f"lint: expected {name} on the PATH, found none. Install it (launch/setup.sh --tests).", file=sys.stderr)
        sys.exit(2)
    return path


def check_format(files, fix):
    command = [tool("clang-format"), "-i"] if fix else [tool("clang-format"), "--dry-run", "-Werror"]
    bad = []
    for name in files:
        done = subprocess.run(command + [name], cwd=ROOT, capture_output=True, text=True)
        if done.returncode != 0:
            first = done.stderr.split("\n")[0]
            bad.append(first or name)
    return bad


def without_precompiled(command):
    """The command as clang understands it: GCC's precompiled header becomes the header that it was made of."""
    words = command.split()
    while words and not re.search(r"(c\+\+|g\+\+|gcc|cc)(-\d+)?$", words[0]):
        words.pop(0)  # ccache and its environment
    out, skip = [], False
    for at, word in enumerate(words):
        if skip:
            skip = False
        elif word == "-include" and words[at + 1].endswith("cmake_pch.hxx"):
            out += ["-include", os.path.join(ROOT, "cmake", "torch_pch.hpp")]
            skip = True
        elif word not in ("-Winvalid-pch", "-fpch-preprocess"):
            out.append(word)
    return " ".join(out)


def check_tidy(files, build, jobs, minutes):
    listed = os.path.join(build, "compile_commands.json")
    if not os.path.exists(listed):
        print(f"lint: expected {listed}, found none. Configure first (cmake --preset release).", file=sys.stderr)
        sys.exit(2)
    with open(listed) as file:
        entries = json.load(file)
    wanted = {os.path.join(ROOT, name) for name in files if name.endswith(".cpp")}
    chosen = {}
    for entry in entries:
        if entry["file"] in wanted and entry["file"] not in chosen:
            chosen[entry["file"]] = {**entry, "command": without_precompiled(entry["command"])}
    program = tool("clang-tidy")
    bad, left_out = [], []
    end = time.monotonic() + 60 * minutes
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "compile_commands.json"), "w") as file:
            json.dump(list(chosen.values()), file)

        def run(name):
            if time.monotonic() > end:
                left_out.append(name)
                return []
            done = subprocess.run([program, "-p", folder, "--quiet", name], cwd=ROOT, capture_output=True, text=True)
            found = [line for line in done.stdout.split("\n") if re.search(r": (error|warning): ", line)]
            return found or ([done.stderr.strip()[-500:]] if done.returncode != 0 else [])

        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            for found in pool.map(run, sorted(chosen)):
                bad += found
    if left_out:
        print(f"clang-tidy: {minutes:g} minutes are over; {len(left_out)} sources are left out, from {os.path.relpath(min(left_out), ROOT)} on")
    return sorted(set(bad)), len(chosen) - len(left_out)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--build", default=os.path.join(ROOT, "build", "release"))
    parser.add_argument("--format-only", action="store_true")
    parser.add_argument("--fix", action="store_true")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--minutes", type=float, default=float("inf"))
    options = parser.parse_args()

    names = git("ls-files") if options.all else changed_since(options.base)
    files = sorted({name for name in names if name.startswith(FOLDERS) and re.search(r"\.(cpp|hpp|cu|cuh)$", name)})
    bad = check_format(files, options.fix)
    print(f"clang-format: {len(files)} files, {len(bad)} not in the project's format (tests/lint.py --fix mends them)")
    if not options.format_only:
        found, count = check_tidy(files, options.build, options.jobs, options.minutes)
        print(f"clang-tidy: {count} sources, {len(found)} findings")
        bad += found
    for line in bad:
        print("  " + line.replace(ROOT + "/", ""))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
