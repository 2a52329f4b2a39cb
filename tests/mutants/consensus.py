"""One-line changes that break a rule of consensus; every one must be killed by a schedule or a test.

(name, file, text as it stands, text of the mutant). The text must stand in the file exactly once.
"""

TESTS = ("tests/consensus",)

PROTOCOL, CHAIN, CERTIFICATES, STATE, SYNC, INCLUSION, DRIVER, EVIDENCE, MESSAGES, STORE, SIGNING, LIGHT = (
    f"pyledger/consensus/{name}.py"
    for name in (
        "protocol",
        "chain",
        "certificates",
        "state",
        "sync",
        "inclusion",
        "driver",
        "evidence",
        "messages",
        "vote_store",
        "signing",
        "light_client",
    )
)

MUTANTS = [
    # quorums
    ("two thirds are a quorum", CERTIFICATES, "self.quorum = total * 2 // 3 + 1", "self.quorum = total * 2 // 3"),
    (
        "a third can be all honest",
        CERTIFICATES,
        "self.blocking = total - self.quorum + 1",
        "self.blocking = total - self.quorum",
    ),
    (
        "certificates need no quorum",
        CERTIFICATES,
        "epoch.weight_of_bitmap(certificate.signers) < epoch.quorum",
        "False",
    ),
    ("certificates of another epoch count", CERTIFICATES, "if not epoch.concerns(certificate.statement) or", "if"),
    (
        "certificates' signatures are not checked",
        CERTIFICATES,
        "return signing.are_signed_by_all(epoch.validators, parts)",
        "return True",
    ),
    ("padding of a bitmap may be anything", CERTIFICATES, "or bits >> self.size:", "and bits >> self.size:"),
    (
        "timeout certificates need no quorum",
        CERTIFICATES,
        "if epoch.weight_of(signers) < epoch.quorum:\n        return False\n    if max",
        "if max",
    ),
    ("a validator may give up twice in a certificate", CERTIFICATES, "or not rising or", "or"),
    (
        "timeout certificates of another epoch count",
        CERTIFICATES,
        "certificate.epoch != epoch.number or not rising",
        "not rising",
    ),
    (
        "a timeout certificate's signatures are not checked",
        CERTIFICATES,
        "return signing.are_timeouts_signed(epoch.validators, statements, certificate.signature)",
        "return True",
    ),
    (
        "a timeout certificate may come with a lower certificate",
        CERTIFICATES,
        "if max([high for _, high in certificate.high_rounds]) != certificate.high.statement.round:",
        "if False:",
    ),
    (
        "the lowest certificate goes into a timeout certificate",
        CERTIFICATES,
        "max(ordered, key=lambda timeout: timeout.statement.high_round).high",
        "min(ordered, key=lambda timeout: timeout.statement.high_round).high",
    ),
    (
        "wrong signatures stay in a certificate",
        CERTIFICATES,
        "right = [index for index in signatures if index not in wrong]",
        "right = list(signatures)",
    ),
    # voting
    (
        "a node votes again in a round",
        PROTOCOL,
        "if block.round <= record.voted or block.round <= record.timed_out:",
        "if block.round <= record.timed_out:",
    ),
    (
        "a node votes in a round that it gave up",
        PROTOCOL,
        "if block.round <= record.voted or block.round <= record.timed_out:",
        "if block.round <= record.voted:",
    ),
    (
        "the lock is not asked",
        PROTOCOL,
        "if record.lock is not None and block.support < record.lock.statement.round:",
        "if False:",
    ),
    ("a vote locks nothing", PROTOCOL, "        lock=lock,\n", ""),
    ("giving up locks nothing", PROTOCOL, "record = msgspec.structs.replace(record, lock=high)", "pass"),
    ("the vote is not recorded", PROTOCOL, "        voted=block.round,\n", ""),
    (
        "giving up is not recorded",
        PROTOCOL,
        "timed_out=max(record.timed_out, state.round)",
        "timed_out=record.timed_out",
    ),
    (
        "the proposal is not recorded",
        PROTOCOL,
        "        proposed=record.proposed if proposal is None else block.round,\n",
        "",
    ),
    (
        "a block may stand on anything",
        PROTOCOL,
        "return block.round == state.round and _is_supported(block.round, proposal.parent, proposal.timeout)",
        "return block.round == state.round",
    ),
    (
        "a block may stand on an older certificate than the timeouts report",
        PROTOCOL,
        "failed.round + 1 == round and parent.statement.round >= failed.high.statement.round",
        "failed.round + 1 == round",
    ),
    (
        "an old timeout certificate excuses any round",
        PROTOCOL,
        "failed is not None and failed.round + 1 == round and",
        "failed is not None and",
    ),
    (
        "a proposal's certificate is not checked",
        PROTOCOL,
        "if not take_certificate(state, proposal.parent, sender):\n        return False\n",
        "",
    ),
    (
        "a proposal's timeout certificate is not checked",
        PROTOCOL,
        "if proposal.timeout is not None and not take_timeout_certificate(state, proposal.timeout, sender):\n        return False\n",
        "",
    ),
    ("the certificate may be for another block than the parent", PROTOCOL, "parent.block_hash != block.parent or", ""),
    ("heights may be left out", PROTOCOL, "parent.height + 1 != block.height or", ""),
    (
        "anybody may propose",
        PROTOCOL,
        "or proposal.validator != epoch.leader(header.round):",
        "or proposal.validator >= epoch.size:",
    ),
    (
        "proposals are not signed",
        PROTOCOL,
        "if not state.signing.is_signed(epoch.validators, proposal.validator, statement, proposal.signature):",
        "if False:",
    ),
    ("proposals of another chain count", PROTOCOL, "if not epoch.concerns(block.statement):", "if False:"),
    (
        "a second proposal is taken",
        PROTOCOL,
        "        )\n    return True\n\n\ndef _is_justified",
        "        )\n    return False\n\n\ndef _is_justified",
    ),
    (
        "a wrong state root is voted for",
        PROTOCOL,
        "if verdict.state_root != block.statement.state_root:",
        "if verdict.state_root is None:",
    ),
    (
        "an invalid block is voted for",
        PROTOCOL,
        "if verdict.state_root != block.statement.state_root:",
        "if verdict.state_root not in (None, block.statement.state_root):",
    ),
    ("time may run back", PROTOCOL, "return parent.time_ns < block.time_ns <=", "return block.time_ns <="),
    (
        "time may run ahead",
        PROTOCOL,
        "return parent.time_ns < block.time_ns <= state.now_ns + state.parameters.skew_ns",
        "return parent.time_ns < block.time_ns",
    ),
    (
        "blocks go on behind the end of an epoch",
        PROTOCOL,
        "return block.closing and block.statement.state_root == parent.statement.state_root",
        "return True",
    ),
    ("closing blocks may come anywhere", PROTOCOL, "return not block.closing", "return True"),
    ("an omitted batch does not matter", PROTOCOL, "if block.omits or parent is None", "if parent is None"),
    (
        "votes of another epoch count",
        PROTOCOL,
        "if not epoch.concerns(statement):\n        greet_other_epoch(state, sender, statement.epoch)\n        return\n    if not state.round <=",
        "if not state.round <=",
    ),
    (
        "a vote in another's name shuts the right one out",
        PROTOCOL,
        "    if not _is_vote_signed(state, before):\n        return True\n",
        "",
    ),
    (
        "timeouts are not signed",
        PROTOCOL,
        "if statement.high_round >= statement.round or not state.signing.is_signed(\n        epoch.validators, timeout.validator, statement, timeout.signature\n    ):",
        "if statement.high_round >= statement.round:",
    ),
    (
        "a timeout's certificate is not checked",
        PROTOCOL,
        "if not take_certificate(state, timeout.high, sender) or state.epoch is not epoch:",
        "if state.epoch is not epoch:",
    ),
    (
        "a timeout may report a round that its certificate is not of",
        PROTOCOL,
        "if timeout.validator >= epoch.size or statement.high_round != timeout.high.statement.round:",
        "if timeout.validator >= epoch.size:",
    ),
    (
        "timeouts below a quorum end a round",
        PROTOCOL,
        "if epoch.weight_of([timeout.validator for timeout in same]) >= epoch.quorum:",
        "if epoch.weight_of([timeout.validator for timeout in same]) >= epoch.blocking:",
    ),
    # finality
    ("rounds need not be consecutive", CHAIN, "if parent.round + 1 == block.round and", "if"),
    (
        "one certificate is final",
        CHAIN,
        "if parent.round + 1 == block.round and parent.height > state.final.height:\n        _finalise(state, parent, block)",
        "if block.height > state.final.height:\n        _finalise(state, block, block)",
    ),
    (
        "certificates are believed",
        CHAIN,
        "if not are_certified(state.epoch, state.signing, (certificate,)):\n        return False\n",
        "",
    ),
    ("the highest certificate is forgotten", CHAIN, "if statement.round > state.high.statement.round:", "if False:"),
    (
        "any later certificate counts as the highest",
        CHAIN,
        "if statement.round > state.high.statement.round:",
        "if True:",
    ),
    (
        "timeout certificates are believed",
        CHAIN,
        "if not is_timeout_certified(state.epoch, state.signing, certificate):\n        return False\n",
        "",
    ),
    (
        "a timeout certificate's high certificate is believed",
        CHAIN,
        "if not take_certificate(state, certificate.high, sender):\n        return False\n",
        "",
    ),
    (
        "a new epoch begins on a block behind the last one",
        CHAIN,
        "count = next((place + 1 for place, block in enumerate(path) if block.ends_epoch), len(path))",
        "count = len(path)",
    ),
    (
        "a new epoch begins before its predecessor's last block is final",
        CHAIN,
        "    state.final = entries[-1]\n",
        "    state.final = path[-1]\n",
    ),
    (
        "blocks are executed before their parents",
        CHAIN,
        "parent is not None and parent.status == EXECUTED:",
        "parent is not None:",
    ),
    (
        "blocks beside the final one are kept",
        CHAIN,
        "if block.parent in kept and block.height > state.final.height:",
        "if block.height > state.final.height:",
    ),
    ("the record of the old epoch stays", CHAIN, "    state.record = VoteRecord(epoch=number)\n", ""),
    (
        "the old validators stay in office",
        CHAIN,
        "validators = state.validators_of(next_hash)",
        "validators = state.epoch.validators",
    ),
    # starting again
    ("the record is forgotten on restart", STATE, "    _restore_record(state, record)\n", ""),
    ("the lock is forgotten on restart", STATE, "known = [state.record.lock, *", "known = [*"),
    (
        "what stored blocks stand on is forgotten",
        STATE,
        "            if parent.certificate is None:\n                parent.certificate = certificate\n",
        "",
    ),
    (
        "a node starts in a round that it has left",
        STATE,
        "    state.round = max(state.record.voted, state.record.timed_out, state.record.proposed, state.high.statement.round + 1)",
        "    state.round = state.high.statement.round + 1",
    ),
    # catching up
    (
        "synced blocks are believed",
        SYNC,
        "if not found or not are_certified(state.epoch, state.signing, [entry.certificate for _, entry in found]):",
        "if not found:",
    ),
    (
        "a synced block's certificate may be for another",
        SYNC,
        "if block.statement != entry.certificate.statement or not",
        "if not",
    ),
    # include-by
    (
        "a certificate of a batch is believed",
        INCLUSION,
        "if not are_certified(state.epoch, state.signing, (certificate,)):",
        "if False:",
    ),
    (
        "a leader leaves out what is due",
        PROTOCOL,
        "Prepare(draft, state.inclusion.due(round), urgent)",
        "Prepare(draft, (), urgent)",
    ),
    (
        "nothing is ever due",
        CHAIN,
        "Execute(block.hash, block.content, state.inclusion.due(state.round - state.parameters.include_rounds))",
        "Execute(block.hash, block.content, ())",
    ),
    # the driver
    (
        "messages leave before the record is durable",
        DRIVER,
        "        self._records.save(effect.record)\n        self._events.append(Persisted(self._surroundings.now_ns(), effect.number))",
        "        self.feed_later = Persisted(self._surroundings.now_ns(), effect.number)\n        for late in step(self.state, self.feed_later)[1]:\n            self._actions[type(late)](late)\n        self._records.save(effect.record)",
    ),
    ("the record is not made durable", DRIVER, "        self._records.save(effect.record)\n", ""),
    ("the block is not made durable", DRIVER, "            self._blocks.put(*effect.block)\n", "            pass\n"),
]
