"""`trainer lint`: what is wrong with a dataset folder, found before it costs a training run."""
