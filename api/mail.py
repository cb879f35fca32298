"""Sends a message as e-mail, through the same wall as every call: the server is listed, its address checked and pinned.

    smtps://host:465            TLS from the first byte
    smtp+starttls://host:587    TLS after STARTTLS, or nothing is sent
    smtp://host:25              no TLS; for a relay on the same machine or network

One decision: the stored text is the body and the webhook-id the Message-ID, so that a repeat is the same message to a mailbox.
"""

import asyncio
import socket
from collections.abc import Sequence
from email.message import EmailMessage
from urllib.parse import urlsplit

import aiosmtplib
import httpcore

from api.endpoints import MAIL_PORTS, Endpoint
from api.outgoing import Caller, CallFailed, Reply

MAX_SUBJECT = 120


async def send(caller: Caller, to: Endpoint, webhook_id: str, text: bytes) -> Reply:
    """Send one message to all recipients; the reply's status is the SMTP code. Raises NotListed, CallFailed."""
    parts = urlsplit(to.url)
    host = parts.hostname or ""
    port = parts.port or MAIL_PORTS[parts.scheme]
    try:
        async with asyncio.timeout(caller.timeout_s):
            opened = await _connect(host, port, await caller.network.addresses(host, port))
            client = aiosmtplib.SMTP(
                hostname=host,
                sock=opened,
                use_tls=parts.scheme == "smtps",
                start_tls=parts.scheme == "smtp+starttls",
                tls_context=caller.tls,
                username=to.key_id or None,
                password=to.secret or None,
                timeout=caller.timeout_s,
                local_hostname="smartcare.invalid",
            )
            async with client:
                refused, said = await client.send_message(message(to, webhook_id, text.decode()))
    except TimeoutError:
        raise CallFailed(f"{caller.timeout_s:g} 秒内无应答 · no answer within {caller.timeout_s:g} s") from None
    except aiosmtplib.SMTPRecipientsRefused as e:
        worst = e.recipients[0]
        return Reply(status=worst.code, retry_after="", body=worst.message.encode())
    except aiosmtplib.SMTPResponseException as e:
        return Reply(status=e.code, retry_after="", body=e.message.encode())
    except (aiosmtplib.SMTPException, httpcore.ConnectError, OSError) as e:
        raise CallFailed(f"连接失败 · no connection ({type(e).__name__}): {e} {e.__cause__ or ''!r}"[:500]) from None
    left_out = f"{said}; refused: {', '.join(refused)}" if refused else said
    return Reply(status=250, retry_after="", body=left_out.encode())


def message(to: Endpoint, webhook_id: str, text: str) -> EmailMessage:
    """Return the message: its first line is the subject."""
    made = EmailMessage()
    made["From"], made["To"] = to.sender, ", ".join(to.recipients)
    made["Subject"] = " ".join(text.split("\n", 1)[0].split())[:MAX_SUBJECT]
    made["Message-ID"] = f"<{webhook_id}@{to.sender.rpartition('@')[2]}>"
    made["Auto-Submitted"] = "auto-generated"
    made.set_content(text)
    return made


async def _connect(host: str, port: int, addresses: Sequence[str]) -> socket.socket:
    loop, refusals = asyncio.get_running_loop(), []
    for address in addresses:
        opened = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        opened.setblocking(False)
        try:
            await loop.sock_connect(opened, (address, port))
        except OSError as e:
            opened.close()
            refusals.append(f"{address}: {e}")
        except BaseException:
            opened.close()
            raise
        else:
            return opened
    raise CallFailed(f"连接失败 · no connection to {host}: {'; '.join(refusals)}")
