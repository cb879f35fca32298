"""The uplink and the bus over TLS, with an authority of one's own, on both brokers; who is not who they say is not spoken to."""

import asyncio
import datetime
import ipaddress
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.codecs.families import codecs
from gateway.service import GatewayConfig, run
from gateway.wire import topic_up
from ingest.broker import BrokerAway, connected
from smartcare.broker import DEVICE_BUS, WORKER, Folder, Kind, State
from smartcare.embedded import nats, process
from tests.e2e.brokers import Mosquitto

pytestmark = pytest.mark.e2e
UP = "care/v1/+/+/up"
BEGIN = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
END = datetime.datetime(2120, 1, 1, tzinfo=datetime.UTC)


def authority(folder: Path, name: str) -> tuple[x509.Name, ec.EllipticCurvePrivateKey, Path]:
    """Make a certificate authority; returns its name, key and PEM file."""
    key, subject = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = build(subject, subject, key.public_key()).add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    file = folder / f"{name}.pem"
    file.write_bytes(made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return subject, key, file


def build(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    """Return what every certificate has."""
    made = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    return made.serial_number(x509.random_serial_number()).not_valid_before(BEGIN).not_valid_after(END)


def certificate(folder: Path, ca: tuple[x509.Name, ec.EllipticCurvePrivateKey, Path], address: str) -> tuple[Path, Path]:
    """Make a server's certificate for an IP address; returns the PEM files of it and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
    made = build(x509.Name([]), ca[0], key.public_key()).add_extension(names, critical=True).sign(ca[1], hashes.SHA256())
    cert, private = folder / f"{address}.pem", folder / f"{address}.key"
    cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption_algorithm=plain)
    )
    return cert, private


def serve(kind: str, folder: Path, cert: tuple[Path, Path]) -> nats.Broker | Mosquitto:
    """Start a TLS broker with one gateway."""
    state = State(kind=Kind(kind), port=process.free_port(), cert=str(cert[0]), key=str(cert[1]), users={})
    broker: nats.Broker | Mosquitto
    if kind == "nats":
        Folder(folder).create(state)
        broker = nats.Broker(folder)
    else:
        broker = Mosquitto(folder, declared=state)
    broker.add_gateway("gw-1", 5)
    broker.start()
    return broker


@pytest.fixture
def broker(broker_name: str, tmp_path: Path) -> Iterator[nats.Broker | Mosquitto]:
    """A broker for 127.0.0.1 whose authority is in ours.pem; another authority is in other.pem."""
    ours = authority(tmp_path, "ours")
    authority(tmp_path, "other")
    running = serve(broker_name, tmp_path / "broker", certificate(tmp_path, ours, "127.0.0.1"))
    yield running
    running.stop()


@asynccontextmanager
async def gateway(broker: nats.Broker | Mosquitto, folder: Path, ca: str) -> AsyncIterator[None]:
    """Run a gateway whose both sides trust that authority."""
    config = GatewayConfig(
        code="gw-1",
        shard=5,
        uplink_url=broker.url("gw-1"),
        bus_url=broker.url(DEVICE_BUS),
        spool=folder / f"{ca}.db",
        heartbeat_s=0.1,
        reconnect_jitter_s=0.1,
        ca_file=folder / f"{ca}.pem",
    )
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(run(config, codecs("Asia/Shanghai")), name="gateway")
        yield
        running.cancel()


async def test_worker_and_gateway_speak_over_tls(
    broker: nats.Broker | Mosquitto, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert broker.url(WORKER).startswith("mqtts://")
    heard: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
    async with (
        asyncio.timeout(20),
        connected(broker.url(WORKER), UP, lambda *m: heard.put_nowait(m), tmp_path / "ours.pem"),
        gateway(broker, tmp_path, "ours"),
    ):
        while "connected to the devices' broker" not in caplog.text:
            assert (await heard.get())[0] == topic_up(5, "gw-1")


# paho leaves the socket of a handshake that failed to the garbage collector, which says so.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning")
async def test_a_broker_of_another_authority_or_address_is_not_spoken_to(
    broker: nats.Broker | Mosquitto, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with asyncio.timeout(30):
        elsewhere = broker.url(WORKER).replace("127.0.0.1", "127.0.0.2")
        for url, ca in ((broker.url(WORKER), "other"), (elsewhere, "ours")):
            with pytest.raises(BrokerAway):
                async with connected(url, UP, lambda *m: None, tmp_path / f"{ca}.pem"):
                    pass
        with pytest.raises(BrokerAway):
            async with connected(broker.url(WORKER), UP, lambda *m: None):  # the system's authorities do not know ours
                pass
        async with gateway(broker, tmp_path, "other"):
            while "certificate verify failed" not in caplog.text.lower():  # noqa: ASYNC110 - a log has no event
                await asyncio.sleep(0.02)
