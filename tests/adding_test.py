#!/usr/bin/env python3
"""Compares docs/adding.md with the code: the files that a part touches are counted, not remembered.

  adding_test.py SOURCE           exit code 1 with a line for each finding

A block of the page stands between <!-- example: PATTERN --> and <!-- end of example -->. PATTERN is a regular expression of names, each of which must not be part of a
longer word (an underscore ends a word). Every file below the rooms that has such a name in its text or its path must be listed in the block, in a row `| files | what |` or
below the table, and every file that is listed must have it. Rows may also name files of other rooms (docs, README.md), which have to be there.
"""
import fnmatch
import os
import pathlib
import re
import subprocess
import sys

ROOMS = ("src", "data_pipeline", "include", "configs", "tests")
PAGE = "docs/adding.md"
# This test names examples to talk about them.
ASIDE = ("tests/adding_test.py",)
BLOCK = re.compile(r"<!-- example: (.+?) -->\n(.*?)<!-- end of example -->", re.S)
PATH = re.compile(r"`((?:src|data_pipeline|include|configs|tests|docs|launch|cmake)/[^`\s]+|[A-Z][\w.]*\.(?:md|txt))`")
SUMMARY = re.compile(r"^\| \[[^\]]+\]\(#[^)]+\) \| [^|]+ \| (\d+) \|$", re.M)
PARTS = 10


def tracked(source):
    """Files of the rooms: git's, or all where there is no git."""
    done = subprocess.run(["git", "-C", source, "ls-files", "--cached", "--others", "--exclude-standard", *ROOMS], capture_output=True, text=True)
    if done.returncode == 0 and done.stdout:
        files = done.stdout.split("\n")[:-1]
    else:
        files = [os.path.relpath(os.path.join(folder, name), source) for room in ROOMS for folder, _, names in os.walk(source / room)
                 for name in names if "__pycache__" not in folder]
    return sorted(f for f in files if f not in ASIDE and (source / f).is_file())


def anchor(heading):
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


class Page:
    def __init__(self, source):
        self.source = source
        self.text = (source / PAGE).read_text(encoding="utf-8")
        self.files = tracked(source)
        self.content = {f: (source / f).read_text(encoding="latin-1") for f in self.files}
        self.findings = []

    def found(self, position, what):
        self.findings.append((self.text.count("\n", 0, position) + 1, what))

    def expand(self, path):
        if any(c in path for c in "*?["):
            return fnmatch.filter(self.files, path)
        return [path] if (self.source / path).exists() else []

    def paths(self):
        """Every file that the page names, of the rooms and beside them."""
        for match in PATH.finditer(self.text):
            path = match.group(1)
            if "NAME" not in path and "make_*" not in path and not self.expand(path):
                self.found(match.start(), f"names {path}, which is not there")

    def links(self):
        anchors = {anchor(h) for h in re.findall(r"^#+ (.+)$", self.text, re.M)}
        for match in re.finditer(r"\]\(([^)\s]+)\)", self.text):
            target = match.group(1)
            if target.startswith("#"):
                if target[1:] not in anchors:
                    self.found(match.start(), f"links to {target}, which is no heading of the page")
            elif "://" not in target and not (self.source / "docs" / target).exists():
                self.found(match.start(), f"links to {target}, which is not there")

    def example(self, match):
        """Number of files in the block's table."""
        pattern, block = match.group(1), match.group(2)
        # the bare names first: a pattern that begins with a letter is found many times faster than one that begins with a condition
        names = [(re.compile(name), re.compile(rf"(?<![A-Za-z0-9])(?:{name})(?![A-Za-z0-9])")) for name in pattern.split("|")]
        having = {f for f in self.files for text in (f, self.content[f]) if any(bare.search(text) and name.search(text) for bare, name in names)}
        rows = [line.split("|")[1] for line in block.split("\n") if line.startswith("| `")]
        in_table = [f for row in rows for path in PATH.findall(row) for f in self.expand(path)]
        below = [f for line in block.split("\n") if not line.startswith("|") for path in PATH.findall(line) for f in self.expand(path)]
        listed = {f for f in in_table + below if f.startswith(tuple(room + "/" for room in ROOMS))}
        if len(in_table + below) != len(set(in_table + below)):
            self.found(match.start(), f"the example {pattern} lists a file twice")
        for f in sorted(having - listed):
            self.found(match.start(), f"missing: {f} names the example {pattern} and is not listed. Add it to the table if a new part has to touch it, else below the table")
        for f in sorted(listed - having):
            self.found(match.start(), f"superfluous: {f} is listed and does not name the example {pattern}")
        return len(in_table)

    def examples(self):
        blocks = list(BLOCK.finditer(self.text))
        if len(blocks) != PARTS or self.text.count("<!-- example:") != PARTS:
            self.found(0, f"expected {PARTS} examples between their marks, found {len(blocks)}")
        counts = [self.example(block) for block in blocks]
        promised = [int(n) for n in SUMMARY.findall(self.text)]
        if promised != counts:
            self.found(0, f"the table on top says {promised} files, the tables of the parts have {counts}")
        return counts

    def cmake_names(self):
        """Names of tests and targets that CMake defines, loops unrolled."""
        names = set()
        for f in self.files:
            if not f.endswith((".cmake", "CMakeLists.txt")):
                continue
            text = re.sub(r"foreach\((\w+) ([^()]+)\)(.*?)endforeach\(\)",
                          lambda m: "".join(m.group(3).replace("${" + m.group(1) + "}", item) for item in m.group(2).split()), self.content[f], flags=re.S)
            names |= set(re.findall(r"(?:dinoxx_test|add_mpi_test|add_executable|add_test)\((?:NAME )?([\w]+)", text))
        return names

    def filters(self):
        """ctest -R and --target name tests and programs that CMake defines."""
        names = self.cmake_names()
        patterns = [w for m in re.finditer(r"-R '([^']+)'", self.text) for w in m.group(1).split("|")]
        whole = [w for m in re.finditer(r"--target ((?:[a-z][a-z_]+ ?)+)", self.text) for w in m.group(1).split()]
        whole += re.findall(r"`((?:unit|golden|mpi|integration|fault)_[a-z_]+)`", self.text)
        for word in sorted(set(patterns)):
            if not any(word in name for name in names):
                self.found(self.text.find(word), f"ctest -R {word} finds no test that CMake defines")
        for word in sorted(set(whole) - names):
            self.found(self.text.find(word), f"names the test or target {word}, which CMake does not define")

    def test_names(self):
        """Suite.Case of GoogleTest, in code marks."""
        for match in re.finditer(r"`([A-Z]\w+)\.([A-Z]\w+)`", self.text):
            suite, case = match.groups()
            if not any(re.search(rf"TEST(?:_[FP])?\({suite}, {case}\)", text) for text in self.content.values()):
                self.found(match.start(), f"names the test {suite}.{case}, which is not there")


def main():
    page = Page(pathlib.Path(sys.argv[1]).resolve())
    if len(page.files) < 500:
        sys.exit(f"expected the files of the project, found {len(page.files)}. Check the path.")
    page.paths()
    page.links()
    page.filters()
    page.test_names()
    counts = page.examples()
    for line, what in sorted(page.findings):
        print(f"{PAGE}:{line}: {what}")
    print(f"{len(counts)} parts, {sum(counts)} files in their tables, {len(page.files)} files searched: {len(page.findings)} findings.")
    sys.exit(1 if page.findings else 0)


if __name__ == "__main__":
    main()
