//! The origin: Debian's nginx, one process, with everything switched off that is not needed to serve a file.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result};
use tokio::process::{Child, Command};

use crate::pki;
use crate::world::listening;

/// Serves HTTP/1.1, plain and over TLS. `benches/peers/hosts` has the addresses.
pub(crate) const HOST: &str = "origin.peers.test";
/// The same over TLS with HTTP/2.
pub(crate) const HTTP2_HOST: &str = "h2.peers.test";

/// Names that DNS alone knows, all of them the origin; no two numbers have the same.
pub(crate) fn another_host(number: u64) -> String {
    format!("n{number}.peers.test")
}

pub(crate) async fn start(dir: &Path) -> Result<Child> {
    let (config, log) = (dir.join("nginx.conf"), dir.join("nginx.log"));
    fs::write(&config, configuration(dir))?;
    let mut child = Command::new("nginx")
        .arg("-p")
        .arg(dir)
        .args(["-e", "nginx-error.log", "-c"])
        .arg(config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(&log)?)
        .kill_on_drop(true)
        .spawn()
        .context("cannot start nginx")?;
    listening(&mut child, "127.0.0.1:443".parse()?, &log).await.context("nginx does not start")?;
    Ok(child)
}

fn configuration(dir: &Path) -> String {
    let (certificate, key) = (pki::ORIGIN_CERTIFICATE, pki::ORIGIN_KEY);
    let dir = dir.display();
    format!(
        r#"daemon off;
master_process off;
pid {dir}/nginx.pid;
worker_rlimit_nofile 60000;
events {{ worker_connections 50000; multi_accept on; }}
http {{
    access_log off;
    client_body_temp_path {dir}/nginx-body;
    proxy_temp_path {dir}/nginx-proxy;
    fastcgi_temp_path {dir}/nginx-fastcgi;
    uwsgi_temp_path {dir}/nginx-uwsgi;
    scgi_temp_path {dir}/nginx-scgi;
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
    client_header_timeout 600s; # a tunnel that lies idle has not begun its handshake
    sendfile on;
    tcp_nodelay on;
    open_file_cache max=100;
    types {{ text/html html; application/octet-stream bin; }}
    charset utf-8;
    ssl_protocols TLSv1.3;
    ssl_certificate {dir}/{certificate};
    ssl_certificate_key {dir}/{key};
    ssl_session_cache shared:tls:10m;
    server {{
        listen 127.0.0.1:80 backlog=4096;
        listen 127.0.0.1:443 ssl backlog=4096;
        listen 127.0.0.2:443 ssl http2 backlog=4096;
        root {dir}/www;
        location /gzip/ {{ add_header Content-Encoding gzip; }}
    }}
}}
"#
    )
}
