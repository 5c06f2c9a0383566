"""What importing the package brings along: torch and little else."""

import subprocess
import sys

HEAVY = ("sklearn", "scipy", "matplotlib", "pandas", "torchvision", "skimage", "openTSNE")


def test_data_models_and_loops_are_as_light_as_torch():
    code = (
        "import sys; import cifar_utils.data, cifar_utils.train, cifar_utils.models, cifar_utils.measure\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "[]"
