"""Plain twin of pyledger.reconciliation.matching: dictionaries of lists instead of hashes and partitions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence

__all__ = ["reconcile"]

Row = Mapping[str, Hashable]
Pair = tuple[int, int, str, bool]
Break = tuple[str, int, tuple[int, ...], bool]

_FIELDS = (
    "reference",
    "account",
    "counterparty_account",
    "counterparty_institution",
    "amount_minor",
    "ledger",
    "value_date",
    "direction",
)
_RULES = {
    "amount_minor": ("amount", "amount_differs"),
    "ledger": ("currency", "currency_differs"),
    "value_date": ("value_date", "value_date_differs"),
    "direction": ("direction", "direction_reversed"),
    "account": ("account", "account_differs"),
    "counterparty_account": ("counterparty_account", "account_differs"),
    "counterparty_institution": ("counterparty_institution", "account_differs"),
    "reference": ("reference", "reference_differs"),
}

_Group = tuple[list[int], list[int]]


def reconcile(ledger: Sequence[Row], statement: Sequence[Row]) -> tuple[list[Pair], list[Break]]:
    """Reconcile rows given as mappings of field to value, each with its number under "row".

    Returns the pairs (ledger row, statement row, rule, suggested) and the breaks (kind, ledger row or 0, statement
    rows, suggested), sorted. A reference that is empty or all zero bytes counts as none.
    """
    return _Reconciliation(ledger, statement).run()


class _Reconciliation:
    def __init__(self, ledger: Sequence[Row], statement: Sequence[Row]):
        self.ours = {int(str(row["row"])): row for row in ledger}
        self.theirs = {int(str(row["row"])): row for row in statement}
        self.open_ours, self.open_theirs = set(self.ours), set(self.theirs)
        self.pairs: list[Pair] = []
        self.breaks: list[Break] = []

    def run(self) -> tuple[list[Pair], list[Break]]:
        self.exact()
        self.splits()
        self.repeats()
        self.firm()
        for field in _RULES:
            self.suggest(field)
        self.same_reference()
        self.breaks += [("missing_in_statement", row, (), False) for row in self.open_ours]
        self.breaks += [("missing_in_ledger", 0, (row,), False) for row in self.open_theirs]
        return sorted(self.pairs), sorted(self.breaks)

    def groups(self, fields: Iterable[str]) -> list[_Group]:
        """Open rows with equal fields: row numbers of both sides, ascending."""
        fields = tuple(fields)
        groups: dict[tuple[Hashable, ...], _Group] = defaultdict(lambda: ([], []))
        for side, rows, is_open in ((0, self.ours, self.open_ours), (1, self.theirs, self.open_theirs)):
            for row in sorted(is_open):
                groups[tuple(rows[row][field] for field in fields)][side].append(row)
        return list(groups.values())

    def groups_but(self, field: str) -> list[_Group]:
        return self.groups(other for other in _FIELDS if other != field)

    def take(self, ours: int, theirs: int, rule: str, suggested: bool) -> None:
        self.open_ours.discard(ours)
        self.open_theirs.discard(theirs)
        self.pairs.append((ours, theirs, rule, suggested))

    def exact(self) -> None:
        for ours, theirs in self.groups(_FIELDS):
            for a, b in zip(ours, theirs, strict=False):
                self.take(a, b, "exact", False)
            if ours:
                for b in theirs[len(ours) :]:
                    self.open_theirs.discard(b)
                    self.breaks.append(("duplicate_in_statement", ours[-1], (b,), False))

    def fits(self) -> tuple[dict[int, set[int]], dict[int, set[int]]]:
        """For each open row, the rows of the other side that differ from it in one field."""
        fits_ours: dict[int, set[int]] = defaultdict(set)
        fits_theirs: dict[int, set[int]] = defaultdict(set)
        for field in _RULES:
            for ours, theirs in self.groups_but(field):
                for a in ours:
                    fits_ours[a].update(theirs)
                for b in theirs:
                    fits_theirs[b].update(ours)
        return fits_ours, fits_theirs

    def splits(self) -> None:
        fits_ours, fits_theirs = self.fits()
        for ours, theirs in self.groups_but("amount_minor"):
            if len(ours) != 1 or len(theirs) < 2:
                continue
            amounts = [int(str(self.theirs[b]["amount_minor"])) for b in theirs]
            if sum(amounts) != self.ours[ours[0]]["amount_minor"]:
                continue
            firm = fits_ours[ours[0]] == set(theirs) and all(len(fits_theirs[b]) == 1 for b in theirs)
            for b in theirs:
                self.take(ours[0], b, "split", not firm)
            self.breaks.append(("split_in_statement", ours[0], tuple(theirs), not firm))

    def repeats(self) -> None:
        for _, theirs in self.groups(_FIELDS):
            for b in theirs[1:]:
                self.open_theirs.discard(b)
                self.breaks.append(("duplicate_in_statement", 0, (b,), False))

    def firm(self) -> None:
        fits_ours, fits_theirs = self.fits()
        for field in _RULES:
            for ours, theirs in self.groups_but(field):
                if len(ours) == len(theirs) == len(fits_ours[ours[0]]) == len(fits_theirs[theirs[0]]) == 1:
                    self.differ(field, ours[0], theirs[0], False)

    def suggest(self, field: str) -> None:
        for ours, theirs in self.groups_but(field):
            for a, b in zip(ours, theirs, strict=False):
                self.differ(field, a, b, True)

    def differ(self, field: str, ours: int, theirs: int, suggested: bool) -> None:
        rule, kind = _RULES[field]
        self.take(ours, theirs, rule, suggested)
        self.breaks.append((kind, ours, (theirs,), suggested))

    def same_reference(self) -> None:
        for ours, theirs in self.groups(["reference"]):
            if ours and _is_empty(self.ours[ours[0]]["reference"]):
                continue
            for a, b in zip(ours, theirs, strict=False):
                kind = next(kind for f, (_, kind) in _RULES.items() if self.ours[a][f] != self.theirs[b][f])
                self.take(a, b, "same_reference", True)
                self.breaks.append((kind, a, (b,), True))


def _is_empty(reference: Hashable) -> bool:
    return not any(reference) if isinstance(reference, bytes) else reference == ""
