"""Answers to plant, a file a homework.

WRONG: question, how the hidden check's message begins, the answer's cell, and what the visible check says (where that is
checked). RIGHT: question and cell.
"""
