"""The rules' own words, from the pages that the package carries."""

from __future__ import annotations

from functools import cache

from ... import paths, spec


@cache
def rules() -> dict[str, spec.Rule]:
    """Every rule by its ID."""
    found, folder = spec.Spec(), paths.data("specs")
    for page in sorted(folder.rglob("*.md")):
        spec.scan_page(found, folder.parent, page)
    return found.rules


def first_paragraph(rule_id: str) -> str:
    """What a rule asks, without its reasons; empty for a rule that no page has."""
    rule = rules().get(rule_id)
    if rule is None:
        return ""
    paragraph = rule.text.split("\n\n")[0]
    return " ".join(line for line in paragraph.splitlines() if not line.startswith("|")).partition(" *Settles")[0]


def title(rule_id: str) -> str:
    """A rule's heading."""
    rule = rules().get(rule_id)
    return f"{rule_id}: {rule.title}" if rule else rule_id
