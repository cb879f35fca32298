"""URLs that should lead nowhere: every spelling of an inner address that is known to have slipped past a filter."""

from ipaddress import IPv4Address

INNER = ["127.0.0.1", "127.1.2.3", "10.0.0.1", "10.255.255.254", "172.16.0.1", "172.31.255.1", "192.168.0.1", "169.254.169.254"]
"""Loopback, private networks, link-local with the clouds' metadata service."""
RESERVED = ["0.0.0.0", "100.64.0.1", "192.0.0.8", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.51.100.7", "203.0.113.9"]
RESERVED += ["224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "100.100.100.200"]
NAT64, SIXTOFOUR, TEREDO = "64:ff9b::", "2002:", "2001:0:4136:e378:8000:63bf:"


def spellings(address: str) -> list[str]:
    """Return hosts that some part of a system takes for this IPv4 address."""
    number = int(IPv4Address(address))
    a, b, c, d = (int(part) for part in address.split("."))
    high, low = number >> 16, number & 0xFFFF
    inverted = number ^ 0xFFFFFFFF
    numbers = [f"{number}", f"0x{number:x}", f"0x{number:08X}", f"0{number:o}"]
    dotted = [
        f"0x{a:x}.0x{b:x}.0x{c:x}.0x{d:x}",
        f"0{a:o}.0{b:o}.0{c:o}.0{d:o}",
        f"{a}.{b}.{c << 8 | d}",
        f"{a}.{b << 16 | c << 8 | d}",
    ]
    mixed = [f"0x{a:x}.{b}.0{c:o}.{d}"]
    embedded = [
        f"::ffff:{address}",
        f"::ffff:{high:x}:{low:x}",
        f"0:0:0:0:0:ffff:{high:04x}:{low:04x}",
        f"::{address}",
        f"::{high:x}:{low:x}",
    ]
    translated = [
        f"{NAT64}{high:x}:{low:x}",
        f"::ffff:0:{address}",
        f"{SIXTOFOUR}{high:x}:{low:x}::1",
        f"{SIXTOFOUR}{high:x}:{low:x}::",
    ]
    tunnelled = [f"{TEREDO}{inverted >> 16:x}:{inverted & 0xFFFF:x}"]
    return [address, *numbers, *dotted, *mixed, *(f"[{v6}]" for v6 in (*embedded, *translated, *tunnelled))]


def urls() -> list[str]:
    """Return the URLs; `{port}` stands for the port of a server on loopback that must not be reached."""
    hosts = [s for address in INNER for s in spellings(address)]
    hosts += [*RESERVED, "127.000.000.001", "127.0.0.1.", "0127.0.0.1"]
    hosts += [
        "localhost",
        "LOCALHOST",
        "localhost.",
        "ip6-localhost",
        "[::1]",
        "[::]",
        "[0:0:0:0:0:0:0:1]",
        "[::1%25lo]",
        "0",
        "0x0",
    ]
    hosts += ["[fe80::1]", "[fe80::1%25eth0]", "[fe81::1]", "[fec0::1]", "[fc00::1]", "[fd00:ec2::254]", "[ff02::1]", "[100::1]"]
    hosts += ["[2001:db8::1]", "[3fff::1]", "[2001:10::1]", "[2001:20::1]", "[5f00::1]"]
    hosts += [
        "①②⑦.⓪.⓪.①",
        "127。0。0。1",
        "１２７.0.0.1",
        "ⓛocalhost",
        "127.0.0.1\u3002",
        "lo\u00adcalhost",
    ]  # what IDNA makes plain
    listed = [f"http://{host}:{{port}}/" for host in hosts]
    tricks = [
        "http://platform.example.cn@127.0.0.1:{port}/",
        "http://platform.example.cn:80@127.0.0.1:{port}/",
        "http://127.0.0.1:{port}@platform.example.cn/",
        "http://127.0.0.1:{port}\\@platform.example.cn/",
        "http://platform.example.cn\\@127.0.0.1:{port}/",
        "http://platform.example.cn#@127.0.0.1:{port}/",
        "http://platform.example.cn?@127.0.0.1:{port}/",
        "http://127.0.0.1:{port}#platform.example.cn",
        "http://127.0.0.1:{port}/platform.example.cn",
        "http://platform.example.cn%2f@127.0.0.1:{port}/",
        "http://platform.example.cn%00.evil.cn:{port}/",
        "http://127.0.0.1%00platform.example.cn:{port}/",
        "http://platform.example.cn%0d%0aHost:x:{port}/",
        "http://platform.example.cn\r\nHost: 127.0.0.1:{port}/",
        "http://platform.example.cn\t@127.0.0.1:{port}/",
        "http:127.0.0.1:{port}/",
        "http:/127.0.0.1:{port}/",
        "http:///127.0.0.1:{port}/",
        "//127.0.0.1:{port}/",
        "127.0.0.1:{port}",
        "http://[::1:{port}/",
        "http://[127.0.0.1]:{port}/",
        "http://[::ffff:127.0.0.1%25]:{port}/",
        "http://127.0.0.1:{port}:80/",
        "http://127.0.0.1:0{port}/",
        "http://127.0.0.1:+{port}/",
        "http://127.0.0.1:99999/",
        "http://127.0.0.1:-1/",
        "http://:{port}/",
        "http:// 127.0.0.1:{port}/",
        "http://127.0.0.1 :{port}/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:{port}/_GET%20/",
        "dict://127.0.0.1:{port}/info",
        "ftp://127.0.0.1:{port}/",
        "ldap://127.0.0.1:{port}/",
        "unix:///var/run/docker.sock",
        "http+unix://%2Fvar%2Frun%2Fdocker.sock/",
        "jar:http://127.0.0.1:{port}/!/",
        "javascript:alert(1)",
        "data:text/html,x",
        "HTTP://127.0.0.1:{port}/",
        "hTtP://LocalHost:{port}/",
        "ws://127.0.0.1:{port}/",
        "",
        "http://",
        "https://",
        "http://.:{port}/",
        "http://..:{port}/",
        "http://*:{port}/",
        "http://127.0.0.1*:{port}/",
        "http://127.0.0.1,platform.example.cn:{port}/",
    ]
    return listed + tricks
