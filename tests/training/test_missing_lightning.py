import subprocess
import sys


def test_the_error_says_what_to_install():
    code = "import sys; sys.modules['lightning'] = None\nimport {}"
    for module in (
        "snn_temporal_plugins.training",
        "snn_temporal_plugins.training.idx",
    ):
        done = subprocess.run(
            [sys.executable, "-c", code.format(module)], capture_output=True, text=True
        )
        assert done.returncode == 1
        last = done.stderr.strip().splitlines()[-1]
        assert last.startswith("ImportError: snn_temporal_plugins.training needs")
        assert "pip install 'snn-temporal-plugins[lightning]'" in last
