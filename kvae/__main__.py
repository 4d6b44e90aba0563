"""`python -m kvae`: the same as the `kvae` command."""

import sys

from kvae.cli.main import main

sys.exit(main())
