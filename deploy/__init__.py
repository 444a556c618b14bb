"""Installing and compiling on the machine that will run the line."""
