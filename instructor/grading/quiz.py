"""A homework's questions with numbers for answers, as a quiz for Canvas and other systems that read QTI (text2qti writes it).

Prose is the students' notebook's; answers are the master's solution, run here with one student id for all: a quiz has no
numbers of each student's own, so those of that id are told.
"""

from __future__ import annotations

import contextlib
import io
import json
import numbers
import re
import textwrap
from pathlib import Path
from typing import Any

from instructor.grading.sandbox import ROOT

PART = re.compile(r"^(## Question)|^```\{code-cell\} ipython3\n((?::[^\n]*\n)*)\n?(.*?)^```$", re.DOTALL | re.MULTILINE)
LEAST = 1e-4  # what Canvas compares
BLANK = r"^{} = \.\.\."


def _prose(notebook: Path, names: set[str]) -> dict[str, str]:
    """For each name that students fill in, the text from the question's heading down to its cell."""
    found, text = dict[str, str](), ""
    for cell in json.loads(notebook.read_text("utf8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            source = re.sub(r"<a id=[^>]*></a>\n*", "", source)
            text = source if source.lstrip().startswith("## ") else f"{text}\n\n{source}"
        else:
            found |= {name: text for name in names if re.search(BLANK.format(name), source, re.MULTILINE)}
    return found


def answers(name: str, student: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The master's number for each name that students fill in, and what the question's cells print above it."""
    namespace: dict[str, Any] = {}
    values, printed, told = {}, "", {}
    for heading, options, code in PART.findall((ROOT / "instructor" / name / f"{name}.md").read_text("utf8")):
        if heading:
            printed = ""
            continue
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(code.replace('STUDENT_ID = "..."', f"STUDENT_ID = {student!r}"), namespace)
        if ":question:" in options:
            solution = "".join(re.findall(r"### BEGIN SOLUTION\n(.*?)### END SOLUTION", code, re.DOTALL))
            for variable in re.findall(r"^(\w+) = ", solution, re.MULTILINE):
                value = namespace.get(variable)
                if isinstance(value, numbers.Real) and not isinstance(value, bool):
                    values[variable], told[variable] = value, printed
        elif "hw.check(" not in code and "solution" not in options:
            printed += out.getvalue()
    return values, told


def text(name: str, student: str) -> str:
    """The quiz in text2qti's format; ValueError where the homework asks for no number."""
    values, told = answers(name, student)
    fitting = {variable for variable, value in values.items() if value == 0 or abs(value) >= LEAST}
    prose = _prose(ROOT / "book" / "homework" / f"{name}.ipynb", fitting)
    parts = [f"Quiz title: {name}", f"Quiz description: The questions of {name} that a number answers."]
    for count, (variable, above) in enumerate(prose.items(), 1):
        heading, _, body = above.strip().partition("\n")
        body = re.sub(r"\$\$\s*(.*?)\s*\$\$", lambda m: f"${' '.join(m[1].split())}$", body.strip(), flags=re.DOTALL)
        lines = "\n\n".join(f"`{line.strip()}`" for line in told[variable].splitlines() if line.strip())
        asked = "\n\n".join(filter(None, [body, lines, f"Give `{variable}`."]))
        value = values[variable]
        exact = isinstance(value, numbers.Integral)
        right = f"{value}" if exact else f"{value:.10g} +- {max(abs(value) * 1e-3, LEAST):.3g}"
        title = heading.lstrip("# ").strip()
        parts.append(
            f"Title: {title}: {variable}\n" + textwrap.indent(asked, " " * 5).replace(" " * 5, f"{count}.".ljust(5), 1)
        )
        parts[-1] += f"\n=   {right}"
    if not prose:
        raise ValueError(f"{name}: no question is answered by one number")
    return "\n\n".join(parts) + "\n"


def write(name: str, student: str, target: Path) -> int:
    """Write the zip to import; how many questions it has."""
    try:
        from text2qti.config import Config
        from text2qti.qti import QTI
        from text2qti.quiz import Quiz
    except ModuleNotFoundError as error:
        raise ValueError(f"a quiz needs text2qti ({error}): see requirements.txt") from None
    config = Config()
    config.load()
    quiz = Quiz(text(name, student), config=config, source_name=name)
    QTI(quiz).save(target)
    return len(quiz.questions_and_delims)
