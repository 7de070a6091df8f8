"""What serving costs: Sealgate and its peers in one run, by the CPU time of every server process.

::

    __main__   the command: which rows, how many rounds, where the results go
    run        rounds and phases: start, warm, load, connect, stop
    rows/      one file per server; each names its rows, and how to start them
    apps       the application all of them serve
    load       wrk, the handshake client, a first look at what was negotiated
    connect    the handshake client itself (its own process, on the load's core)
    mutual     handshakes with client certificates
    guard      the guard in one process; validate: its judgement of bodies
    today      Sealgate beside what people build today; stacks: both of them, today_app: the app behind theirs
    kept       its load: kept connections with a client certificate; issuer: its tokens
    scale      many revoked clients; steady: its load; serving: `sealgate serve` for all of these
    processes  starting, measuring and stopping a tree of processes
    machine    cores, descriptors, a loopback address and ports of this run's own
    pki        the certificate that peers serve
    summary    medians, ratios, targets (pure)
    report     the table for people; chart: the picture

``docs/benchmarks.md`` says how to read the numbers.
"""
