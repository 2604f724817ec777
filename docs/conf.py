"""The site: python -m pip install -e ".[docs]" && python -m sphinx -W --keep-going docs public"""

import ast
import pathlib

HERE = pathlib.Path(__file__).parent
PACKAGE = HERE.parent / "consingan_jax"

project = "consingan_jax"
author = "the consingan_jax authors"
copyright = "MIT licence"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
html_theme = "sphinx_book_theme"
html_title = "consingan_jax"
html_theme_options = {"show_toc_level": 2, "use_download_button": False}
exclude_patterns = ["_build", "notebooks/runs"]
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # -D nb_execution_mode=force runs the notebooks
nb_execution_timeout = 600
nb_execution_raise_on_error = True
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_google_docstring = True
linkcheck_anchors = False


def setup(app):
    """Lets the build write the page of error messages first."""
    app.connect("builder-inited", lambda _: (HERE / "errors.md").write_text(errors_page()))


def errors_page():
    """Returns a page with every message of an `InputError` in the code, and who says it."""
    lines = [
        "# Every error message",
        "",
        "One line, exit code 2, nothing written or lost. `...` stands for your file, field or",
        "value. Made from the code when this site is built.",
        "",
    ]
    for path in sorted(PACKAGE.rglob("*.py")):
        found = sorted(set(messages(ast.parse(path.read_text(encoding="utf-8")))))
        if found:
            lines += [f"## {path.relative_to(PACKAGE).with_suffix('')}", ""]
            lines += ["| message | where it comes from |", "|---|---|"]
            lines += [f"| {text} | {cause} |" for text, cause in found]
            lines += [""]
    return "\n".join(lines)


def messages(tree):
    """Yields (message, first line of the docstring around it) of a module."""
    around = [(tree, ast.get_docstring(tree) or "")]
    for node, doc in around:
        for child in ast.iter_child_nodes(node):
            is_function = isinstance(child, (ast.FunctionDef, ast.ClassDef))
            around.append((child, (is_function and ast.get_docstring(child)) or doc))
            if isinstance(child, ast.Call) and getattr(child.func, "id", "") == "InputError":
                text = "".join(pieces(child.args[0])) if child.args else ""
                if text.strip(". "):
                    yield escaped(text), escaped(doc.splitlines()[0] if doc else "")


def pieces(node):
    """Yields the parts of a text, with dots for what is filled in."""
    if isinstance(node, ast.Constant):
        yield str(node.value)
    elif isinstance(node, ast.JoinedStr):
        for value in node.values:
            yield from pieces(value)
    elif isinstance(node, ast.BinOp):
        yield from pieces(node.left)
        yield from pieces(node.right)
    else:
        yield "..."


def escaped(text):
    """Returns a text as a cell of a table."""
    for sign in "\\|<>*_[]`$":
        text = text.replace(sign, f"\\{sign}")
    return text
