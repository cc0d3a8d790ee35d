#!/usr/bin/env python3
"""Options and keys that texts of the program name are there: advice_test.py PROGRAM SOURCE_FOLDER

Looked at is every string literal of the program's sources, also what several literals in a row make together:
  --option          must be an option of some command, or a key of the configuration; behind "dinoxx COMMAND" in the same sentence, one of that command
  section.key       inside a sentence, must be a key of the configuration
  dinoxx COMMAND    must be a command
What the program has comes from its own --help and --print-config.
"""
import os
import re
import subprocess
import sys

PROGRAM, SOURCE = os.path.abspath(sys.argv[1]), sys.argv[2]
ROOMS = ("src", "data_pipeline", "include")
STYLE = "style.hpp"  # the style sheet of pages has names like --bg, and text of pages var(--bg)
# Endings of files and of tensors' names, which look like keys behind the name of a section.
NO_KEY = r"(safetensors|json|jsonl|h5|csv|cfg|html|npy|png|jpg|pt|pth|pkl|py|md|weight|bias)\b"
# What stands for any option, and what other programs have behind their names.
ANY = {"name", "section.key", "version"}
OTHERS = re.compile(r"(?:launch/\w+\.sh|srun|sbatch|mpirun|git|ulimit) (--[\w-]+)")

LITERAL = re.compile(r'R"(?P<mark>\w*)\((?P<raw>.*?)\)(?P=mark)"|"(?P<plain>(?:[^"\\\n]|\\.)*)"|//[^\n]*|/\*.*?\*/|\'(?:[^\'\\\n]|\\.)+\'', re.S)
ESCAPES = {r"\n": "\n", r"\"": '"', r"\\": "\\", r"\t": "\t"}


def literals(text):
    """Line and text of each string literal; those with nothing but blanks between them are one."""
    found, end = [], None
    for match in LITERAL.finditer(text):
        raw, plain = match.group("raw"), match.group("plain")
        if raw is None and plain is None:
            if end is not None and not text[end:match.start()].strip():
                end = match.end()  # a comment between two literals
            continue
        value = raw if raw is not None else re.sub(r"\\.", lambda m: ESCAPES.get(m.group(), " "), plain)
        if end is not None and not text[end:match.start()].strip():
            found[-1] = (found[-1][0], found[-1][1] + value)
        else:
            found.append((text.count("\n", 0, match.start()) + 1, value))
        end = match.end()
    return found


def answer(*words):
    return subprocess.run([PROGRAM, *words], capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}).stdout


def options_in(text):
    return {name.rstrip(".") for name in re.findall(r"^  (?:-\w \[ )?--([a-z][\w.-]*)", text, re.M)}


commands = re.findall(r"^  ([a-z]+) ", answer("--help").split("Commands, ")[1], re.M)
options = {command: options_in(answer(command, "--help")) for command in commands}
options["propagate"].add("toy")  # a form of its own, read before the options
keys, section = set(), ""
for line in answer("train", "--print-config").splitlines():
    if match := re.match(r"\[(\w+)\]", line):
        section = match.group(1)
    elif match := re.match(r"#?\s*(\w+) =", line):
        keys.add(f"{section}.{match.group(1)}")
sections = sorted({key.split(".")[0] for key in keys})
every = set().union(*options.values()) | keys | ANY
if len(commands) < 10 or len(keys) < 100 or any(len(own) < 2 for own in options.values()):
    sys.exit(f"expected the commands, options and keys of the program, found {len(commands)} commands, {len(keys)} keys, {[len(o) for o in options.values()]} options")


def faults_of(text):
    for script, option in re.findall(r"launch/(\w+\.sh) (--[\w-]+)", text):
        with open(os.path.join(SOURCE, "launch", script), encoding="utf-8") as stream:
            if option not in stream.read():
                yield f"launch/{script} has no {option}"
    text = re.sub(r"var\(--", "", OTHERS.sub("", text))
    for match in re.finditer(r"(?<![\w-])--([a-z][\w.-]*)", text):
        name = match.group(1).rstrip("-.")
        group = match.group(1).endswith(".") and any(other.startswith(name + ".") for other in every)  # "--model." and what stands behind it
        if name not in every and not group:
            yield f"no command has --{name}"
    for match in re.finditer(r"dinoxx ([a-z]+)\b([^.;\"\n]*(?:\.\w[^.;\"\n]*)*)", text):
        command, words = match.groups()
        if command not in commands:
            if re.match(r"\s*(--|[A-Z])", words):
                yield f"no command {command}"
            continue
        for name in re.findall(r"(?<![\w-])--([a-z][\w.-]*)", words):
            name = name.rstrip("-.")
            if name not in options[command] | keys | {"help"}:
                yield f"{command} has no --{name}"
    if " " not in text.strip():
        return
    for match in re.finditer(rf"(?<![\w./-])({'|'.join(sections)})\.(?!{NO_KEY})([a-z][a-z0-9_]*)\b(?![(\w*/])", text):
        if f"{match.group(1)}.{match.group(3)}" not in keys and match.group(0) not in every:
            yield f"no key {match.group(0)}"


wrong, texts, named = [], 0, 0
renamed = set()  # old options are named where they are still taken
for room in ROOMS:
    for folder, _, files in os.walk(os.path.join(SOURCE, room)):
        for file in sorted(files):
            if not file.endswith((".cpp", ".hpp", ".cu")) or file == STYLE:
                continue
            path = os.path.join(folder, file)
            with open(path, encoding="utf-8") as stream:
                source = stream.read()
            if match := re.search(r"kOldOptions\[\] = \{(.*)\};", source):
                renamed |= set(re.findall(r'\{"--([\w-]+)",', match.group(1)))
                every |= renamed
            for line, text in literals(source):
                texts += 1
                named += text.count("--")
                start = " ".join(text.split())[:160]
                wrong += [f'{os.path.relpath(path, SOURCE)}:{line}: {fault}, in "{start}"' for fault in faults_of(text)]
for line in wrong:
    print(line)
print(f"{texts} literals, {named} options in them, {len(keys)} keys, {len(wrong)} faults")
sys.exit(1 if wrong or named < 100 or not renamed else 0)
