"""References: what a template's ideas are seen beside. They are no runs, and are marked as such.

    TEMPLATE/baselines/PROFILE/NAME/final_info.json   by `template baseline --family | --sae`
    RUN_DIR/references/NAME.json                      the same, where it can be compared

It can be where everything that measures is the same: frozen code, lock, profile, kind of machine.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping

from ai_scientist.errors import ResultError
from ai_scientist.execution.laboratory import Bench
from ai_scientist.notes.facts import reference_lines
from ai_scientist.notes.notebook import Notebook
from ai_scientist.protocols import Journal
from ai_scientist.records import Json, Results
from ai_scientist.results.files import results_from_json, results_to_json
from ai_scientist.results.reading import read_results
from ai_scientist.run_folder.workspace import RunFolder

FOLDER = "references"


def place_references(
    folder: RunFolder,
    journal: Journal,
    bench: Bench,
    notebook: Notebook,
    report: Callable[[str], None],
) -> Mapping[str, Results]:
    """Copy the references that can be compared into the run folder and its notes; return them."""

    def perform() -> Json:
        found = {}
        for name, content, results in _comparable(bench, report):
            folder.write({f"{FOLDER}/{name}.json": content})
            found[name] = results_to_json(results)
        if not found:
            return {"references": {}}
        names = [f"{FOLDER}/{name}.json" for name in found]
        return {
            "commit": folder.commit("Lay the template's references beside the runs", names),
            "references": found,
        }

    stored = journal.effect("references", perform)["references"]
    references = {name: results_from_json(results) for name, results in stored.items()}
    if references:
        report(f"beside the runs, as references: {', '.join(references)}")
        lines = reference_lines(references, bench.template.metrics)
        text = ["## References (measured by the template, no runs of this idea)", *lines]
        notebook.add_facts("references/notes", "\n".join(text))
    return references


def _comparable(bench: Bench, report: Callable[[str], None]) -> Iterator[tuple[str, str, Results]]:
    profile, template = bench.profile.name, bench.template
    for capsule in sorted((template.folder / "baselines" / profile).glob("*/run.json")):
        place = capsule.parent
        try:
            stored = json.loads(capsule.read_text())
            if "reference" not in stored:
                continue
            results = read_results(place / "final_info.json", template.metrics)
        except (OSError, ValueError, ResultError) as error:
            report(f"reference {place.name} cannot be read, and is left out: {error}")
            continue
        if stored.get("measured_with") != bench.measuring_key:
            report(
                f"reference {place.name} was measured with other code, packages or hardware, and "
                f"is left out; `python -m ai_scientist template baseline {template.name}` with its "
                "--family or --sae measures it anew"
            )
            continue
        content = (place / "final_info.json").read_text(encoding="utf-8")
        yield place.name, content, results
