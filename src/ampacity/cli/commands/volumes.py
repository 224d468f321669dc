"""``ampacity volumes``: where data lies, and who mounts it."""

from __future__ import annotations

import click

from ampacity.cli.session import Session, VerbCommand, verb


@click.command(cls=VerbCommand)
@verb
def command(session: Session) -> None:
    """Show the volumes: on which nodes they are and where, to which they are near, and which workloads mount them.

    They stand under `storage:` in the topology file; `ampacity apply topology.yaml` changes them.
    """
    from itertools import takewhile

    from ampacity.cli.answer import plain, print_json
    from ampacity.cli.render.volumes import mounted_by, volumes_table

    with session.client() as client:
        storage = client.topology().storage
        live = takewhile(lambda view: not view.workload.phase.ended, client.workloads(page=1000) if storage else ())
        users = mounted_by(live)
    if session.json:
        volumes = [
            {"name": name, **plain(volume), "mounted_by": users.get(name, [])} for name, volume in storage.items()
        ]
        print_json({"volumes": volumes})
        return
    from ampacity.cli.render.console import show, tell

    if not storage:
        tell("There are no volumes: `ampacity apply topology.yaml` makes some, under `storage:`.")
        return
    show(volumes_table(storage, users))
