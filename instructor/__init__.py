"""What instructors have and students have not: masters with solutions, hidden checks, release and grading.

The folder is detachable: the public tree leaves it out, and the rest builds and tests without it.
"""
