"""``make offline``: the built site with its slides, notebooks and the wheel of ``labs`` as one zip, which opens from a folder.

Unpacked, ``index.html`` is the book; nothing in it asks for a network. The same site gives the same bytes.
"""

import sys
import zipfile
from pathlib import Path

from bookext.notebook.wheel import FOLDER as WHEEL
from bookext.notebook.wheel import wheel_name
from bookext.read.blocks import notebook_texts
from bookext.read.book import ROOT, config
from bookext.read.kept import BUILD

FOLDER, NAME = BUILD / "offline", "numerical-stability"
BEGINNING = (1980, 1, 1, 0, 0, 0)  # of a zip's time
README = """{title}, version {version}: a copy to use without a network.

Open index.html in a browser. The search, the live figures and the slides (slides/lecture.html) work from here.
In Chinese: zh/index.html, with its slides (zh/slides/lecture.html).

Notebooks lie in notebooks/, in Chinese in notebooks/zh/.
To run them, in an environment with PyTorch, matplotlib, SymPy, scikit-learn and Jupyter:

    pip install --no-index --no-deps {wheel}
    jupyter lab notebooks

The data, images of digits, come with scikit-learn.
"""


def write_zip(site: Path, target: Path) -> Path:
    """Pack a built site, with a README and its notebooks in a folder of their own."""
    target.parent.mkdir(parents=True, exist_ok=True)
    version = config()["repository"]["branch"]
    top = f"{NAME}-{version}"
    notes = README.format(title=config()["title"], version=version, wheel=f"{WHEEL}/{wheel_name()}")
    notebooks = {
        page.with_suffix(".ipynb").relative_to(ROOT / "book"): page.with_suffix(".ipynb") for page in notebook_texts()
    }
    (site / "index.html").stat()  # no built book, no zip
    with zipfile.ZipFile(target, "w") as packed:

        def add(name: str, data: bytes) -> None:
            entry = zipfile.ZipInfo(f"{top}/{name}", BEGINNING)
            entry.external_attr = 0o644 << 16
            packed.writestr(entry, data, zipfile.ZIP_DEFLATED)

        add("README.txt", notes.encode())
        for name, notebook in sorted(notebooks.items()):
            add(f"notebooks/{name.as_posix()}", notebook.read_bytes())
        for path in sorted(path for path in site.rglob("*") if path.is_file()):
            add(path.relative_to(site).as_posix(), path.read_bytes())
    return target


def main() -> int:
    target = write_zip(BUILD / "html", FOLDER / f"{NAME}-{config()['repository']['branch']}-offline.zip")
    print(f"{target.relative_to(ROOT)}: {target.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
