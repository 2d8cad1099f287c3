"""What the sandbox sees of the grader: this folder, which imports nothing of ``instructor`` outside of it and holds nothing secret."""
