"""How often an invented number passes the check of claims, and how often a correct one is flagged.

    python -m benchmarks.false_accept [--claims 4000] [--json FILE]

Synthetic result sets of conditions x seeds x metrics. An invented claim names run and metric and
gives a value within a factor 2 of the true one, with 3 or 4 significant digits, drawn again when it
equals the true one at the precision shown. Passed = supported, derived, configuration or not seen
at all. The goals hold at every size and for every set; the worst of them is the figure.
"""

from __future__ import annotations

import math
import random
import re
import statistics
import sys
from collections import Counter

from ai_scientist.claims import Evidence, check_prose
from ai_scientist.records import Idea, Results
from benchmarks.correct_claims import fill, texts, with_settings
from benchmarks.form import Row, finish, parser

SIZES = ((2, 1, 1), (4, 3, 2), (6, 3, 4), (10, 5, 5))
METRICS = ("final_loss", "test_accuracy", "dead_share", "mean_absorption_score", "l0")
SCALES = {
    "final_loss": (1.0, 300.0), "test_accuracy": (0.4, 0.99), "dead_share": (0.02, 0.4),
    "mean_absorption_score": (0.005, 0.1), "l0": (20.0, 2000.0),
}  # fmt: skip
PASSED = ("supported", "derived", "configuration")
FRESH = {
    "first": "12-16%", "a": "33.6%", "b": "8.7%", "c": "12.6%", "d": "12.8%", "e": "6.1%",
    "f": "20.9%", "g": "1.2%", "h": "3.0%", "i": "2.9%",
    "j": "5.1%", "k": "1.4%",
}  # fmt: skip
"""Share of each set's texts that was flagged when the rules had not yet seen the set."""
GOALS = {"passed": 1.0, "ambiguous": 5.0, "flagged": 2.0}
"""In percent."""

PROSE = (
    "The {metric} of {run} is {value}.",
    "{run} reaches a {metric} of {value}.",
    "In {run}, {metric} came out at {value}.",
    "With {run} we obtain {value} {metric}.",
    "{run}: {metric} = {value}",
    "We measured a {metric} of {value} for {run}.",
    "As Table 2 shows, the {metric} in {run} is {value} after 4,882 steps at lr = 0.0003.",
    "{run} improves on {other}: its {metric} is {value}.",
    "The {metric} falls to {value} in {run}, while {other} stays behind.",
    "Against {other}, the {metric} of {run} comes to {value}.",
)
CHANGES = (
    "The {metric} of {run} is {value} {word} than that of {other}.",
    "{run} has a {metric} {word} by {value} than {other}.",
    "Against {other}, {run} changes the {metric} by {value}.",
)
LATEX_PROSE = (
    r"The {metric} of {run} is ${value}$.",
    r"{run} achieves a {metric} of \textbf{{{value}}} \cite{{a2024}}.",
    r"We find that {metric} equals ${value}$ for {run}, as Figure~\ref{{fig:a}} shows.",
)


def results_of(size: tuple[int, int, int], draw: random.Random) -> Evidence:
    """Return synthetic results: conditions x seeds x metrics."""
    conditions, seeds, count = size
    runs = {}
    for condition in range(conditions):
        values: dict[str, tuple[float, ...]] = {}
        for metric in METRICS[:count]:
            low, high = SCALES[metric]
            mean = math.exp(draw.uniform(math.log(low), math.log(high)))
            values[f"synthetic/{metric}"] = tuple(
                mean * (1 + 0.02 * draw.gauss(0, 1)) for _ in range(seeds)
            )
        runs[f"run_{condition}"] = Results(
            metrics={path: statistics.fmean(v) for path, v in values.items()},
            seeds=values if seeds > 1 else {},
            stderr={
                path: statistics.stdev(v) / math.sqrt(seeds) for path, v in values.items() if v[1:]
            },
        )
    config = {
        "config/lr": 0.0003, "config/k": 20, "config/batch_size": 2048, "config/steps": 4882,
        "config/dict_size": 16384, "config/width": 2304, "config/penalty": 0.01,
    }  # fmt: skip
    idea = Idea(
        name="synthetic", title="A synthetic idea", experiment="Try a penalty of 0.01 and 0.05."
    )
    return Evidence(
        runs=runs,
        idea=idea,
        titles={name: "A variant" if name != "run_0" else "Baseline" for name in runs},
        configs=dict.fromkeys(runs, config),
        seeds=dict.fromkeys(runs, seeds),
    )


