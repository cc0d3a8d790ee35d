#!/usr/bin/env python3
"""Do the tests notice? Plants the edits of mutation_edits.py, one at a time, into a copy of the checkout, builds what the tests need, runs those that
should notice, and says which did.

  tests/mutation.py --list                      the edits, their places and tests
  tests/mutation.py --check [--build DIR]       only: each text occurs once, each edit changes it; with a build folder: its tests are there
  tests/mutation.py --only NAME [NAME ...]      these edits; without --only all of them
  tests/mutation.py --first                     an edit is done with at the first label that notices it: unit, then golden, then the others
  tests/mutation.py --out docs/mutation.md      the table as Markdown as well, there in its place

The copy is of the last commit (what is not committed is not in it), with a build folder of its own, in a temporary folder that is removed; with ccache
its first build is short. --work FOLDER keeps copy and build for the next call. The tests must pass there before anything is planted.
A test that fails only by its time limit is named with it: on a machine that does other work that says little.
Exit code: 0 all edits were noticed, 1 some were not, 2 an edit does not apply or does not build, or the tests fail without one.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import NamedTuple

sys.dont_write_bytecode = True  # the list stands in the checkout
from mutation_edits import EDITS, Edit  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("src", "data_pipeline", "include")
SUFFIXES = {".cpp", ".hpp", ".h", ".cu", ".cuh", ".inl"}
BEGIN, END = "<!-- table of mutation.py: begin -->", "<!-- table of mutation.py: end -->"


class Refusal(Exception):
    """What the user has to mend: exit code 2."""


# ---------------------------------------------------------------------------------------------------------------------------------- edits


def sources(root):
    """{path: text} of all sources that an edit may be in."""
    files = (f for folder in FOLDERS for f in sorted((root / folder).rglob("*")) if f.suffix in SUFFIXES)
    return {f: f.read_text(encoding="utf-8") for f in files}


def place(edit, texts):
    """The one file that has the text of `edit`. Refusal otherwise."""
    found = {path: text.count(edit.find) for path, text in texts.items() if edit.find in text}
    if sum(found.values()) != 1:
        where = ", ".join(f"{path.name} ({count})" for path, count in found.items()) or "no file"
        raise Refusal(f"{edit.name}: expected its text exactly once below {', '.join(FOLDERS)}, found it in {where}. "
                      f"Mend `find` in tests/mutation_edits.py: {edit.find!r}")
    return next(iter(found))


def place_text(edit, texts, root):
    path = place(edit, texts)
    line = texts[path].count("\n", 0, texts[path].index(edit.find)) + 1
    return f"{path.relative_to(root)}:{line}"


def check(edits, texts, tests=None):
    """What is wrong with the list, one line each. `tests`: names that there are; None: not looked at."""
    wrong = []
    names = [edit.name for edit in edits]
    wrong += [f"{name}: the name of two edits" for name in sorted(set(names)) if names.count(name) > 1]
    for edit in edits:
        try:
            place(edit, texts)
        except Refusal as refusal:
            wrong.append(str(refusal))
        if edit.replace == edit.find:
            wrong.append(f"{edit.name}: the replacement changes nothing")
        try:
            if tests is not None and not any(re.search(edit.tests, test) for test in tests):
                wrong.append(f"{edit.name}: expected the name of a test, found none for the regular expression {edit.tests}")
        except re.error as error:
            wrong.append(f"{edit.name}: {edit.tests} is no regular expression: {error}")
    return wrong


# ----------------------------------------------------------------------------------------------------------------------------- build, tests


def run(command, log, **options):
    """The exit code of `command`; its output goes to the end of the file `log`."""
    with open(log, "a", encoding="utf-8") as out:
        print("+", " ".join(map(str, command)), file=out, flush=True)
        return subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, check=False, **options).returncode


def tests_of(build):
    """{test: files of the build folder that its command names}, from CMake's own lists: ctest tells of programs only once they are built."""
    tests = {}
    for listing in build.rglob("CTestTestfile.cmake"):
        for name, command in re.findall(r"^add_test\(\[=*\[(.*?)\]=*\] (.*)\)$", listing.read_text(encoding="utf-8"), re.M):
            words = re.findall(r'"((?:[^"\\]|\\.)*)"', command)
            inside = {w for w in words if w.startswith(f"{build}/") and Path(w).name != "CTestTestfile.cmake" and not Path(w).is_dir()}
            tests[name] = {os.path.relpath(w, build) for w in inside}
    return tests


class Outcome(NamedTuple):
    passed: list
    failed: list  # with the time limit or the signal noted


