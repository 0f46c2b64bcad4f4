"""One thread for every test and all it starts: the nets here are too small to share, and threads that wait for each other cost more than
they bring, above all where another file of tests runs beside this one."""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch reads it; processes inherit it

import torch

torch.set_num_threads(1)
