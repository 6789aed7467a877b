"""What every test shares."""

from hypothesis import settings

# No test measures time, and CI sees the examples that the author saw.
settings.register_profile("house", deadline=None, derandomize=True)
settings.load_profile("house")
