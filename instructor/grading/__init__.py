"""Grading: student code answers with plain data from a sandbox, and only checks outside of it give points."""

VERSION = "1.0"
