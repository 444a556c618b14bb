"""Where frames come from: a device, a stream, files or the simulator."""
