"""What this CPU does, of one thread, whatever else goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from trainer.machine.project import PROJECT

MEASURED = """
import json, time
from trainer.machine.speed import cpu_speed
cpu_speed()  # the threads of BLAS have settled
own, all = time.thread_time(), time.process_time()
found = cpu_speed.__wrapped__()
print(json.dumps([found.core_gflops, found.bandwidth_gb_s, time.thread_time() - own, time.process_time() - all]))
"""


def test_the_speed_is_that_of_a_cpu_and_no_other_thread_helps_or_gets_in_its_way() -> None:
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}  # of the tests
    done = subprocess.run(
        [sys.executable, "-c", MEASURED], cwd=PROJECT, env=environment, capture_output=True, text=True, check=True
    )
    gflops, bandwidth, own_s, all_s = json.loads(done.stdout)
    assert 1 < gflops < 5000
    assert 0.1 < bandwidth < 5000
    assert all_s < 1.3 * own_s + 0.01
