"""What this machine does with networks of known size: parity, speed, memory and a soak, on every engine."""
