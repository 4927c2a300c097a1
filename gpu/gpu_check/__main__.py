"""`python -m gpu_check`, called by `gpu/check.sh`."""

import sys

from gpu_check.cli import main

sys.exit(main())
