"""Stage `check`: refuse what cannot work before DVC removes any output.

reads:  params.yaml, the architecture files, pretrained/, the folder that data_path names
writes: data/checked.txt, data/start_weights.txt

example: python -m pipeline.check
"""

from __future__ import annotations

# Only the standard library is imported until the environment is known to be complete.
import importlib.util
import sys

from adl import runtime
from pipeline import CHECKED, PRETRAINED, RECORDS, START_WEIGHTS, SYNTHETIC, parser, run

PACKAGES = (
    "mindspore", "dvclive", "numpy", "cv2", "pandas", "matplotlib", "cityscapesscripts", "pydantic", "tabulate", "tqdm",
    "PIL",
)  # fmt: skip


def environment() -> None:
    missing = [name for name in (*PACKAGES, "ruamel.yaml") if importlib.util.find_spec(name.split(".")[0]) is None]
    if missing:
        print(
            f"error: {sys.executable} lacks {', '.join(missing)}: run `source .venv/bin/activate` first "
            "(`make repro` makes that environment).",
            file=sys.stderr,
        )
        sys.exit(2)


def main() -> None:
    parser("check", __doc__).parse_args()
    environment()

    from adl import artifacts, params, preflight

    p = params.load()
    places = {"pretrained": PRETRAINED, "synthetic": SYNTHETIC, "records": RECORDS, "states": runtime.state_folder()}
    start_weights = preflight.check(p, **places)
    artifacts.write_text(START_WEIGHTS, f"{start_weights}\n")
    artifacts.write_text(CHECKED, "parameters, architecture and data layout were checked\n")


if __name__ == "__main__":
    run(main)
