"""``python -m pyledger.cli`` is ``pyledger``."""

import sys

from pyledger.cli import main

sys.exit(main())
