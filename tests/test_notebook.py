"""Pictures in a notebook, without one."""

import sys
import types

import pytest

from consingan_jax.runs.notebook import LivePicture, is_here


@pytest.fixture
def shown(monkeypatch):
    """A notebook as far as it is seen; returns what it shows, and where."""
    events = []
    handle = types.SimpleNamespace(update=lambda picture: events.append(("again", picture)))

    def display(picture, *, display_id):
        events.append(("new", picture))
        return handle if display_id else None

    module = types.ModuleType("IPython")
    module.get_ipython = lambda: types.SimpleNamespace(kernel=None)
    module.display = types.ModuleType("IPython.display")
    module.display.Image = lambda data, format: (format, data)
    module.display.display = display
    monkeypatch.setitem(sys.modules, "IPython", module)
    monkeypatch.setitem(sys.modules, "IPython.display", module.display)
    return events


def test_a_picture_takes_the_place_of_the_one_before(shown):
    live = LivePicture()
    for data in (b"1", b"2"):
        live.show(lambda data=data: data)
    assert shown == [("new", ("png", b"1")), ("again", ("png", b"2"))]


def test_elsewhere_nothing_is_drawn(monkeypatch):
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    LivePicture().show(lambda: pytest.fail("drawn"))
    terminal = types.ModuleType("IPython")
    terminal.get_ipython = lambda: None
    monkeypatch.setitem(sys.modules, "IPython", terminal)
    assert not is_here()
