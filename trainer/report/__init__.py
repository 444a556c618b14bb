"""What an evaluation says, for reading: a table in the terminal and a page that needs no network."""
