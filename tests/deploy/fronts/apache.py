"""Debian's Apache with deploy/apache/money.example.com.conf."""

import contextlib
import os
from collections.abc import Iterator

from deploy.setting import PUBLIC_HOST, Setting, adapt
from servers import environment, find_program, running

FORMAT = "apache"

_MODULES = "mpm_event authz_core env headers setenvif rewrite socache_shmcb ssl proxy proxy_http"
# What Debian's own files say outside the sites, and a host beside ours that everybody may see.
_AROUND = """\
ServerRoot {folder}
ServerName localhost
PidFile {folder}/apache.pid
DefaultRuntimeDir {folder}
ErrorLog /dev/stderr
{modules}
{user}
Listen 127.0.0.1:{port} https
Include {folder}/site.conf
<VirtualHost *:{port}>
    ServerName {public}
    SSLEngine on
    SSLCertificateFile {server}
    SSLCertificateKeyFile {server_key}
    SSLSessionTickets off
    RewriteEngine on
    RewriteRule ^ - [R=204]
</VirtualHost>
"""


@contextlib.contextmanager
def start(setting: Setting) -> Iterator[None]:
    """Apache in the foreground."""
    binary = find_program("apache2", "apache2")
    folder = setting.folder
    site = adapt(
        "apache/money.example.com.conf",
        {
            "<VirtualHost *:443>": f"<VirtualHost *:{setting.port}>",
            "127.0.0.1:8000": f"127.0.0.1:{setting.app_port}",
            "/etc/keyfob/server.pem": str(setting.server),
            "/etc/keyfob/server-key.pem": str(setting.server_key),
            "/etc/keyfob/ca.pem": str(setting.ca),
        },
    )
    (folder / "site.conf").write_text(site, encoding="utf-8")
    around = _AROUND.format(
        folder=folder,
        modules="\n".join(
            f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so" for name in _MODULES.split()
        ),
        # Apache refuses to serve as root.
        user="User www-data\nGroup www-data" if os.geteuid() == 0 else "",
        port=setting.port,
        public=PUBLIC_HOST,
        server=setting.server,
        server_key=setting.server_key,
    )
    (folder / "apache.conf").write_text(around, encoding="utf-8")
    env = environment(APACHE_RUN_DIR=str(folder))
    with running([binary, "-D", "FOREGROUND", "-f", folder / "apache.conf"], setting.port, folder, env):
        yield
