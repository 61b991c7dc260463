"""SCEP with an inventory in PostgreSQL: several servers have one challenge, and give one certificate."""

import threading
import time
from pathlib import Path

from apple_ber import Phone, find_key, read_reply
from invited import invite_to_scep
from keyfob.enrolment.scep.responder import Responder
from keyfob.pki.ra import open_ra
from keyfob.pki.registry import Registry
from postgresql import fresh_database
from registries import make_registry


def test_of_many_servers_one_gives_a_certificate(tmp_path: Path) -> None:
    """Each has connections of its own; the challenge is one row, which is held before anything is signed."""
    with fresh_database() as url:
        registry = make_registry(tmp_path / "home", inventory=url)
        ra, challenge = open_ra(registry), invite_to_scep(registry, "My iPhone")
        phones = [Phone(find_key(f"phone {number}")) for number in range(4)]
        together = threading.Barrier(len(phones))
        found: list[str] = []

        def send(phone: Phone) -> None:
            own = Registry(registry.folder)
            with own.inventory:
                responder, body = Responder(own), phone.ask(ra.certificate, challenge)
                together.wait(60)
                answer = responder.answer(body, "192.0.2.7", time.time()).body or b""
            found.append(read_reply(answer, ra.certificate).status)

        threads = [threading.Thread(target=send, args=(phone,)) for phone in phones]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert sorted(found) == ["0", "2/2", "2/2", "2/2"]
        assert len(registry.inventory.find("My iPhone")) == 1
        registry.inventory.close()
