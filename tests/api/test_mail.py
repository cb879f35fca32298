"""E-mail, against a real server that checks what it is sent."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any, cast

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from api import mail
from api.endpoints import Endpoint
from api.outgoing import Caller, parse_allow_list
from tests.api.outbox import Outbox, eventually, sending
from tests.api.test_outgoing import self_signed


class Mailbox:
    """Keeps messages; refuses the recipients it is told to, with the code it is told."""

    def __init__(self, **refused: str) -> None:
        self.refused, self.came = refused, list[tuple[EmailMessage, list[str]]]()

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        del server, session, options
        if said := self.refused.get(address.partition("@")[0]):
            return said
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        del server, session
        found = message_from_bytes(cast(bytes, envelope.content), policy=policy.default)
        self.came.append((found, envelope.rcpt_tos))
        return "250 kept"


@asynccontextmanager
async def mail_server(box: Mailbox, tls: ssl.SSLContext | None = None, **more: Any) -> AsyncIterator[int]:
    """tls: from the first byte; STARTTLS is among `more`."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(box, loop=loop, hostname="mail", **more), "127.0.0.1", 0, ssl=tls)
    async with server:
        yield server.sockets[0].getsockname()[1]


def mailing(outbox: Outbox, port: int, scheme: str = "smtp", **more: Any) -> int:
    config = {"kind": "email", "sender": "care@example.cn", "recipients": ("duty@example.cn",), "name": "mail"}
    return outbox.register(f"{scheme}://127.0.0.1:{port}", **(config | more))


async def test_a_mail_tells_of_the_alert_and_repeats_are_the_same_message(outbox: Outbox) -> None:
    box = Mailbox()
    async with mail_server(box) as port, sending(outbox, port, public_url="https://care.example.cn"):
        alert = outbox.alert()
        row = outbox.put(
            alert, mailing(outbox, port), rule_zh="未关门", reason_zh="前门\r\nBcc: x@evil.cn 还开着", severity="major"
        )
        done = await outbox.until(row, state="delivered", last_status=250)
    ((message, to),) = box.came
    assert to == ["duty@example.cn"]
    assert message["Bcc"] is None
    assert (message["From"], message["Message-ID"]) == ("care@example.cn", f"<{done['webhook_id']}@example.cn>")
    assert message["Subject"].startswith("【重要】未关门 · 桃园")
    body = message.get_content()
    assert "前门 Bcc: x@evil.cn 还开着" in body
    assert f"https://care.example.cn/alerts/{alert}" in body


async def test_a_notice_goes_to_its_own_address_in_its_own_words(outbox: Outbox) -> None:
    box = Mailbox()
    async with mail_server(box) as port, sending(outbox, port):
        row = outbox.put(outbox.alert(), mailing(outbox, port), notice={"text_zh": "【重要】请处理\n前门未关", "text_en": "Act"})
        outbox.conn.execute("UPDATE outbox SET state = 'superseded' WHERE id = %s", [row])
        row = outbox.put(outbox.alert(), 1, notice={"text_zh": "【重要】请处理\n前门未关", "text_en": "Act"})
        outbox.conn.execute("UPDATE outbox SET state = 'pending', address = 'zhang@example.cn', due_us = 0 WHERE id = %s", [row])
        outbox.tell()
        await eventually(lambda: outbox[row] if any("zhang@example.cn" in to for _, to in box.came) else None)
    message = next(m for m, to in box.came if to == ["zhang@example.cn"])
    assert message["Subject"] == "【重要】请处理"
    assert message.get_content().splitlines()[1] == "前门未关"


@pytest.mark.parametrize(("said", "status", "failures"), [("451 later", 451, 1), ("550 no such user", 550, 0)])
async def test_a_refused_mail_is_tried_again_and_only_later_counts_against_the_server(
    outbox: Outbox, said: str, status: int, failures: int
) -> None:
    async with mail_server(Mailbox(duty=said)) as port, sending(outbox, port):
        row = outbox.put(outbox.alert(), mailing(outbox, port))
        failed = await outbox.until(row, attempts=1)
    assert (failed["state"], failed["last_status"]) == ("pending", status)
    assert said.partition(" ")[2] in failed["last_error"]
    assert outbox.one("SELECT failures FROM endpoint")["failures"] == failures


@pytest.mark.parametrize("scheme", ["smtps", "smtp+starttls"])
async def test_mail_over_tls_needs_a_certificate_that_somebody_vouches_for_and_signs_in(
    outbox: Outbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    certificate, key = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    def known(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: object) -> AuthResult:
        del server, session, envelope, mechanism
        return AuthResult(success=data == LoginPassword(b"care", b"mail-secret"), handled=False)  # aiosmtpd answers

    signing_in: dict[str, Any] = {"authenticator": known, "auth_required": True}  # which aiosmtpd knows after STARTTLS only
    tls = {"tls": context} if scheme == "smtps" else {"tls_context": context, "require_starttls": True} | signing_in
    box = Mailbox()
    async with mail_server(box, **tls) as port:
        user = {} if scheme == "smtps" else {"key_id": "care", "secret": "mail-secret"}
        endpoint = mailing(outbox, port, scheme, **user)
        async with sending(outbox, port):
            failed = await outbox.until(outbox.put(outbox.alert(), endpoint), attempts=1)
            assert "CERTIFICATE_VERIFY_FAILED" in failed["last_error"]
        monkeypatch.setenv(ssl.get_default_verify_paths().openssl_cafile_env, str(certificate))
        async with sending(outbox, port):
            await outbox.until(outbox.put(outbox.alert(), endpoint), state="delivered")
            if scheme != "smtps":
                wrong = mailing(outbox, port, scheme, key_id="care", secret="wrong", name="wrong")
                refused = await outbox.until(outbox.put(outbox.alert(), wrong), state="pending", attempts=1)
                assert (refused["last_status"], "Authentication credentials invalid" in refused["last_error"]) == (535, True)
                assert outbox.one("SELECT failures FROM endpoint WHERE name = 'wrong'")["failures"] == 1
    assert len(box.came) == 1


async def test_without_starttls_nothing_is_sent_and_a_server_that_is_not_listed_is_not_called(outbox: Outbox) -> None:
    box = Mailbox()
    async with mail_server(box) as port:
        endpoint = mailing(outbox, port, "smtp+starttls")
        async with sending(outbox, port):
            failed = await outbox.until(outbox.put(outbox.alert(), endpoint), attempts=1)
        assert failed["state"] == "pending"
        async with sending(outbox, 1):
            row = outbox.put(outbox.alert(), mailing(outbox, port))
            held = await eventually(lambda: outbox[row] if outbox[row]["last_error"] else None)
        assert "允许名单" in held["last_error"]
        assert held["attempts"] == 0
        caller = Caller(parse_allow_list([f"127.0.0.1:{port}"]), timeout_s=5)
        to = Endpoint(name="x", url=f"smtp://127.0.0.1:{port}", secret="", kind="email", sender="a@b", recipients=("c@d",))
        assert (await mail.send(caller, to, "id", b"x\ny")).status == 250
    assert len(box.came) == 1