class Copy:
    """A clone of the last commit with a build folder."""

    def __init__(self, folder, options):
        # the build folder where the preset has it, so that the commands are those of any other checkout and ccache serves them
        self.tree, self.log = folder / "tree", folder / "mutation.log"
        self.build = self.tree / "build" / "release"
        self.jobs, self.configure_options, self.limit = options.jobs, options.cmake, options.tests or ""
        folder.mkdir(parents=True, exist_ok=True)
        self.log.write_text("", encoding="utf-8")
        commit = git(ROOT, "rev-parse", "HEAD")
        if not (self.tree / ".git").exists():
            git(ROOT, "clone", "--quiet", "--shared", "--no-checkout", str(ROOT), str(self.tree))
        git(self.tree, "fetch", "--quiet", str(ROOT), commit)
        git(self.tree, "checkout", "--quiet", "--force", "--detach", commit)
        self.texts = sources(self.tree)

    def configure(self):
        # CUDA needs no second compilation here: no edit is in a file that only nvcc sees
        command = ["cmake", "--preset", "release", "-B", str(self.build), "-DDINOXX_CUDA=OFF", *self.configure_options]
        if run(command, self.log, cwd=self.tree) != 0:
            raise Refusal(f"the copy cannot be configured; {last_lines(self.log)}")
        self.tests = tests_of(self.build)

    def chosen(self, expression):
        return sorted(test for test in self.tests if re.search(expression, test) and re.search(self.limit, test))

    def build_for(self, tests):
        """Whether all that these tests run could be built."""
        targets = sorted(set().union(*(self.tests[test] for test in tests)))
        return not targets or run(["cmake", "--build", str(self.build), f"-j{self.jobs}", "--target", *targets], self.log) == 0

    def test(self, tests):
        names = "^(" + "|".join(map(re.escape, tests)) + ")$"
        report = self.build / "mutation.xml"
        report.unlink(missing_ok=True)
        before = self.log.stat().st_size
        run(["ctest", "--test-dir", str(self.build), "-j", str(self.jobs), "--output-on-failure", "--output-junit", str(report), "-R", names], self.log)
        # the report has no word for a time limit or a signal; the summary at the end of ctest's text does
        text = self.log.read_bytes()[before:].decode(errors="replace").rpartition("The following tests FAILED:")[2]
        how = dict(re.findall(r"^\s+\d+ - (\S+) \((.+)\)$", text, re.M))
        if not report.exists():
            raise Refusal(f"ctest left no report; {last_lines(self.log)}")
        outcome = Outcome([], [])
        for case in ElementTree.parse(report).getroot().iter("testcase"):
            said = " ".join(part.get("message", "") for part in case if part.tag in ("failure", "skipped"))
            if case.get("status") == "run":
                outcome.passed.append(case.get("name"))
            elif not said.startswith("SKIP_"):  # a test that skips itself has no verdict
                word = {"Failed": "", "Timeout": " (time limit)"}.get(how.get(case.get("name"), "Failed"), f" (died: {how.get(case.get('name'))})")
                outcome.failed.append(case.get("name") + word)
        return outcome

    def plant(self, edit):
        path = place(edit, self.texts)
        path.write_text(self.texts[path].replace(edit.find, edit.replace), encoding="utf-8")

    def restore(self, edit):
        path = place(edit, self.texts)
        path.write_text(self.texts[path], encoding="utf-8")


