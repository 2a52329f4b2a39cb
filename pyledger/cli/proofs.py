"""prove, trust, verify, audit: what others can check, and checking it."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyledger.cli.shared import Options, command, print_fields, progress_bars, record_id, whole_number
from pyledger.errors import InputError, ProofError, StorageError

if TYPE_CHECKING:
    from pyledger.verifier import Trust

__all__ = ["add"]


def add(commands: Any) -> None:
    """Declare the commands of this file."""
    for declare in (_add_prove, _add_trust, _add_verify, _add_audit):
        declare(commands)


def _add_prove(commands: Any) -> None:
    summary = "Write the receipt of a transfer in a final block, an account's balance proof, or a consistency proof."
    parser = command(commands, "prove", _prove, summary)
    parser.add_argument("ledger", type=Path)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("id", type=record_id, nargs="?", help="of the transfer: 32 hexadecimal digits, or a number")
    what.add_argument(
        "--consistency",
        type=whole_number,
        nargs=2,
        metavar=("OLD", "NEW"),
        help="prove that the chain up to one height is the beginning of the chain up to another",
    )
    parser.add_argument(
        "--balance", action="store_true", help="the id is an account's: prove what it holds, or that there is none"
    )
    parser.add_argument(
        "--trusted-epoch",
        type=whole_number,
        default=0,
        metavar="N",
        help="epoch of the reader's trust file: changes of the validators before it are left out; default 0",
    )
    parser.add_argument("--out", type=Path, help="file; default ID.receipt, ID.balance or OLD-NEW.consistency")


def _prove(options: Options) -> int:
    from pyledger.formats.atomic import write_atomic
    from pyledger.node.embedded import Ledger

    kind = "consistency" if options.consistency else "balance" if options.balance else "receipt"
    if options.consistency and options.balance:
        raise InputError("--balance goes with an id, not with --consistency")
    epoch = options.trusted_epoch
    with Ledger.open(options.ledger, read_only=True) as ledger:
        if options.consistency:
            proof = ledger.prove_history(*options.consistency, trusted_epoch=epoch)
            name = "{}-{}".format(*options.consistency)
        else:
            prove = ledger.prove_balance if options.balance else ledger.prove
            proof, name = prove(options.id, trusted_epoch=epoch), f"{options.id:032x}"
    out = options.out or Path(f"{name}.{kind}")
    write_atomic(out, proof)
    print_fields({kind: str(out), "bytes": len(proof), "trust": str(options.ledger / "trust.json")}, options.json)
    return 0


def _add_trust(commands: Any) -> None:
    summary = "Follow the changes of the validators and write the trust file of those in office now."
    parser = command(commands, "trust", _trust, summary)
    parser.add_argument("ledger", type=Path)
    parser.add_argument("--trust", type=Path, required=True, help="trust file of the chain that is trusted so far")
    parser.add_argument("--out", type=Path, required=True, help="the new trust file")


def _trust(options: Options) -> int:
    from pyledger.formats.atomic import write_atomic
    from pyledger.node.embedded import Ledger
    from pyledger.node.verification import trust_after

    trust = _read_trust(options.trust)
    with Ledger.open(options.ledger, read_only=True) as ledger:
        if ledger.genesis.chain_id != trust.chain_id:
            raise InputError("is of another chain than the ledger", file=options.trust)
        reached = trust_after(trust, ledger.changes_of_validators(trust.epoch))
    write_atomic(options.out, reached.to_json().encode())
    fields = {"trust": str(options.out), "epoch": reached.epoch, "validators": len(reached.weights)}
    print_fields(fields, options.json)
    return 0


def _read_trust(path: Path) -> Trust:
    from pyledger.verifier import ReceiptError, Trust

    try:
        return Trust.read(path)
    except ReceiptError as error:
        raise InputError(str(error), file=path) from None
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}") from error


def _add_verify(commands: Any) -> None:
    parser = command(commands, "verify", _verify, "Check proofs and evidence offline, or tiled logs.")
    files = "files of prove, evidence of a node; with --log-key folders of export --tiles"
    parser.add_argument("proofs", type=Path, nargs="+", help=files)
    against = parser.add_mutually_exclusive_group(required=True)
    against.add_argument("--trust", type=Path, help="trust.json of the chain")
    against.add_argument("--log-key", metavar="NAME+ID+KEY", help="verifier key of the logs, as export --tiles prints")
    parser.add_argument("--independent", action="store_true", help="compute pairings with py_ecc, not with blst")


def _verify(options: Options) -> int:
    from pyledger import verifier

    if options.log_key is not None:
        return _verify_logs(options)
    flags = [*(["--independent"] if options.independent else []), *(["--json"] if options.json else [])]
    evidence = list(filter(_is_evidence, options.proofs))
    proofs = [str(path) for path in options.proofs if path not in evidence]
    status = verifier.main(["--trust", str(options.trust), *flags, *proofs]) if proofs else 0
    status = max([status, *(_verify_evidence(path, options) for path in evidence)])
    return 4 if status == 2 else status  # 2 is wrong usage on this command line


def _is_evidence(path: Path) -> bool:
    from pyledger.consensus.evidence import EVIDENCE_MAGIC

    try:
        with path.open("rb") as stream:
            return stream.read(len(EVIDENCE_MAGIC)) == EVIDENCE_MAGIC
    except OSError:
        return False  # the verifier says what it is


def _verify_evidence(path: Path, options: Options) -> int:
    from pyledger.node.verification import verify_evidence

    trust = _read_trust(options.trust)
    try:
        proven = verify_evidence(path.read_bytes(), trust)
    except ProofError as error:
        print(f"{path}: NOT VALID: {error}", file=sys.stderr)
        return 1
    fields = {**proven._asdict(), "public_key": proven.public_key.hex()}
    print_fields({"file": str(path), "valid": True, "contradiction": True, **fields}, options.json)
    return 0


def _verify_logs(options: Options) -> int:
    from pyledger.ledger.history import VerifierKey
    from pyledger.ledger.tiles import check_log

    key = VerifierKey.parse(options.log_key)
    for folder in options.proofs:
        checkpoint = check_log(folder, key)
        print_fields({"log": str(folder), "valid": True, **asdict(checkpoint)}, options.json)
    return 0


def _add_audit(commands: Any) -> None:
    parser = command(commands, "audit", _audit, "Replay a ledger from genesis and check everything in it.")
    parser.add_argument("ledger", type=Path)
    parser.add_argument(
        "--reach",
        action="append",
        default=[],
        metavar="PROOF|HEIGHT[:HASH]",
        help="a receipt or other proof that you hold, a header, or the height and block hash that an earlier audit "
        "printed: the ledger must hold that block; may be given several times",
    )


def _audit(options: Options) -> int:
    from pyledger.jobs.lookups import reach_from
    from pyledger.node.embedded import Ledger

    genesis = Ledger.read_genesis(options.ledger)
    reach = [reach_from(text, genesis) for text in options.reach]
    with progress_bars() as progress:
        report = Ledger.audit_folder(options.ledger, lambda height, last: progress("audit", height, last), reach=reach)
    fields = {**asdict(report), "tip": report.tip.hex(), "ok": report.ok}
    print_fields(fields, options.json)
    return 0 if report.ok else 1
