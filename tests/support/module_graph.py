"""The modules of the project as CMake knows them: where they are, what they link, and which file belongs to which."""
import collections
import os
import re


class ModuleGraph:
    """Read from modules.txt, which configuring writes (cmake/ModuleGraph.cmake). A module is a library or the program; object libraries are
    parts of the module of their folder. It is called as its folder, or by its target where a folder has several."""

    def __init__(self, path):
        self.names = []  # in the order of CMakeLists.txt, which is that of a batch
        self.folder = {}
        self.direct = collections.defaultdict(list)  # name -> names that it links
        self.main = {}  # folder -> the module to which files belong that no target names
        self.owner = {}  # source, without ending -> module
        targets = []
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                target, kind, folder, links, sources = line.rstrip("\n").split("|")
                targets.append((target, kind, folder, links.split(","), [s for s in sources.split(",") if s]))
        modules = [t for t in targets if t[1] != "OBJECT_LIBRARY"]
        for folder in dict.fromkeys(t[2] for t in modules):
            self.main[folder] = max((t for t in modules if t[2] == folder), key=lambda t: len(t[4]))[0]
        called = {}
        for target, _, folder, _, sources in modules:
            name = folder.removeprefix("src/") if target == self.main[folder] else target.removeprefix("dinoxx_")
            called[target] = name
            self.names.append(name)
            self.folder[name] = folder
            for source in sources:
                self.owner[os.path.splitext(source)[0]] = name
        self.main = {folder: called[target] for folder, target in self.main.items()}
        for target, _, folder, links, _ in targets:
            name = called.get(target, self.main.get(folder))
            for link in links:
                to = called.get(link)
                if to and to != name and to not in self.direct[name]:
                    self.direct[name].append(to)

    def reachable(self, name):
        """Every module that `name` links, directly or through others."""
        found, open_ends = set(), list(self.direct[name])
        while open_ends:
            at = open_ends.pop()
            if at not in found:
                found.add(at)
                open_ends += self.direct[at]
        return found

    def without_implied(self, name):
        """The direct links of `name` that no other of them brings along: what a picture shows."""
        return [to for to in self.direct[name] if not any(to in self.reachable(other) for other in self.direct[name])]

    def module_of(self, path):
        """The module to which a file belongs, by its path from the root: a source by its target, a header by the source of its name, any other
        by its folder. None for a file of no module."""
        public = re.match(r"include/dinoxx/([^/]+)/", path)
        if public:
            folder = public.group(1) if public.group(1) in self.main else "src/" + public.group(1)
            return self.main.get(folder)
        name = self.owner.get(os.path.splitext(path)[0])
        if name:
            return name
        fits = [folder for folder in self.main if path.startswith(folder + "/")]
        return self.main[max(fits, key=len)] if fits else None
