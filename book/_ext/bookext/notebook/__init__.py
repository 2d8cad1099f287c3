"""From ``chapter.md`` to ``chapter.ipynb``: what Colab opens, nbval runs and readers download."""
