"""Trials of single libraries, each in a process of its own: one that crashes takes no other along.

`python -m spotmill.doctor.probes NAME` prints one line of JSON, or fails with a traceback.
"""

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path


def torch() -> dict[str, str]:
    """Multiply matrices on the processor and on every GPU."""
    import torch

    def works(device: str) -> bool:
        matrix = torch.arange(16.0, device=device).reshape(4, 4)
        return float((matrix @ matrix).sum()) == 3920.0

    if not works("cpu"):
        return {"failure": "multiplies matrices wrongly", "remedy": "install torch again"}
    found = f"{torch.__version__}, processor works"
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            name = torch.cuda.get_device_name(number)
            if not works(f"cuda:{number}"):
                wrong = f"GPU {number} ({name}) multiplies matrices wrongly"
                return {"failure": wrong, "remedy": "update its driver"}
            found += f", GPU {number} works ({name})"
    elif Path("/dev/nvidia0").exists():
        return {
            "found": found,
            "warning": "there is an NVIDIA GPU that torch cannot use",
            "remedy": "install a build of torch for it (pytorch.org) or update the driver",
        }
    else:
        found += ", no GPU: models train on the processor"
    return {"found": found}


def numba() -> dict[str, str]:
    """Compile a function, and find room for what is compiled."""
    import numba
    import numpy as np

    @numba.njit
    def total(values: np.ndarray) -> float:
        result = 0.0
        for value in values:
            result += value
        return result

    if total(np.arange(101.0)) != 5050.0:
        return {"failure": "compiles wrongly", "remedy": "install numba again"}
    return {"found": f"{numba.__version__}, compiles"}


# Filters of HDF5 that detectors and Spotmill write with.
FILTERS = ("Blosc", "Bitshuffle", "LZ4", "Zstd")


def hdf5plugin() -> dict[str, str]:
    """Write and read an image through every filter."""
    import h5py
    import hdf5plugin
    import numpy as np

    image = np.arange(512 * 512, dtype=np.uint32).reshape(512, 512) % 7
    with tempfile.TemporaryDirectory() as folder:
        for name in FILTERS:
            path = Path(folder, f"{name}.h5")
            with h5py.File(path, "w") as file:
                file.create_dataset("data", data=image, **getattr(hdf5plugin, name)())
            with h5py.File(path, "r") as file:
                packed = file["data"].id.get_storage_size() < image.nbytes / 2
                if not packed or not np.array_equal(file["data"][()], image):
                    remedy = "install hdf5plugin and h5py again, from one source"
                    return {"failure": f"{name} gives other pixels back", "remedy": remedy}
    return {"found": f"{hdf5plugin.version}, {', '.join(FILTERS)} give back what was packed"}


def fabio() -> dict[str, str]:
    """Write and read an image as detectors do that write no HDF5."""
    import fabio
    import numpy as np
    from fabio.cbfimage import CbfImage

    image = np.arange(64 * 48, dtype=np.int32).reshape(48, 64)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "frame.cbf")
        CbfImage(data=image).write(str(path))
        if not np.array_equal(fabio.open(str(path)).data, image):
            remedy = "install fabio again"
            return {"failure": "gives other pixels back", "remedy": remedy}
    return {"found": f"{fabio.version}, reads CBF"}


PROBES: dict[str, Callable[[], dict[str, str]]] = {
    "torch": torch,
    "numba": numba,
    "hdf5plugin": hdf5plugin,
    "fabio": fabio,
}

if __name__ == "__main__":
    print(json.dumps(PROBES[sys.argv[1]]()))
