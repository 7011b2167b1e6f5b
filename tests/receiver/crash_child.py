"""A process to be killed: it works on a ledger and prints what it has got confirmed, until it dies."""

from __future__ import annotations

import os
import signal
import sys
import threading

from sqlalchemy import Connection

from receiver.ledger import Ledger, accepts
from tests.receiver.fakes import LEASE, START, delivery, dispatch

THREADS = 8


def say(word: str) -> None:
    """Print a line at once and in one piece."""
    os.write(1, f"{word}\n".encode())


def accept_for_ever(ledger: Ledger) -> None:
    """Accept from several threads, and print each id once it is acknowledged."""

    def work(thread: int) -> None:
        for number in range(10**9):
            name = f"{os.getpid()}-{thread}-{number}"
            ledger.accept(delivery(name), [dispatch(name), dispatch(name, number=2, repository="acme/two")])
            say(name)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def die_inside_a_transaction(ledger: Ledger) -> None:
    """Accept one, then be killed with the second one written and not committed."""
    ledger.accept(delivery("first"), [dispatch("first")])
    say("first")

    def work(connection: Connection) -> None:
        second = delivery("second"), [dispatch("second")], accepts.DUPLICATE_WINDOW
        accepts.accept([accepts.Arrival.of(*second, connection.dialect)], connection)
        os.kill(os.getpid(), signal.SIGKILL)

    ledger._writes.run(work)


def claim_and_wait(ledger: Ledger) -> None:
    """Claim one, print it, and be busy sending it until killed."""
    ledger.accept(delivery("d1"), [dispatch("d1")])
    claim = ledger.claim(START, LEASE)
    assert claim is not None
    say(claim.dispatch.id)
    threading.Event().wait()


MODES = {
    "accept": accept_for_ever,
    "transaction": die_inside_a_transaction,
    "claim": claim_and_wait,
}


def main(mode: str, url: str) -> None:
    """Do what the mode says until killed."""
    with Ledger.open(url) as ledger:
        MODES[mode](ledger)


if __name__ == "__main__":
    main(*sys.argv[1:])