def invent(true: float, digits: int, draw: random.Random) -> str:
    """Return a value within a factor 2 of `true` that differs from it at the precision shown."""
    while True:
        value = true * math.exp(draw.uniform(-math.log(2), math.log(2)))
        if shown(value, digits) != shown(true, digits):
            return shown(value, digits)


def shown(value: float, digits: int) -> str:
    """Write a value with so many significant digits, in plain notation."""
    return f"{value:.{max(0, digits - 1 - math.floor(math.log10(abs(value))))}f}"


def run_name(run: str, draw: random.Random) -> str:
    """Return one of the ways in which a run is called."""
    number = run[4:]
    return draw.choice([run, f"Run {number}", f"run {number}"])


def prose_claim(evidence: Evidence, draw: random.Random, digits: int) -> tuple[str, str, str]:
    """Return (kind, text, typed value) of one invented claim in a sentence."""
    run = draw.choice(list(evidence.runs))
    other = draw.choice([name for name in evidence.runs if name != run])
    path = draw.choice(evidence.paths)
    value = invent(evidence.runs[run].metrics[path], digits, draw)
    latex = draw.random() < 0.3
    template = draw.choice(LATEX_PROSE if latex else PROSE)
    metric = path.rsplit("/", 1)[-1]
    if latex or draw.random() < 0.5:
        metric = metric.replace("_", " ")
    called, second = run_name(run, draw), run_name(other, draw)
    if latex:
        called = called.replace("_", r"\_")
    text = template.format(metric=metric, run=called, other=second, value=value)
    return ("latex" if latex else "notes"), text, value


def table_claim(evidence: Evidence, draw: random.Random, digits: int) -> tuple[str, str, str]:
    """Return (kind, text, typed value) of one invented cell in an otherwise true table."""
    run = draw.choice(list(evidence.runs))
    path = draw.choice(evidence.paths)
    value = invent(evidence.runs[run].metrics[path], digits, draw)
    rows = []
    for name, results in evidence.runs.items():
        cells = [
            value if (name, p) == (run, path) else shown(results.metrics[p], 4)
            for p in evidence.paths
        ]
        rows.append([name if name != "run_0" else "Baseline", *cells])
    names = [p.rsplit("/", 1)[-1] for p in evidence.paths]
    if draw.random() < 0.5:
        lines = [["run", *names], ["---"] * (len(names) + 1), *rows]
        return "notes", "\n".join("| " + " | ".join(line) + " |" for line in lines), value
    body = " \\\\\n".join(" & ".join(row).replace("_", r"\_") for row in [["Run", *names], *rows])
    return (
        "latex",
        f"\\begin{{tabular}}{{l{'r' * len(names)}}}\n{body} \\\\\n\\end{{tabular}}",
        value,
    )


def change_claim(evidence: Evidence, draw: random.Random, digits: int) -> tuple[str, str, str]:
    """Return (kind, text, typed value) of an invented relative change between two named runs."""
    run, other = draw.sample(list(evidence.runs), 2)
    path = draw.choice(evidence.paths)
    value, base = (evidence.runs[name].metrics[path] for name in (run, other))
    typed = invent(abs(value - base) / base * 100, digits - 1, draw) + "%"
    word = "higher" if value > base else "lower"
    template = draw.choice(CHANGES)
    metric = path.rsplit("/", 1)[-1]
    text = template.format(
        metric=metric,
        run=run_name(run, draw),
        other=run_name(other, draw),
        value=typed,
        word=word,
    )
    return "notes", text, typed


