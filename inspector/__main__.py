"""`python -m inspector`, which also is how a command starts another one in its own process."""

import sys

from inspector.cli.main import main

sys.exit(main())
