"""What holds for all tests."""

import signal

from hypothesis import HealthCheck, settings

# A machine that is busy with other tests makes any one of them slow; no test is about time.
settings.register_profile("shared machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared machine")

# Started in the background of a shell, this process would ignore Ctrl-C, and so would every child that a test
# interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
