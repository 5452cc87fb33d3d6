"""How hypothesis searches, and where objects are kept.

``HYPOTHESIS_PROFILE`` is deep or quick; with ``CI=true`` cases are the same each time.
"""

import os
import shutil
import tempfile

from hypothesis import HealthCheck, settings

settings.register_profile(
    "default",
    max_examples=80,
    deadline=None,  # a slow machine is no failure
    derandomize=os.environ.get("CI", "").lower() in ("1", "true"),
    print_blob=False,  # a failure prints a line to paste
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.register_profile("quick", settings.get_profile("default"), max_examples=20)  # under sanitizers
settings.register_profile("deep", settings.get_profile("default"), max_examples=5000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_configure(config):
    """Every process of a run, the commands that tests start too, compiles a source of the kernels once."""
    if "GOLDGRAD_OBJECTS" not in os.environ:
        folder = tempfile.mkdtemp(prefix="goldgrad-objects-")
        os.environ["GOLDGRAD_OBJECTS"] = folder
        config.add_cleanup(lambda: os.environ.pop("GOLDGRAD_OBJECTS"))
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
