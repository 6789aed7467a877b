"""The export room loads no host and no format library before it needs one."""

import subprocess
import sys


def test_importing_the_room_loads_neither_hosts_nor_formats():
    program = (
        "import sys, snn_temporal_plugins.export as export\n"
        "heavy = {'nir', 'nirtorch', 'norse', 'snntorch', 'jsonschema', 'lightning'}\n"
        "print(sorted(heavy & set(sys.modules)), sorted(set(export.__all__) "
        "- set(dir(export))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split("\n")[0] == "[] []"
