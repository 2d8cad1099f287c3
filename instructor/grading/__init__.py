"""Grading: student code answers with plain data from a sandbox, and only checks outside of it give points."""

VERSION = "2.0"  # raise it when a grade can change: records of another version are graded anew
