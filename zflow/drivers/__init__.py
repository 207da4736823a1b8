"""What is done: sockets, clocks and user code. Only here is zmq imported."""
