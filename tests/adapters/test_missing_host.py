import subprocess
import sys

import pytest

PROGRAM = """
import sys
sys.modules[{host!r}] = None
import snn_temporal_plugins
try:
    import snn_temporal_plugins.adapters.{adapter}
except ImportError as error:
    sys.exit(0 if {command!r} in str(error) else str(error))
sys.exit("imported")
"""


@pytest.mark.parametrize(
    ("adapter", "command"),
    [
        ("snntorch", 'pip install "snn-temporal-plugins[snntorch]"'),
        ("norse", "pip install --no-deps norse==1.1.0"),
    ],
)
def test_a_missing_host_is_an_import_error_with_the_cure(adapter, command):
    program = PROGRAM.format(host=adapter, adapter=adapter, command=command)
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
