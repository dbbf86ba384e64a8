"""The values that flow through the program: frozen, and importing nothing of the package.

An `Idea` and a `Template` enter; `Edit`s and `Execution`s happen; `Run`s and `Attempt`s stay; a
`Study` is all of it, read back from a folder, for whoever writes, judges or shows.
"""

from __future__ import annotations

from ai_scientist.records.exchange import (
    Code,
    Edit,
    EditStatus,
    Message,
    ModelReply,
)
from ai_scientist.records.execution import (
    Execution,
    ExitCause,
    RunLimits,
    RunRequest,
)
from ai_scientist.records.inputs import (
    Control,
    Guard,
    Hypothesis,
    Idea,
    Limits,
    MetricSpec,
    Profile,
    Template,
)
from ai_scientist.records.plain import (
    Direction,
    Json,
    Scalar,
    number,
    parse_json,
    printable,
)
from ai_scientist.records.study import (
    NEVER_RAN,
    Attempt,
    AttemptKind,
    Check,
    Experiments,
    Finding,
    GateReport,
    Judgement,
    OpenNumber,
    Results,
    Run,
    Stop,
    Study,
    Verdict,
)

__all__ = [
    "NEVER_RAN",
    "Attempt",
    "AttemptKind",
    "Check",
    "Code",
    "Control",
    "Direction",
    "Edit",
    "EditStatus",
    "Execution",
    "ExitCause",
    "Experiments",
    "Finding",
    "GateReport",
    "Guard",
    "Hypothesis",
    "Idea",
    "Json",
    "Judgement",
    "Limits",
    "Message",
    "MetricSpec",
    "ModelReply",
    "OpenNumber",
    "Profile",
    "Results",
    "Run",
    "RunLimits",
    "RunRequest",
    "Scalar",
    "Stop",
    "Study",
    "Template",
    "Verdict",
    "number",
    "parse_json",
    "printable",
]