def git(where, *words):
    done = subprocess.run(["git", "-C", str(where), *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Refusal(f"git {' '.join(words[:2])} failed: {done.stderr.strip()}")
    return done.stdout.strip()


# ---------------------------------------------------------------------------------------------------------------------------------- results


class Verdict(NamedTuple):
    edit: Edit
    place: str
    word: str  # caught, missed, does not build
    by: list
    seconds: float


def table(verdicts, commit):
    caught = sum(v.word == "caught" for v in verdicts)
    lines = [f"Commit {commit}: {len(verdicts)} single edits, {caught} caught, {sum(v.word == 'missed' for v in verdicts)} missed.", "",
             "| edit | place | what a user would lose | verdict | by |", "|---|---|---|---|---|"]
    lines += [f"| {v.edit.name} | {v.place} | {v.edit.why} | {v.word if v.word == 'caught' else f'**{v.word}**'} | {', '.join(v.by)} |" for v in verdicts]
    return "\n".join(lines) + "\n"


def write_table(path, text):
    """Into the place for it, where the file has one (docs/mutation.md); else the file is the table."""
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    if BEGIN in before and END in before:
        text = before[:before.index(BEGIN)] + f"{BEGIN}\n{text}" + before[before.index(END):]
    path.write_text(text, encoding="utf-8")


def in_order(tests):
    """The tests by label, the quick ones first: unit, golden, the others."""
    groups = [[], [], []]
    for test in tests:
        groups[{"unit": 0, "golden": 1}.get(test.split("_")[0], 2)].append(test)
    return [group for group in groups if group]


def judge(copy, edit, first):
    begin = time.monotonic()
    where, tests, failed = place_text(edit, copy.texts, copy.tree), copy.chosen(edit.tests), []
    copy.plant(edit)
    try:
        for group in in_order(tests) if first else [tests]:
            if not copy.build_for(group):
                return Verdict(edit, where, "does not build", [], time.monotonic() - begin)
            failed = copy.test(group).failed
            if failed:
                break
    finally:
        copy.restore(edit)
    return Verdict(edit, where, "caught" if failed else "missed", failed, time.monotonic() - begin)


def plant_all(edits, options, folder):
    copy = Copy(folder, options)
    if git(ROOT, "status", "--porcelain", "--untracked-files=no", "--", *FOLDERS, "tests"):
        print("note: there are changes that are not committed; the copy does not have them", flush=True)
    begin = time.monotonic()
    copy.configure()
    wrong = check(edits, copy.texts, copy.tests)
    if wrong:
        raise Refusal("\n".join(wrong))
    needed = sorted({test for edit in edits for test in copy.chosen(edit.tests)})
    none = [edit.name for edit in edits if not copy.chosen(edit.tests)]
    if none:
        raise Refusal(f"--tests: expected tests of each edit, found none of {', '.join(none)}")
    print(f"without an edit: building and running {len(needed)} tests", flush=True)
    if not copy.build_for(needed):
        raise Refusal(f"the copy does not build without an edit; {last_lines(copy.log)}")
    outcome = copy.test(needed)
    if outcome.failed or not outcome.passed:
        raise Refusal(f"expected all tests to pass without an edit, found failures of {', '.join(outcome.failed) or 'all'}; {last_lines(copy.log)}")
    print(f"  all pass ({time.monotonic() - begin:.0f} s)", flush=True)
    verdicts = []
    for edit in edits:
        verdict = judge(copy, edit, options.first)
        verdicts.append(verdict)
        print(f"{edit.name}: {verdict.word}{' by ' if verdict.by else ''}{', '.join(verdict.by)} ({verdict.seconds:.0f} s)", flush=True)
        if verdict.word == "does not build":
            print(last_lines(copy.log), flush=True)
    text = table(verdicts, git(ROOT, "rev-parse", "--short", "HEAD"))
    print("\n" + text, end="")
    if options.out:
        write_table(Path(options.out), text)
    words = {verdict.word for verdict in verdicts}
    return 2 if "does not build" in words else 1 if "missed" in words else 0


def last_lines(log, count=25):
    return f"the end of {log}:\n" + "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-count:])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="print the edits")
    parser.add_argument("--check", action="store_true", help="check the list, plant nothing")
    parser.add_argument("--build", type=Path, help="with --check: a build folder, whose tests are looked up")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these edits")
    parser.add_argument("--first", action="store_true", help="stop at the first label that notices an edit")
    parser.add_argument("--tests", metavar="REGEX", help="only those of an edit's tests whose names match")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="of compiler and tests; all cores")
    parser.add_argument("--cmake", action="append", default=[], metavar="-DKEY=VALUE", help="for the copy's configuration (--cmake=-DTORCH_ROOT=...)")
    parser.add_argument("--work", type=Path, help="a folder for copy and build, which stay")
    parser.add_argument("--out", help="a file for the table")
    options = parser.parse_args()
    edits = EDITS
    if options.only:
        unknown = sorted(set(options.only) - {edit.name for edit in EDITS})
        if unknown:
            raise Refusal(f"--only: expected names of --list, found {', '.join(unknown)}")
        edits = [edit for edit in EDITS if edit.name in options.only]
    if options.list or options.check:
        texts = sources(ROOT)
        wrong = check(edits, texts, None if options.build is None else tests_of(options.build.resolve()))
        if options.list:
            for edit in edits:
                broken = any(line.startswith(edit.name + ":") for line in wrong)
                print(f"{edit.name}\n  {'does not apply' if broken else place_text(edit, texts, ROOT)}\n  {edit.tests}\n  {edit.why}")
        if wrong:
            raise Refusal("\n".join(wrong))
        print(f"{len(edits)} edits apply")
        return 0
    if options.work:
        return plant_all(edits, options, options.work.resolve())
    folder = Path(tempfile.mkdtemp(prefix="dinoxx_mutation_"))
    try:
        return plant_all(edits, options, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Refusal as refusal:
        print(refusal, file=sys.stderr)
        sys.exit(2)
