"""How hypothesis searches: ``HYPOTHESIS_PROFILE`` is deep or quick; with ``CI=true`` cases are the same each time."""

import os

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
