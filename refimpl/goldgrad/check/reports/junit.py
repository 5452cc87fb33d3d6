"""A check as JUnit's XML: a suite a function, a test a property."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from ..results import Report, Status

INVALID = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd]")
"""What XML 1.0 cannot hold."""


def document(report: Report) -> bytes:
    """The file's bytes."""
    results = report.results
    root = ElementTree.Element(
        "testsuites",
        name=f"goldgrad check {report.subject.provider}",
        tests=str(len(results)),
        failures=str(len(report.findings)),
        time=f"{report.seconds:.3f}",
    )
    for function in report.functions:
        own = report.of(function)
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=function,
            tests=str(len(own)),
            failures=str(sum(result.status is Status.FAILS for result in own)),
            skipped=str(sum(result.status in (Status.NO_CASE, Status.SKIPPED) for result in own)),
            errors="0",
            time=f"{sum(result.seconds for result in own):.3f}",
        )
        for result in own:
            test = ElementTree.SubElement(
                suite, "testcase", classname=function, name=result.property, time=f"{result.seconds:.3f}"
            )
            if result.finding:
                f = result.finding
                text = "\n".join([f.fault, str(f.parsed()), f"rules: {', '.join(f.rules)}", f.repeat_anywhere])
                failure = ElementTree.SubElement(test, "failure", message=INVALID.sub("?", f.headline), type=f.broken)
                failure.text = INVALID.sub("?", text)
            elif result.status is not Status.HOLDS:
                ElementTree.SubElement(test, "skipped", message=result.status.value)
    ElementTree.indent(root)
    written: str = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{written}\n'.encode()
