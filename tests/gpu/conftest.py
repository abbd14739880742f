"""Tests of what only a GPU can show; on machines without one they are not collected, so that nothing is skipped."""

import torch

collect_ignore_glob = [] if torch.cuda.is_available() else ["test_*.py"]