def blind_claim(evidence: Evidence, draw: random.Random, digits: int) -> tuple[str, str, str]:
    """Return (kind, text, typed value) of one invented claim from `claims/invented.txt`."""
    kind, template = draw.choice(texts("invented"))
    run, other = draw.sample(list(evidence.runs), 2)
    path = draw.choice(evidence.paths)
    value = invent(evidence.runs[run].metrics[path], digits, draw)
    name = path.rsplit("/", 1)[-1]
    plain = name.replace("_", " ")
    places = {
        "r": run[4:],
        "o": other[4:],
        "n": name,
        "x": plain,
        "X": plain[0].upper() + plain[1:],
        "VALUE": value,
        "TRUE_O": shown(evidence.runs[other].metrics[path], 4),
        "nseeds": str(max(evidence.seeds.values())),
    }
    names = "|".join(places)
    return kind, re.sub(rf"\{{({names})\}}", lambda match: places[match[1]], template), value


def verdict_of(kind: str, text: str, value: str, evidence: Evidence) -> str:
    """Return the verdict on the invented value; `missed` when the check does not see it."""
    report = check_prose(text, evidence, kind="latex" if kind == "latex" else "notes")
    verdicts = [
        n.verdict
        for n in report.numbers
        if n.text.lstrip("+") == value.rstrip("%") or n.text == value
    ]
    if not verdicts:
        return "missed"
    return min(verdicts, key=["unsupported", "ambiguous", *PASSED].index)


FORMS = (
    ("prose", prose_claim),
    ("table", table_claim),
    ("change", change_claim),
    ("blind", blind_claim),
)


def measure_invented(claims: int, digits: tuple[int, ...]) -> list[dict[str, object]]:
    """Return a row per size and form."""
    rows: list[dict[str, object]] = []
    for size in SIZES:
        for form, make in FORMS:
            draw = random.Random(f"{size}{form}{digits}")
            seen: Counter[str] = Counter()
            chance = 0.0
            evidence = results_of(size, draw)
            for number in range(claims):
                if number % 50 == 0:
                    evidence = results_of(size, draw)
                kind, text, value = make(evidence, draw, draw.choice(digits))
                seen[verdict_of(kind, text, value, evidence)] += 1
                chance += chance_level(value, evidence)
            passed = sum(seen[verdict] for verdict in PASSED) + seen["missed"]
            rows.append(
                {
                    "size": "x".join(map(str, size)),
                    "form": form,
                    "passed": passed / claims,
                    "ambiguous": seen["ambiguous"] / claims,
                    "set_matcher": chance / claims,
                    "verdicts": dict(seen),
                }
            )
    return rows


def chance_level(value: str, evidence: Evidence) -> float:
    """Return 1 when some stored value or error, of any run and metric, shows as `value`."""
    decimals = len(value.partition(".")[2])
    stored = (v for results in evidence.runs.values() for v in results.metrics.values())
    return float(any(f"{v:.{decimals}f}" == value for v in stored))


def measure_correct(name: str, repeats: int) -> dict[str, object]:
    """Return the share of the correct texts of a set that are flagged."""
    draw = random.Random(7)
    flagged: Counter[str] = Counter()
    total = ambiguous = 0
    for _ in range(repeats):
        evidence = results_of(draw.choice(SIZES[1:]), draw)
        a, b = draw.sample(list(evidence.paths), 2)
        for kind, text in texts(name):
            filled = fill(text, evidence, {"a": a, "b": b})
            stored = with_settings(text, evidence)
            report = check_prose(filled, stored, kind="latex" if kind == "latex" else "notes")
            total += 1
            bad = [n for n in report.numbers if n.verdict == "unsupported"]
            ambiguous += any(n.verdict == "ambiguous" for n in report.numbers)
            if bad or report.findings:
                flagged[text] += 1
    return {
        "set": name,
        "texts": total,
        "flagged": sum(flagged.values()) / total,
        "ambiguous": ambiguous / total,
        "worst": flagged.most_common(8),
    }


