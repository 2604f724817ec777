"""Every relative link in the documentation leads somewhere."""

import importlib.util
import pathlib
import re

import pytest

from tests import bad_input

ROOT = pathlib.Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_resolve(page):
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())
    broken = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not broken


def test_the_page_of_errors_is_that_of_the_code():
    spec = importlib.util.spec_from_file_location("errors", ROOT / "docs/errors.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    written = (ROOT / "docs/errors.md").read_text(encoding="utf-8")
    rows = written.partition(module.TABLE)[2].partition(module.CAUSES)[0]
    assert written == module.page(rows), "python docs/errors.py writes it"
    assert rows.count("\n| ") == len(bad_input.CASES) - 1
    assert written.count("\n| ") > 150
