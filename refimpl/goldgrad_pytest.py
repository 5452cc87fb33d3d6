"""``pytest --goldgrad-provider=c:FILE.c``: the suite as tests of somebody's own, one a function and property.

pytest finds the plug-in by itself where goldgrad is installed (entry point ``pytest11``); without the option it does
nothing, and imports nothing of goldgrad's.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from goldgrad.check.results import Result
    from goldgrad.check.session import Opened


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options, in a group of their own."""
    group = parser.getgroup("goldgrad", "kernels under goldgrad's conformance suite")
    add = group.addoption
    add("--goldgrad-provider", help="who is checked: py:MODULE, so:LIB.so, c:FILE.c, c:FILE.c@unicorn, elf:FW.elf")
    add("--goldgrad-op", action="append", default=[], help="only this operator or function; can be repeated")
    add("--goldgrad-class", default="exact", help="exact or dot")
    add("--goldgrad-profile", default="quick", help="quick, ci or deep")
    add("--goldgrad-semantics", default="goldgrad", help="whose rules: goldgrad, tte, tflite-double-rounding, ...")
    add("--goldgrad-map", help="TOML that says how the kernels are called")
    add("--goldgrad-cflag", action="append", default=[], help="for the C compiler; can be repeated")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Open the provider, if one is given; a fault in what was given ends the run with its line."""
    config = session.config
    provider = config.getoption("--goldgrad-provider")
    if provider is None:
        return
    from goldgrad.check.results import Subject
    from goldgrad.check.session import Opened, check_choices
    from goldgrad.errors import GoldgradError

    map_file = config.getoption("--goldgrad-map")
    subject = Subject(
        provider,
        str(Path(map_file)) if map_file else None,
        tuple(config.getoption("--goldgrad-cflag")),
        config.getoption("--goldgrad-semantics"),
        config.getoption("--goldgrad-class"),
    )
    try:
        check_choices(subject, config.getoption("--goldgrad-profile"))
        config.stash[OPENED] = Opened(subject, config.getoption("--goldgrad-profile"))
    except GoldgradError as error:
        raise pytest.UsageError(str(error)) from None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Make the tests part of the run, whatever else it collects."""
    if OPENED in config.stash:
        items.extend(Kernels.from_parent(session, name="goldgrad", nodeid="goldgrad").collect())


def pytest_sessionfinish(session: pytest.Session) -> None:
    """End the provider's process."""
    opened = session.config.stash.get(OPENED, None)
    if opened is not None:
        opened.close()


class Kernels(pytest.Collector):
    """All that is checked."""

    def collect(self) -> Iterator[Conformance]:
        """A test a function and property."""
        from goldgrad.errors import GoldgradError

        opened = self.config.stash[OPENED]
        try:
            asked = [*opened.asked(self.config.getoption("--goldgrad-op"))]
        except GoldgradError as error:
            raise pytest.UsageError(str(error)) from None
        for function, name in asked:
            yield Conformance.from_parent(self, name=f"{function}[{name}]", function=function, property_name=name)


class Conformance(pytest.Item):
    """A property of a function."""

    def __init__(self, *, function: str, property_name: str, **more: Any) -> None:
        super().__init__(**more)
        self.function, self.property_name = function, property_name

    def runtest(self) -> None:
        """Look for a case that breaks it."""
        from goldgrad.check.results import Status

        result = self.config.stash[OPENED].one(self.function, self.property_name)
        if result.status is Status.FAILS:
            raise Broken(result)
        if result.status is not Status.HOLDS:
            pytest.skip("no case that was tried is one that the kernel takes")

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """What goldgrad check prints of it."""
        if not isinstance(excinfo.value, Broken):
            return super().repr_failure(excinfo, style)
        return str(excinfo.value)

    def reportinfo(self) -> tuple[Path, None, str]:
        """Where it is: nowhere but here."""
        return Path("goldgrad"), None, f"goldgrad: {self.function} {self.property_name}"


class Broken(Exception):  # noqa: N818  (a finding)
    """A property that does not hold."""

    def __init__(self, result: Result) -> None:
        finding = result.finding
        assert finding is not None
        from goldgrad.check.reports.rule_texts import first_paragraph, title

        rules = [f"{title(rule)}. {first_paragraph(rule)}" for rule in finding.rules]
        lines = [f"{finding.function} breaks '{finding.broken}': {finding.headline}", *finding.details]
        super().__init__("\n".join([*lines, str(finding.parsed()), *rules, f"repeat: {finding.repeat}"]))


OPENED: pytest.StashKey[Opened] = pytest.StashKey()
