"""What runs the network on tiles, and the proof that it is the trained one."""
