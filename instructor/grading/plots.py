"""``statistics.svg``: points and time for each question, and the misconceptions that most answers show."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from instructor.grading.batch import Record, load

MOST = 12  # misconceptions shown
LONG = 110  # characters of one
BLUE, RED = "#1565C0", "#C03B2F"


def records(folder: Path) -> list[Record]:
    """The records of those who handed something in; ValueError if there are none."""
    found = [record for path in sorted(folder.glob("*.json")) if (record := load(path))]
    found = [r for r in found if not {x["state"] for x in r["results"]} & {"no submission", "not graded"}]
    if not found:
        raise ValueError(f"{folder}: no record of a graded submission; run `grade` first")
    return found


def took(path: Path) -> dict[str, list[float]]:
    """Seconds by question, of each student's last time."""
    last: dict[str, dict[str, float]] = {}
    if path.is_file():
        for line in path.read_text("utf8").splitlines():
            entry = json.loads(line)
            last[entry["id"]] = last.get(entry["id"], {}) | entry["seconds"]
    found = defaultdict(list)
    for seconds in last.values():
        for number, value in seconds.items():
            found[number].append(value)
    return found


def misconceptions(found: Sequence[Record]) -> list[tuple[str, int]]:
    """What the failed rules said, with the number of students, the most frequent first."""
    count: Counter[str] = Counter()
    for record in found:
        for r in record["results"]:
            count.update({f"{r['question']}: {i['feedback']}" for i in r["items"] if not i["ok"]})
    return sorted(count.items(), key=lambda item: (-item[1], item[0]))


def _boxes(axes: Axes, numbers: Sequence[str], values: Sequence[Sequence[float]], label: str) -> None:
    style: dict[str, Any] = {"medianprops": {"color": RED, "lw": 2}, "flierprops": {"markersize": 2}}
    axes.boxplot([list(v) or [0] for v in values], tick_labels=list(numbers), whis=(5, 95), **style)
    axes.set_ylabel(label)
    axes.spines[["top", "right"]].set_visible(False)


def plot(out: Path) -> Path:
    """Draw ``out``'s records; the file that was written. The grader's points: without what a person decided."""
    found, seconds = records(out / "records"), took(out / "records" / "seconds.jsonl")
    numbers = [r["question"] for r in found[0]["results"]]
    full = {r["question"]: r["out_of"] for r in found[0]["results"]}
    shares = {
        n: [
            r["points"] / full[n]
            for record in found
            for r in record["results"]
            if r["question"] == n and r["points"] is not None
        ]
        for n in numbers
    }
    common = misconceptions(found)[:MOST]
    with mpl.rc_context({"svg.hashsalt": "statistics", "font.size": 9, "svg.fonttype": "none"}):
        figure = Figure(figsize=(8, 5.5 + 0.3 * len(common)), layout="constrained")
        points, time, wrong = figure.subplots(3, height_ratios=[2.5, 2.5, 0.3 * len(common) + 0.5])
        points.bar(numbers, [sum(v) / len(v) if v else 0 for v in shares.values()], color=BLUE)
        for k, n in enumerate(numbers):
            points.annotate(f"{len(shares[n])}", (k, 0.02), ha="center", color="white", fontsize=7)
        points.set(ylim=(0, 1), ylabel="mean share of the points", title=f"{out.name}: {len(found)} submissions")
        points.spines[["top", "right"]].set_visible(False)
        _boxes(time, numbers, [seconds.get(n, []) for n in numbers], "seconds (first: with the cells)")
        time.set_xlabel("question")
        for k, (text, count) in enumerate(common):
            wrong.barh(k, count, height=0.3, color=RED)
            short = text if len(text) <= LONG else text[: LONG - 1] + "…"
            wrong.text(0, k - 0.2, short, va="bottom", fontsize=8, parse_math=False)
        wrong.set_yticks([])
        wrong.set_ylim(len(common) - 0.5, -0.8)
        wrong.set(xlabel="students", title="what failed most")
        wrong.spines[["top", "right"]].set_visible(False)
        figure.savefig(out / "statistics.svg", metadata={"Date": None})
    return out / "statistics.svg"
