"""Tables: a cell's number is bound by its row's label, its column's headers, and the caption."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from ai_scientist.claims.binding import Binding, Scene
from ai_scientist.claims.evidence import Evidence
from ai_scientist.claims.exempt import known_setting
from ai_scientist.claims.judging import REFERENCE, Judge, Ruling, derivations, shows
from ai_scientist.claims.numerals import Numeral, find_numerals
from ai_scientist.claims.quantities import Quantities
from ai_scientist.claims.reading import IN_BRACKETS, Label, label_doubt
from ai_scientist.claims.surroundings import Surroundings
from ai_scientist.claims.units import Cell, Table
from ai_scientist.claims.vocabulary import MetricMention, RunMention, Vocabulary

DELTA = re.compile(
    r"Δ|\bdelta|\bdiff|\bchange|\bimprov|\brelative|\bratio|\bgain|\breduction|\bvs\b|^\s*\(?%\)?\s*$",
    re.I,
)
IMPROVEMENT = re.compile(r"improv|gain|benefit", re.I)
THE_OTHER = re.compile(
    r"^\W*(?:values?|results?|ours?|methods?|proposed|new|treatment|experimental|this work)\W*$",
    re.I,
)
BOUND = re.compile(r"[<>≤≥]\s*\Z")
ALL_CELLS = re.compile(
    r"\bhal(?:f|ves|ved)\b|\bmid(?:point|way)|\bminus\b|\bdivided|\bratio|\brelative\b|\bnormali[sz]ed"
    r"|\bscaled\b|\blog\b|\bmin(?:im\w+)?\b|\bmax(?:im\w+)?\b|\b(?:small|larg|high|low|b|wor)est\b"
    r"|\bchanges?\b|\bdiff|\bdelta|\bpercent|\bstandard\b|\bseeds?\b|\bquantile|\branks?\b|\bepochs?\b"
    r"|\bvarian|\bintervals?\b|\bmedian|\bsums?\b|\bdistance|\bbefore\b|\bafter\b",
    re.I,
)
"""What a caption says where all cells may be something else than their headers name."""
ERRORS = re.compile(r"(?:±|\+/-|\+-)\s*(?:\w+\s+){0,3}(?:errors?|deviations?|intervals?|SEM?|SD)\b")
"""What a caption says stands behind the values, which are the cells' own."""
RUN_HEADER = re.compile(r"^\W*runs?\W*(?:no\.?|number|id|#)?\W*$", re.I)
SYMBOL = re.compile(r"^\W*[a-oq-zαβγετλμησ](?:_\w+)?\W*$")
"""A setting's one letter; a p-value is none."""
VARIANT_HEADER = re.compile(r"^\W*(?:variants?|experiments?|configurations?|conditions?)\W*$", re.I)
PERCENT_COLUMN = re.compile(r"\(\s*%\s*\)|^\s*%|%\s*$|\bin %|\bpercent\b", re.I)
PLAIN_COLUMN = re.compile(r"^\W*(?:runs?|seeds?|n|#|no\.?|steps?|epochs?|id|year|ref\.?)\W*$", re.I)


@dataclass(frozen=True, kw_only=True)
class CellRuling:
    """One number of a table with its ruling."""

    numeral: Numeral
    start: int
    """In the flat text of the table's source."""
    ruling: Ruling
    label: str


