"""Hidden checks that do to the process that grades what a fault in it would: for the tests of lost workers."""

from __future__ import annotations

import os
import signal

from instructor.grading.checks import check, question


@question("1", points=1, title="Deadly")
def deadly(student, own, rng):
    answer = student.value("answer")
    if answer == "deadly":
        os.kill(os.getpid(), signal.SIGKILL)
    yield check(1, answer == "harmless", "answer", expected="harmless", got=answer)
