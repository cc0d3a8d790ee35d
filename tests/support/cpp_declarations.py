"""Declarations of a C++ header, as far as a rule about comments needs them: no compiler, and no more of the language than our headers use."""
import dataclasses
import re


@dataclasses.dataclass
class Declaration:
    line: int  # from 1
    last_line: int
    kind: str  # "class", "function" or "other"
    name: str
    documented: bool = False


def without_comments(text):
    """The text with comments and the inside of strings as spaces; lines stay where they are."""
    pattern = r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])\''
    blank = lambda match: re.sub(r"[^\n]", " ", match.group(0))
    text = re.sub(pattern, blank, text, flags=re.S)
    return re.sub(r"^[ \t]*#[^\n]*", blank, text, flags=re.M)


def classify(statement):
    """Kind and name of what a statement declares; None where no comment is asked for."""
    words = " ".join(re.sub(r"\[\[[^\]]*\]\]", " ", statement).split())
    words = re.sub(r"^template\s*<[^;{]*?>\s*(?=(class|struct|[\w:<]))", "", words)
    type_head = re.match(r"(?:class|struct|enum class|enum|union)\s+(\w+)", words)
    if type_head:
        return "class", type_head.group(1)
    if re.match(r"(using|typedef|friend|static_assert|extern|namespace)\b", words):
        return None
    call = re.search(r"(~?\w+|operator\s*\S+?)\s*\(", words.split("=")[0] if "operator" not in words else words)
    if not call:
        return "other", words
    return "function", call.group(1)


def declarations(text):
    """Public declarations of namespaces and classes, in order. A comment with /// above or ///< behind documents one, and those that follow
    it without a blank line."""
    code, lines = without_comments(text), text.split("\n")
    found, scopes = [], []  # scopes: [kind, name, public]
    start, statement, line = None, "", 1

    def visible():
        return all(kind in ("namespace", "class") and public for kind, _, public in scopes)

    def record(last, body=False):
        nonlocal start, statement
        what = classify(statement) if start else None
        if what and visible():
            kind, name = what
            forward = kind == "class" and not body
            special = kind == "function" and (
                (scopes and name.lstrip("~") == scopes[-1][1]) or name.startswith("operator") or re.search(r"\boverride\b|=\s*(delete|default)", statement)
            )
            if not forward:
                found.append(Declaration(start, last, "other" if special else kind, name))
        start, statement = None, ""

    for char in code:
        if char == "{":
            words = statement.split()
            head = classify(statement) if words else None
            if words and (words[0] == "namespace" or words[:2] == ["inline", "namespace"]):
                scopes.append(["namespace", "", True])
                start, statement = None, ""
            elif head and head[0] == "class":
                kind = "enum" if "enum" in words[:1] else "class"
                record(line, body=True)
                scopes.append([kind, head[1], "class" not in words[:1] and not re.match(r"template.*>\s*class\b", " ".join(words))])
            elif head and head[0] == "function":
                record(line)
                scopes.append(["body", "", False])
            else:
                scopes.append(["initialiser", "", False])
        elif char == "}":
            kind = scopes.pop()[0] if scopes else ""
            if kind != "initialiser":
                start, statement = None, ""
        elif char == ";":
            if not scopes or scopes[-1][0] not in ("initialiser", "body", "enum"):
                record(line)
        elif char == ":" and statement.strip() in ("public", "private", "protected"):
            scopes[-1][2] = statement.strip() == "public"
            start, statement = None, ""
        else:
            if not char.isspace() and start is None:
                start = line
            statement += char
        if char == "\n":
            line += 1

    before = None
    for declaration in found:
        above = lines[declaration.line - 2].strip() if declaration.line > 1 else ""
        behind = any("///<" in lines[i] for i in range(declaration.line - 1, declaration.last_line))
        group = before and before.documented and before.last_line + 1 >= declaration.line and not above.startswith("}")
        declaration.documented = above.startswith("///") or behind or bool(group)
        before = declaration
    return found
