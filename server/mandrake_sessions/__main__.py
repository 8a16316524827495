"""``python -m mandrake_sessions``"""

import sys

from mandrake_sessions.cli import main

sys.exit(main())
