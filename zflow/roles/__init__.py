"""What is decided: plain objects without sockets, clocks, threads or os. Drivers carry out what they return."""
