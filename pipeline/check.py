"""Stage `check`: refuse what cannot work before DVC removes any output.

reads:  params.yaml, the architecture files, pretrained/, the folder that data_path names
writes: data/checked.txt, data/start_weights.txt

example: python -m pipeline.check
"""

from __future__ import annotations

# Only the standard library is imported until the environment is known to be complete.
import importlib.util
import sys

from adl.errors import AdlError
from adl.workspace import CHECKED, START_WEIGHTS
from pipeline import parser, run

PACKAGES = (
    "mindspore", "dvclive", "numpy", "cv2", "pandas", "matplotlib", "cityscapesscripts", "pydantic", "tabulate", "tqdm",
    "PIL", "ruamel.yaml",
)  # fmt: skip


def main() -> None:
    parser("check", __doc__).parse_args()
    missing = [name for name in PACKAGES if importlib.util.find_spec(name.split(".")[0]) is None]
    if missing:
        raise AdlError(
            f"{sys.executable} lacks {', '.join(missing)}: run `source .venv/bin/activate` first "
            "(`make repro` makes that environment)."
        )

    from adl import files, preflight
    from adl.config import params
    from adl.prepare import draw

    p = params.load()
    start_weights = preflight.check(p)
    files.write_text(START_WEIGHTS, f"{start_weights}\n")
    checked = "parameters, architecture and data layout were checked\n"
    if p.descriptor.draw:
        # Another draw is the one change that every later stage follows from.
        checked += f"splits: {files.digest(draw.lock_file(p.descriptor))}\n"
    files.write_text(CHECKED, checked)


if __name__ == "__main__":
    run(main)
