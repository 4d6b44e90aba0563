"""`python -m kvae`: the same as the `kvae` command."""

import sys

from kvae.cli import main

sys.exit(main())