@dataclass(frozen=True)
class TableJudge:
    """Judges the cells of one study's tables."""

    evidence: Evidence
    vocabulary: Vocabulary
    beside: Surroundings
    """What the paragraphs beside the table name."""

    @property
    def quantities(self) -> Quantities:
        """Return what looks up standard errors, intervals and the like."""
        return Quantities(self.evidence)

    def judge(self, table: Table) -> Iterator[CellRuling]:
        """Yield a ruling for each number that stands where a result stands."""
        head, body = self._split(table)
        columns = self._columns(head, max((len(row) for row in table.rows), default=0))
        if any(mention.kind == "baseline" for column in columns for mention in column.runs):
            columns = [self._other(column) for column in columns]
        caption = self._label(table.caption)
        columns_name = any(column.metrics for column in columns)
        above: tuple[MetricMention, ...] = ()
        every: list[CellRuling] = []
        for row in body:
            first = row[0] if row else Cell(text="", start=0)
            label = self._label(first.text)
            if RUN_HEADER.search(first.text) and _numbered(row):
                columns = [
                    self._label(f"{column.text} run {cell.text.strip()}")
                    for column, cell in zip(columns, row, strict=False)
                ]
                continue
            corner = columns[0].text if columns else ""
            label = self._with_run(label, row, columns)
            if not label.runs and (RUN_HEADER.search(corner) or VARIANT_HEADER.search(corner)):
                kind = "run" if RUN_HEADER.search(corner) else "variant"
                label = self._label(f"{kind} {first.text.strip()}")
            if label.metrics or label.runs:
                above = label.metrics
            elif not columns_name and first.text.strip() and not self._is_setting(label):
                label = replace(label, metrics=above, inherited=bool(above))
            rulings = list(self._row(row, label, columns, caption))
            every += self._one_metric_per_row(rulings)
        transformed = ALL_CELLS.search(table.caption)
        if transformed and len(every) > 1 and all(one.ruling.kind for one in every):
            every = [_opened(one, transformed[0]) for one in every]
        yield from every

    def _with_run(self, label: Label, row: tuple[Cell, ...], columns: list[Label]) -> Label:
        """Add to a row's label the run that a column of its own names."""
        for cell, column in list(zip(row, columns, strict=False))[1:]:
            if not label.runs and RUN_HEADER.search(column.text):
                own = cell.text.strip()
                named = self.vocabulary.runs(f"run {own}" if own.isdigit() else own)
                return replace(label, runs=tuple(named))
        return label

    def _row(
        self, row: tuple[Cell, ...], label: Label, columns: list[Label], caption: Label
    ) -> Iterator[CellRuling]:
        headed = any(column.text for column in columns[1:])
        for index, cell in enumerate(row):
            named = bool(re.search(r"[A-Za-z]{2}", re.sub(r"run[ _]?\d+", "run", cell.text)))
            if index == 0 and (named or len(row) > 1):
                continue
            column = columns[index] if index < len(columns) else Label(text="")
            if PLAIN_COLUMN.match(column.text) or (named and not column.metrics):
                continue
            if self._is_setting(column) or self._is_setting(label):
                continue
            yield from self._cell(cell, label, column, _Around(columns[:index], caption, headed))

    def _cell(
        self, cell: Cell, label: Label, column: Label, around: _Around
    ) -> Iterator[CellRuling]:
        better = IMPROVEMENT.search(column.text) or IMPROVEMENT.search(label.text)
        judge = Judge(self.evidence, signs=not better)
        delta = bool(DELTA.search(column.text)) or bool(DELTA.search(label.text))
        metrics = column.metrics or label.metrics or around.caption.metrics[:1]
        if not column.metrics and not label.metrics and delta:
            metrics = around.left_metrics or metrics
        binding = self._binding(column.runs or label.runs, metrics, around)
        spot = _Spot(label, column, around, binding)
        percent = bool(PERCENT_COLUMN.search(column.text))
        for position, typed in enumerate(find_numerals(cell.text)):
            numeral = replace(typed, percent=typed.percent or percent)
            before = cell.text[: numeral.start]
            if BOUND.search(before):
                continue
            inner = position > 0 and not numeral.spread
            change = delta or (inner and (numeral.signed or numeral.percent))
            scene = Scene(text=cell.text, numerals=(numeral,), runs=spot.runs, metrics=metrics)
            ruling = judge.rule(numeral, binding, scene, change=change)
            if ruling.kind and change and numeral.value in (0, 1) and binding.runs == ("run_0",):
                ruling = Ruling(verdict="derived", evidence="the baseline against itself")
            if ruling.kind:
                beside = f"{before}{'±' if position and before.endswith('(') else ''}{typed.text}"
                ruling = self._milder(ruling, numeral, spot, beside, change=delta)
            ruling = self.beside.support(ruling, numeral, binding, scene, judge, change=change)
            yield CellRuling(
                numeral=numeral,
                start=cell.start + numeral.start,
                ruling=ruling,
                label=" / ".join(t.text.strip() for t in (label, column) if t.text.strip()),
            )

    def _binding(
        self, runs: tuple[RunMention, ...], metrics: tuple[MetricMention, ...], around: _Around
    ) -> Binding:
        """Return what a cell is bound to: by its column or row, else by the caption."""
        said = around.caption
        captioned = tuple(
            m for m in said.runs if m.sure and not REFERENCE.search(said.text[: m.start])
        )
        own = runs or (captioned if len(captioned) == 1 else ())
        kind = own[0].kind if own else ""
        paths = metrics[0].paths if metrics else ()
        named = tuple(run for mention in own for run in mention.runs)
        if kind == "best":
            best = [self.evidence.best_run(path) for path in paths]
            named = tuple(dict.fromkeys(run for run in best if run))
        return Binding(
            paths=paths,
            runs=named,
            named=bool(own),
            tight=bool(own),
            group=kind if kind in ("method", "final", "best") else "",
            exact=metrics[0].exact if metrics else True,
        )

    def _milder(
        self, ruling: Ruling, numeral: Numeral, spot: _Spot, beside: str, *, change: bool
    ) -> Ruling:
        """Return what else a cell may show, or that its headers leave it open; else `ruling`."""
        paths, runs = spot.binding.paths, spot.binding.runs
        words = f"{beside} {spot.column.text} {spot.label.text} {spot.around.corner}"
        words += f" {ERRORS.sub('', spot.around.caption.text)}"
        if runs:
            every = (*paths, *(p for m in spot.around.left_metrics for p in m.paths))
            named = dict.fromkeys((*runs, *(run for one in spot.runs for run in one.runs)))
            found = self.quantities.explain(
                numeral, tuple(named), every or self.evidence.paths, words
            )
            captioned = [path for m in spot.around.caption.metrics for path in m.paths]
            if found is None and Judge(self.evidence).hits(numeral, runs, captioned):
                found = Ruling(verdict="ambiguous", evidence="could be what the caption names")
            if found is not None:
                return found if every else replace(found, verdict="ambiguous")
        if change and paths and (what := self._other_change(numeral, spot)):
            return Ruling(verdict="ambiguous", evidence=f"could be {what}")
        if not paths and (where := known_setting(numeral, self.vocabulary)):
            return Ruling(verdict="configuration", evidence=where)
        if not (runs and paths) and (what := self.quantities.somewhere(numeral, words)):
            return Ruling(verdict="ambiguous", evidence=f"could be {what}")
        reason = label_doubt(spot.column, spot.label, self.vocabulary, change=change)
        if IN_BRACKETS.search(beside):
            reason = "it stands in brackets, as the ends of an interval do"
        if not spot.column.text and (spot.around.headed or len(spot.around.left) > 1):
            reason = "its column has no header"
        if reason:
            return Ruling(verdict="ambiguous", evidence=f"{reason}; {ruling.evidence}")
        return ruling

    def _other_change(self, numeral: Numeral, spot: _Spot) -> str:
        """Return which change between any two runs a cell shows, such as that to the row above."""
        for run, base in itertools.permutations(self.evidence.runs, 2):
            for path in spot.binding.paths:
                value = self.evidence.runs[run].metrics.get(path)
                other = self.evidence.runs[base].metrics.get(path)
                if value is None or other is None:
                    continue
                for how, number in derivations(value, other, numeral):
                    if shows(numeral, number, sign=False, exact_scale=True):
                        name = self.evidence.names[path]
                        return f"{how} of {name} between {run} and {base}"
        return ""

    def _one_metric_per_row(self, rulings: list[CellRuling]) -> Iterator[CellRuling]:
        """Turn a row round whose ambiguous label hides that its cells are different metrics."""
        foreign = [one for one in rulings if one.ruling.kind == "wrong_attribution"]
        for one in rulings:
            if foreign and one.ruling.verdict == "ambiguous" and one not in foreign:
                evidence = (
                    f"{one.ruling.evidence}, while {foreign[0].numeral.text} in the same row: "
                    f"{foreign[0].ruling.evidence}"
                )
                ruling = Ruling(verdict="ambiguous", evidence=evidence, kind="wrong_attribution")
                yield CellRuling(
                    numeral=one.numeral, start=one.start, ruling=ruling, label=one.label
                )
            else:
                yield one

    def _split(self, table: Table) -> tuple[list[tuple[Cell, ...]], list[tuple[Cell, ...]]]:
        """Return the rows of headers, without a bare number past the first cell, and others."""
        head: list[tuple[Cell, ...]] = []
        for position, row in enumerate(table.rows):
            bare = [
                c
                for c in row[1:]
                if re.fullmatch(r"[\s$<>≤≥]*[-+±~]?[\d.,]+\D{0,20}.*", c.text.strip())
                and (position > 0 or not re.search(r"[A-Za-z]{2}", c.text))
            ]
            above = " ".join(cell.text for cell in head[-1][1:]) if head else ""
            if (bare and not (RUN_HEADER.match(above) and _numbered(row))) or position >= 3:
                return head, list(table.rows[position:])
            head.append(row)
            if position == 0 and len(table.rows) > 1 and not any(c.text.strip() for c in row[1:]):
                continue
        return head, []

    def _columns(self, head: list[tuple[Cell, ...]], width: int) -> list[Label]:
        texts = [""] * width
        for level, row in enumerate(head):
            group = ""
            for index, cell in enumerate(row):
                own = cell.text.strip()
                # A header above others spans the empty cells behind it.
                group = own or (group if index > 1 and level + 1 < len(head) else "")
                texts[index] = f"{texts[index]} {group}".strip()
        return [self._label(text) for text in texts]

    def _label(self, text: str) -> Label:
        runs = tuple(self.vocabulary.runs(text))
        metrics = tuple(
            m
            for m in self.vocabulary.metrics(text)
            if all(m.end <= r.start or m.start >= r.end for r in runs)
        )
        return Label(text=text, runs=runs, metrics=tuple(sorted(metrics, key=_size)))

    def _other(self, column: Label) -> Label:
        """Read a column called `Value` beside one called `Baseline` as the method's."""
        if column.runs or not THE_OTHER.match(column.text):
            return column
        others = tuple(name for name in self.evidence.numbered if name != "run_0")
        mention = RunMention(
            start=0, end=len(column.text), kind="method", runs=others, text=column.text
        )
        return Label(text=column.text, runs=(mention,), metrics=column.metrics)

    def _is_setting(self, label: Label) -> bool:
        named = self.vocabulary.settings(label.text) or SYMBOL.match(label.text)
        return bool(named) and not (label.metrics or label.runs)


