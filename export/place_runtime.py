"""Copy ONNX Runtime's libraries out of an unpacked wheel: `place_runtime.py FROM TO`.

The main library gets the plain name that is looked for; its helpers stay beside it.
"""

import re
import shutil
import sys
from pathlib import Path

MAIN = re.compile(r"(lib)?onnxruntime((\.\d+)*\.dylib|\.so(\.\d+)*|\.dll)")
HELPER = re.compile(r"(lib)?onnxruntime_providers_\w+\.(so|dylib|dll)")


def place(source: Path, target: Path) -> None:
    """Copy the libraries in `source` to `target`; exit with an error where there is none."""
    found = False
    for file in sorted(source.iterdir()):
        if MAIN.fullmatch(file.name):
            name = re.sub(r"(\.\d+)+", "", file.name)
            shutil.copyfile(file, target / name)
            found = True
        elif HELPER.fullmatch(file.name):
            shutil.copyfile(file, target / file.name)
    if not found:
        sys.exit(f"{source}: no ONNX Runtime library in this wheel")


if __name__ == "__main__":
    place(Path(sys.argv[1]), Path(sys.argv[2]))