def measure_planted(name: str, repeats: int) -> Counter[str]:
    """Return the verdicts on one value per text of a set that was replaced by an invented one."""
    draw = random.Random(11)
    seen: Counter[str] = Counter()
    for _ in range(repeats):
        evidence = results_of(draw.choice(SIZES[1:]), draw)
        a, b = draw.sample(list(evidence.paths), 2)
        for kind, text in texts(name):
            places = list(re.finditer(r"\{v:(\d):([ab])\}", text))
            if not places:
                continue
            place = draw.choice(places)
            metrics = evidence.runs[f"run_{place[1]}"].metrics
            value = invent(metrics[a if place[2] == "a" else b], draw.choice((3, 4)), draw)
            planted = text[: place.start()] + value + text[place.end() :]
            filled = fill(planted, evidence, {"a": a, "b": b})
            seen[verdict_of(kind, filled, value, with_settings(text, evidence))] += 1
    return seen


def _print_planted(planted: dict[str, Counter[str]]) -> None:
    print(
        "the same texts with one value invented, which need not be plain claims: what becomes of it"
    )
    print(f"{'set':>8} {'values':>7} {'flagged':>8} {'ambiguous':>10} {'passed':>8}")
    for name, seen in planted.items():
        total = seen.total()
        passed = total - seen["unsupported"] - seen["ambiguous"]
        print(
            f"{name:>8} {total:>7} {seen['unsupported'] / total:>8.1%} "
            f"{seen['ambiguous'] / total:>10.1%} {passed / total:>8.1%}"
        )


def _print_correct(correct: list[dict[str, object]]) -> None:
    print(
        "correct texts, by set: flagged now, after the rules were corrected with the set, and when"
    )
    print("the set was new to them, which is what a text of your own must expect")
    print(f"{'set':>8} {'texts':>7} {'flagged':>8} {'when new':>9} {'ambiguous':>10}")
    for one in correct:
        print(
            f"{one['set']:>8} {one['texts']:>7} {one['flagged']:>8.2%} "
            f"{FRESH[str(one['set'])]:>9} {one['ambiguous']:>10.2%}"
        )
        for text, count in one["worst"]:  # type: ignore[attr-defined]
            print(f"  flagged {count} times: {text!r}")


def main() -> int:
    """Measure, report, and return the exit code."""
    doors = parser(__doc__)
    doors.add_argument("--claims", type=int, default=4000, help="claims per size and form")
    options = doors.parse_args()
    rows = measure_invented(options.claims, (3, 4))
    coarse = measure_invented(max(1, options.claims // 4), (2,))
    repeats = max(1, options.claims // 400)
    correct = [measure_correct(name, repeats) for name in FRESH]
    planted = {name: measure_planted(name, repeats) for name in FRESH if name != "first"}
    titles = ("passed", "ambiguous", "set match", "2 digits", "set match")
    print(f"{'size':>8} {'form':>6} " + " ".join(f"{title:>10}" for title in titles))
    for row, two in zip(rows, coarse, strict=True):
        print(
            f"{row['size']:>8} {row['form']:>6} {row['passed']:>10.2%} {row['ambiguous']:>10.2%} "
            f"{row['set_matcher']:>10.2%} {two['passed']:>10.2%} {two['set_matcher']:>10.2%}"
        )
    print("set match: the share that equals some stored value, which a check without names passes;")
    print("2 digits: the share of invented values with two digits that pass")
    _print_correct(correct)
    _print_planted(planted)
    return finish(in_short(rows, coarse, correct), options)


def in_short(
    invented: list[dict[str, object]],
    two_digits: list[dict[str, object]],
    correct: list[dict[str, object]],
) -> list[Row]:
    """Return the worst figure of each kind, and one for each set of correct texts."""

    def worst(rows: list[dict[str, object]], key: str) -> float:
        return 100 * max(float(str(row[key])) for row in rows)

    rows = [
        Row("invented, passed", worst(invented, "passed"), "%", goal=GOALS["passed"]),
        Row("invented, ambiguous", worst(invented, "ambiguous"), "%", goal=GOALS["ambiguous"]),
        Row("invented, two digits, passed", worst(two_digits, "passed"), "%"),
        Row("passed by a check without names", worst(invented, "set_matcher"), "%"),
    ]
    for one in correct:
        name = str(one["set"])
        figure = worst([one], "flagged")
        note = f"{FRESH[name]} when the set was new"
        rows.append(
            Row(f"correct, set {name}, flagged", figure, "%", goal=GOALS["flagged"], note=note)
        )
    return rows


if __name__ == "__main__":
    sys.exit(main())
