"""Writes docs/errors.md: bad input with its line, and every line's cause.

    python docs/errors.py

Runs the commands of tests/bad_input.py; causes are read from the code. Tests compare both.
"""

import ast
import os
import pathlib
import sys
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).parent.parent
PACKAGE = ROOT / "consingan_jax"
ERRORS = ("InputError", "HeldError", "DamagedError", "DivergedError", "StoppedError")
LONGEST = 60  # characters of an expression that is shown as it stands
HEAD = """# Every error and its cause

Written by `python docs/errors.py`. Bad input is one line and exit code 2, and nothing is written; a
diverged training, a full disk and lack of memory exit with 1; Ctrl-C, SIGTERM and SIGHUP with 130,
143 and 129, after the state of a training was saved. Anything with a traceback is a fault of this
program: please report it.
"""
TABLE = """
## Bad input, and what is said to it

Each command was run at the root of the repository, and printed the line beside it. RUN is a small
finished run, HARMONY one of the task harmonization, FILES a folder that `tests/bad_input.py` fills.

| command | line |
|---|---|
"""
CAUSES = """
## Causes

What stands in braces is a value of yours. The cause is the condition in the code, in the file that
the heading names.
"""


def messages(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Yields message and cause of every refusal in a module, in their order."""
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    raised = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    for call in sorted(raised, key=lambda call: call.lineno):
        if isinstance(call.func, ast.Name) and call.func.id in ERRORS and call.args:
            text = _text(call.args[0])
            if any(letter.isalpha() for letter in _fixed(call.args[0])):
                yield text, _cause(call, parents)


def _fixed(node: ast.expr) -> str:
    parts = node.values if isinstance(node, ast.JoinedStr) else [node]
    return "".join(str(part.value) for part in parts if isinstance(part, ast.Constant))


def _text(node: ast.expr) -> str:
    """Returns a message with its values in braces."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) for part in node.values)
    value = node.value if isinstance(node, ast.FormattedValue) else node
    return "{" + _short(value) + "}"


def _short(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= LONGEST else "..."


def _cause(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> str:
    """Returns the condition under which a line of code is reached, the innermost one."""
    while node in parents:
        below, node = node, parents[node]
        if isinstance(node, ast.If):
            return _short(node.test) if below in node.body else f"not ({_short(node.test)})"
        if isinstance(node, ast.ExceptHandler):
            return f"on {_short(node.type)}" if node.type else "on any error"
        if isinstance(node, ast.For):
            return f"for {_short(node.target)} in {_short(node.iter)}"
        if isinstance(node, ast.FunctionDef):
            return f"in `{node.name}`".replace("`", "")
    return "always"


def page(table: str) -> str:
    """Returns the page, with the rows of the table of bad input."""
    parts = [HEAD, TABLE, table, CAUSES]
    for path in sorted(PACKAGE.rglob("*.py")):
        found = list(messages(ast.parse(path.read_text(encoding="utf-8"))))
        if found:
            parts.append(f"\n### `{path.relative_to(PACKAGE)}`\n\n| message | cause |\n|---|---|\n")
            parts += [f"| {_code(text)} | {_code(cause)} |\n" for text, cause in found]
    return "".join(parts)


def _code(text: str) -> str:
    escaped = text.replace("|", "\\|")
    return f"`` {escaped} ``" if "`" in text else f"`{escaped}`"


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    os.chdir(ROOT)
    from tests import bad_input

    rows = "".join(f"{row}\n" for row in bad_input.table())
    (ROOT / "docs/errors.md").write_text(page(rows), encoding="utf-8")
