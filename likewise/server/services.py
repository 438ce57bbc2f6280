"""Services: what the routes of data, trainings and evaluations have at hand beside the server."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from likewise.server.data.data_files import DataFiles
from likewise.server.jobs.store import Store
from likewise.server.processes.start import ChildProcess
from likewise.server.server import Server, get_server
from likewise.server.training import evaluations, trainings
from likewise.server.training.evaluations import Evaluations
from likewise.server.training.supervisor import Supervisor
from likewise.server.training.trainings import Trainings


@dataclass(frozen=True)
class Services:
    """Data sets, trainings and evaluations of a server, and who looks after their processes."""

    data: DataFiles
    supervisor: Supervisor
    trainings: Trainings
    evaluations: Evaluations


def install_services(server: Server) -> None:
    """Make the services of a server, which are started and closed with it."""
    at_once = {trainings.KIND: server.settings.trainings, evaluations.KIND: 1}
    data, supervisor = DataFiles(server.store, server.settings), Supervisor(server.jobs, at_once)
    server.services = Services(
        data, supervisor, Trainings(server, data, supervisor), Evaluations(server, data, supervisor)
    )
    server.on_start += [data.clean, lambda: remove_leftovers(server.store), supervisor.start]
    server.on_close.append(supervisor.close)


def remove_leftovers(store: Store) -> None:
    """Remove the folders of processes whose jobs were removed."""
    for folder in (*store.folder.glob("trainings/*"), *store.folder.glob("evaluations/*")):
        if store.job(folder.name) is None and not ChildProcess(folder).running:
            shutil.rmtree(folder, ignore_errors=True)


def get_services(request: Request) -> Services:
    """The services of a request, as a dependency of routes."""
    services: Services = get_server(request).services
    return services


CurrentServices = Annotated[Services, Depends(get_services)]
