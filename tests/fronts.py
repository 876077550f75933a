"""Real proxies on free ports: nginx with the configuration that we ship, nginx and haproxy almost as they come."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.server import ROOT
from tests.until import until

SHIPPED = ROOT / "deploy" / "nginx.conf"

MAIN = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
{user}
worker_processes 1;
worker_rlimit_nofile 16384;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {http}
}}
"""

DEFAULTS = """
    gzip on;
    gzip_types text/plain text/css application/json application/javascript;
    gzip_min_length 1;
    server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://127.0.0.1:{upstream}; {more} }} }}
"""


def shipped(folder: Path, port: int, upstreams: list[int], tls: bool = True) -> str:
    """deploy/nginx.conf, with the test's own addresses in place of the examples."""
    text = SHIPPED.read_text()
    servers = "\n".join(f"    server 127.0.0.1:{upstream};" for upstream in upstreams)
    text = text.replace("    server 127.0.0.1:8000;", servers)
    text = text.replace("listen 443 ssl http2;", f"listen 127.0.0.1:{port}{' ssl http2' if tls else ''};")
    text = text.replace("server_name chat.example.com;", "server_name _;")
    if not tls:
        return re.sub(r"^ *ssl_.*$", "", text, flags=re.MULTILINE)
    certificate(folder)
    return text.replace("/etc/ssl/chat.example.com", f"{folder}/site")


def defaults(port: int, upstream: int, more: str = "") -> str:
    """What somebody has who wrote `proxy_pass` and nothing else; with compression."""
    return DEFAULTS.format(port=port, upstream=upstream, more=more)


HAPROXY = """
global
    maxconn 2000
defaults
    mode http
    option http-no-delay
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    compression algo gzip
    compression type text/html text/plain application/json text/event-stream
listen front
    bind 127.0.0.1:{port}
    server one 127.0.0.1:{upstream}
"""


@contextmanager
def nginx(folder: Path, port: int, http: str) -> Iterator[int]:
    """Run nginx with this in its http block until the end; gives its port."""
    folder.mkdir(parents=True, exist_ok=True)
    conf = folder / "nginx.conf"
    conf.write_text(MAIN.format(folder=folder, http=http, user="user root;" if os.geteuid() == 0 else ""))
    with running(port, program("nginx"), "-c", str(conf), "-p", str(folder)):
        yield port


@contextmanager
def haproxy(folder: Path, port: int, upstream: int) -> Iterator[int]:
    """Run haproxy with compression, and without its 200 ms of waiting for more (http-no-delay); else as it comes."""
    folder.mkdir(parents=True, exist_ok=True)
    conf = folder / "haproxy.cfg"
    conf.write_text(HAPROXY.format(port=port, upstream=upstream))
    with running(port, program("haproxy"), "-f", str(conf), "-db"):
        yield port


@contextmanager
def running(port: int, *command: str) -> Iterator[None]:
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    try:
        until(lambda: accepts(process, port), 15)
        yield
    finally:
        process.terminate()
        process.communicate(timeout=15)


def program(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    assert found, f"{name} is not installed"
    return found


def accepts(process: subprocess.Popen[bytes], port: int) -> bool:
    assert process.poll() is None, process.stderr and process.stderr.read().decode()
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def certificate(folder: Path) -> None:
    """A certificate for localhost that nobody has signed."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-keyout", f"{folder}/site.key", "-out", f"{folder}/site.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
