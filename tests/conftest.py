"""One thread for every test: the nets here are too small to share, and threads that wait for each other cost more than they bring."""

import torch

torch.set_num_threads(1)
