"""What holds for all tests."""

import signal

# Started in the background of a shell, this process would ignore Ctrl-C, and so would every child that a test
# interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
