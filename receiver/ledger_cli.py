"""The part of the `handoff` command that looks at the ledger, or changes something in it."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from functools import partial
from typing import TextIO

from receiver import listing
from receiver.delivery import ByHand
from receiver.errors import ReceiverError, SettingsError
from receiver.settings import check_database_urls, read_database_url
from registry_client.escaping import printable

SOME_ARE_DEAD = 3
Tell = Callable[[str], list[ByHand]]
Run = Callable[[argparse.Namespace, Mapping[str, str], TextIO, TextIO], int]


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `deliveries`, `redeliver`, `dismiss` and `migrate-database`."""
    _add_deliveries(commands.add_parser("deliveries", help="tell what came and what was sent"))
    _add_redeliver(commands.add_parser("redeliver", help="have something sent anew, with the same key"))
    _add_dismiss(commands.add_parser("dismiss", help="have something dead count as seen to, or not be sent"))
    _add_migrate(commands.add_parser("migrate-database", help="move the ledger to another database"))


def _add_deliveries(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--limit", type=positive, default=20, metavar="N", help="default: %(default)s")
    only = parser.add_mutually_exclusive_group()
    only.add_argument(
        "--dead",
        action="store_true",
        help=f"only what was given up; ends with {SOME_ARE_DEAD} where there is any, for a monitor",
    )
    only.add_argument("--open", action="store_true", help="only what is still to be sent")
    parser.set_defaults(run=_deliveries)
    show = parser.add_subparsers(metavar="show").add_parser("show", help="tell all about one delivery")
    show.add_argument("id", metavar="ID", help="the id, or how it begins")
    show.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print one JSON object")
    show.set_defaults(run=_show)


def _add_redeliver(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Says what it will do, then does it; a receiver may run meanwhile.  Where an earlier attempt may "
        "have arrived, its run is looked for first, so that nothing is built twice."
    )
    parser.add_argument("ids", nargs="+", metavar="ID", help="of a delivery or a dispatch, or how it begins")
    parser.add_argument(
        "--force",
        action="store_true",
        help="also what was sent or superseded, and without a look: this may build again",
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--yes", action="store_true", help="do not ask before --force")
    how.add_argument("--dry-run", action="store_true", help="only say it")
    parser.set_defaults(run=_redeliver)


def _add_dismiss(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Says what it will do, then does it.  What is dead counts as dead no more, for `deliveries --dead`; "
        "what waits is not sent.  Notices of the delivery go with it.  What can be sent, `handoff redeliver` "
        "still sends."
    )
    parser.add_argument("ids", nargs="+", metavar="ID", help="of a delivery or a dispatch, or how it begins")
    parser.add_argument("--dry-run", action="store_true", help="only say it")
    parser.set_defaults(run=_dismiss)


def _add_migrate(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Stop every receiver first.  The source is only read; the target must hold no delivery yet, and gets "
        "all or nothing.  A password need not stand here: PostgreSQL's client reads PGPASSWORD and ~/.pgpass."
    )
    parser.add_argument("source", metavar="SOURCE", help="sqlite:////var/lib/handoff/handoff.db, say")
    parser.add_argument("target", metavar="TARGET", help="postgresql://user@host/database, say")
    parser.set_defaults(run=_migrate)


def _deliveries(arguments: argparse.Namespace, environ: Mapping[str, str], out: TextIO, _err: TextIO) -> int:
    from receiver.ledger import Ledger  # noqa: PLC0415 - the receiver's extra may be missing

    none = "Nothing was delivered yet."
    with Ledger.read_only(read_database_url(environ)) as ledger:
        pauses, rejections = ledger.pauses(), []
        if arguments.dead:
            found, none = ledger.dead(arguments.limit), "Nothing is dead."
        elif arguments.open:
            found, none = ledger.unfinished(arguments.limit), "Nothing is open."
        else:
            found, rejections = ledger.deliveries(arguments.limit), ledger.rejections(arguments.limit)
    if arguments.json:
        out.write(listing.overview_json(found, rejections, pauses))
    else:
        out.write(listing.overview(found, rejections, pauses, none=none))
    return SOME_ARE_DEAD if arguments.dead and found else 0


def _show(arguments: argparse.Namespace, environ: Mapping[str, str], out: TextIO, _err: TextIO) -> int:
    from receiver.ledger import Ledger  # noqa: PLC0415 - the receiver's extra may be missing

    with Ledger.read_only(read_database_url(environ)) as ledger:
        delivery = ledger.delivery(arguments.id)
    out.write(listing.whole_json(delivery) if arguments.json else listing.whole(delivery))
    return 0


def _redeliver(arguments: argparse.Namespace, environ: Mapping[str, str], out: TextIO, err: TextIO) -> int:
    from receiver.ledger import Ledger  # noqa: PLC0415 - the receiver's extra may be missing

    url, force = read_database_url(environ), arguments.force
    with Ledger.read_only(url) as ledger:  # What this opens is there, and needs no migration.
        tell = partial(ledger.redeliver, now=_now(), force=force, only_tell=True)
        planned = _plan(tell, arguments.ids, out, err)
    if not planned or arguments.dry_run:
        return 0 if planned else 1
    if force and not arguments.yes and not _agreed(err):
        return 1
    with Ledger.open(url) as ledger:
        done, wanted = _do(partial(ledger.redeliver, now=_now(), force=force), planned, err)
    noticed = "within 10 seconds" if url.startswith("sqlite:") else "at once"
    _say(out, f"{done} to be sent: a dispatcher that runs notices {noticed}, others when they start.")
    return 0 if done == wanted else 1


def _dismiss(arguments: argparse.Namespace, environ: Mapping[str, str], out: TextIO, err: TextIO) -> int:
    from receiver.ledger import Ledger  # noqa: PLC0415 - the receiver's extra may be missing

    url = read_database_url(environ)
    with Ledger.read_only(url) as ledger:  # As above.
        planned = _plan(partial(ledger.dismiss, now=_now(), only_tell=True), arguments.ids, out, err)
    if not planned or arguments.dry_run:
        return 0 if planned else 1
    with Ledger.open(url) as ledger:
        done, wanted = _do(partial(ledger.dismiss, now=_now()), planned, err)
    _say(out, f"{done} dismissed; what can be sent, `handoff redeliver` still sends.")
    return 0 if done == wanted else 1


def _plan(tell: Tell, ids: Sequence[str], out: TextIO, err: TextIO) -> list[ByHand]:
    """Say what would become of each dispatch that is named, once; nothing where a name will not do."""
    told = [_told(tell, name, err) for name in ids]
    planned = list({one.dispatch_id: one for some in told for one in some}.values()) if all(told) else []
    for one in planned:
        _say(out, f"dispatch {one.dispatch_id} ({one.was.value}) {one.will}")
    return planned


def _told(tell: Tell, name: str, err: TextIO) -> list[ByHand]:
    try:
        return tell(name)
    except ReceiverError as error:
        _complain(err, error)
        return []


def _do(deed: Tell, planned: Sequence[ByHand], err: TextIO) -> tuple[int, int]:
    """Do it for each; how many that was, and of how many. What happened meanwhile may be against it."""
    wanted = [one.dispatch_id for one in planned if one.changes]
    return sum(bool(_told(deed, name, err)) for name in wanted), len(wanted)


def _agreed(err: TextIO) -> bool:
    """Ask a person; where there is none, refuse."""
    if not sys.stdin.isatty():
        raise SettingsError(["--force: may build again, and there is no terminal to ask; want --yes as well"])
    err.write("This may build again.  Go on? [y/N] ")
    err.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _migrate(arguments: argparse.Namespace, _environ: Mapping[str, str], out: TextIO, err: TextIO) -> int:
    check_database_urls(SOURCE=arguments.source, TARGET=arguments.target)
    from receiver.ledger.moving import move  # noqa: PLC0415 - the receiver's extra may be missing

    moved = move(arguments.source, arguments.target, report=lambda line: _say(err, line))
    out.write(
        f"Moved and compared: {moved.rows['deliveries']} deliveries, {moved.rows['dispatches']} dispatches "
        f"({moved.open_dispatches} of them open), digest {moved.digest[:12]}.\n"
        "The source is as it was.  Name the target in HANDOFF_DATABASE_URL, then start the receiver: on the "
        "source again, it would send what is open a second time.\n"
    )
    return 0


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _say(stream: TextIO, line: str) -> None:
    stream.write(f"{printable(line)}\n")


def _complain(err: TextIO, error: ReceiverError) -> None:
    _say(err, f"handoff: {error.reason}: {error}")


def positive(text: str) -> int:
    """Read a number from 1, for argparse."""
    if not re.fullmatch(r"[1-9][0-9]{0,5}", text):
        raise argparse.ArgumentTypeError(f"want a number from 1, got {text!r}")
    return int(text)