@dataclass(frozen=True)
class _Spot:
    """Where a cell stands, and what that binds it to."""

    label: Label
    column: Label
    around: _Around
    binding: Binding

    @property
    def runs(self) -> tuple[RunMention, ...]:
        """Return the runs that its row and its column name."""
        return (*self.label.runs, *self.column.runs)


@dataclass(frozen=True)
class _Around:
    """What stands around a cell: the columns left of it and the caption."""

    left: list[Label]
    caption: Label
    headed: bool
    """Whether some column has a header."""

    @property
    def corner(self) -> str:
        """Return the header of the rows' labels."""
        return self.left[0].text if self.left else ""

    @property
    def left_metrics(self) -> tuple[MetricMention, ...]:
        """Return the metrics of the nearest column to the left that names one."""
        named = [label.metrics for label in self.left if label.metrics]
        return named[-1] if named else ()


def _opened(cell: CellRuling, word: str) -> CellRuling:
    """Return a cell whose finding the caption leaves open, where no cell is what headers name."""
    if not cell.ruling.kind:
        return cell
    evidence = f"its caption leaves open what it is (`{word}`); {cell.ruling.evidence}"
    return replace(cell, ruling=Ruling(verdict="ambiguous", evidence=evidence))


def _numbered(row: tuple[Cell, ...]) -> bool:
    """Say whether a row's cells, its label left out, are the numbers of runs."""
    return len(row) > 1 and all(re.fullmatch(r"\s*\d{1,3}\s*", cell.text) for cell in row[1:])


def _size(mention: MetricMention) -> tuple[bool, int]:
    return not mention.exact, mention.start - mention.end
