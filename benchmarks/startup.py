"""What starting costs: `import kvae` beside `import keras`, and `kvae --help`, in fresh processes, taken in turn.

Run it as `python benchmarks/startup.py [rounds]`.
"""

import statistics
import subprocess
import sys
import time

COMMANDS = {
    "import keras": [sys.executable, "-c", "import keras"],
    "import kvae": [sys.executable, "-c", "import kvae"],
    "kvae --help": ["kvae", "--help"],
}


def seconds(command):
    """Wall time of one run of `command`."""
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def main(rounds):
    """Print the median of each command, and of the ratio within a round."""
    rows = [{name: seconds(command) for name, command in COMMANDS.items()} for _ in range(rounds + 1)]
    del rows[0]  # it warmed the disk's cache up
    for name in COMMANDS:
        print(f"{name:>14}  {statistics.median(row[name] for row in rows):.2f} s")
    ratios = sorted(row["import kvae"] / row["import keras"] for row in rows)
    print(f"kvae / keras    {statistics.median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f} in {rounds} rounds)")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
